"""TensorBoard events, written synchronously by the calling thread.

The usual writer has a thread and an exit hook of its own, which raise when the disk is full. Events
repeat what `metrics.jsonl` holds, so a full disk costs the events only.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgmjax.files import make_own_folder

FLUSH_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Events:
    """A file of events in `folder`, made at the first write.

    Args:
      folder: of the event files, created if absent.
      purge_step: events of this step and later ones, in earlier files, no longer count.
    """

    def __init__(self, folder: Path, purge_step: int | None = None):
        self._folder, self._purge_step = folder, purge_step
        self._writer: Any = None
        self._failed, self._flushed = False, time.monotonic()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Appends the finite numbers of a step; after a disk error nothing more is written."""
        from tensorboardX.summary import scalar

        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._append(step, [scalar(name, value) for name, value in finite.items()])

    def write_text(self, name: str, text: str) -> None:
        """Appends a text, in Markdown."""
        from tensorboardX.summary import text as summary

        self._append(0, [summary(name, text)])

    def write_image(self, name: str, png: bytes, step: int) -> None:
        """Appends a picture, the bytes of a PNG file."""
        from tensorboardX.proto.summary_pb2 import Summary

        width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self._append(step, [Summary(value=[Summary.Value(tag=name, image=image)])])

    def _append(self, step: int, summaries: Sequence[Any]) -> None:
        if self._failed:
            return
        try:
            self._write(step, summaries)
        except OSError as problem:
            self._failed = True
            logger.warning("No more TensorBoard events in %s: %s.", self._folder, problem.strerror)

    def _write(self, step: int, summaries: Sequence[Any]) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        if self._writer is None:
            folder = make_own_folder(self._folder)
            self._writer = EventsWriter(str(folder / "events"))
            if self._purge_step is not None:
                # TensorBoard hides what earlier files hold from this step on: steps that a resumed
                # run repeats.
                start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                self._writer.write_event(
                    event_pb2.Event(wall_time=time.time(), step=self._purge_step, session_log=start)
                )
        for summary in summaries:
            event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
            self._writer.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError:
                self._failed = True
        self._writer = None

    def __del__(self):
        self.close()
