"""Watchdog: detects processes that have died and names them to the others.

Each process keeps a connection to process 0. The operating system closes it when the process ends
for any reason, so process 0 knows within milliseconds and tells the others. A machine that vanishes
closes no connection; JAX's heartbeats cover that case.
"""

import contextlib
import hmac
import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

GRACE_SECONDS = 5.0
"""Seconds that a process may take to end by itself after the loss of another."""
EXIT_CODE = 75
"""`EX_TEMPFAIL`: starting the same command again resumes the run."""
_MAX_LINE = 2**12


class PeerLost(RuntimeError):
    """Another process of this run has ended, so this one cannot continue."""


class Peers:
    """The connections of one process.

    Args:
      host: name of the machine of process 0.
      index: of this process.
      count: of all processes.
      agree: collective: process 0's integer in every process.
      grace: seconds from the loss of a process until this one is ended, even if it is busy.
      ready_seconds: how long process 0 waits for the others to connect.
    """

    def __init__(
        self,
        host: str,
        index: int,
        count: int,
        agree: Callable[[int], int],
        grace: float = GRACE_SECONDS,
        ready_seconds: float = 60.0,
    ):
        self.index, self.count, self.grace = index, count, grace
        self.message: str | None = None
        self._known = threading.Event()
        self._finished: set[int] = set()
        self._names: dict[int, str] = {}
        self._closing = False
        self._sockets: dict[socket.socket, int] = {}
        # Any free port. It and the token reach the others through JAX, whose connections stand
        # already; a token of two numbers, since `agree` carries 31 bits.
        server = socket.create_server(("", 0)) if index == 0 else None
        port = agree(server.getsockname()[1] if server else 0)
        token = f"{agree(secrets.randbits(31))}-{agree(secrets.randbits(31))}"
        if server is not None:
            self._accept(server, token, ready_seconds)
        else:
            own = socket.create_connection((host, port), timeout=ready_seconds)
            self._sockets[own] = 0
            name = f"on {socket.gethostname()}, process id {os.getpid()}"
            _send(own, {"token": token, "index": index, "name": name})
        for connection in self._sockets:
            connection.settimeout(None)
        threading.Thread(target=self._listen, name="dgmjax-peers", daemon=True).start()

    def check(self) -> None:
        """Raises `PeerLost` if a process is known to have ended."""
        if self.message is not None:
            raise PeerLost(self.message)

    def explain(self, problem: BaseException, seconds: float = 2.0) -> None:
        """Raises `PeerLost` if a process is known to have ended, or is within `seconds`."""
        self._known.wait(seconds)
        if self.message is not None:
            raise PeerLost(self.message) from problem

    def close(self, reason: str | None = None) -> None:
        """Says goodbye; with a `reason` this process failed and the others must end."""
        self._closing = True
        line = {"bye": True} if reason is None else {"failed": reason[:1000]}
        if self.index == 0 and reason is not None:
            line = {"lost": self._lost(0, reason)}
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                _send(connection, line)
                # Half closed: this process has said its last word, but still hears of the end of
                # others.
                connection.shutdown(socket.SHUT_WR)

    def _accept(self, server: socket.socket, token: str, seconds: float) -> None:
        """Connects every other process; a connection without the token is refused."""
        deadline = time.monotonic() + seconds
        with server:
            while len(self._sockets) < self.count - 1:
                server.settimeout(max(deadline - time.monotonic(), 0.001))
                connection, _ = server.accept()
                # Anybody on the network may connect. One that says nothing must not hold up the
                # others, and without the token none is listened to.
                connection.settimeout(5.0)
                try:
                    hello = json.loads(connection.makefile("rb").readline(_MAX_LINE))
                    right = hmac.compare_digest(str(hello["token"]), token)
                    index, name = int(hello["index"]), str(hello["name"])
                except (OSError, ValueError, KeyError, TypeError):
                    right = False
                if not right:
                    connection.close()
                    continue
                self._sockets[connection], self._names[index] = index, name

    def _listen(self) -> None:
        """Reads until every connection is closed."""
        pending = dict.fromkeys(self._sockets, b"")
        with selectors.DefaultSelector() as selector:
            for connection in pending:
                selector.register(connection, selectors.EVENT_READ)
            while pending:
                for key, _ in selector.select():
                    spoke: Any = key.fileobj
                    data = _receive(spoke)
                    # TCP keeps no boundaries of messages: what follows the last newline is the
                    # beginning of the next one.
                    *lines, pending[spoke] = (pending[spoke] + data).split(b"\n")
                    for line in lines:
                        self._hear(self._sockets[spoke], line)
                    # An empty read is the end of the connection: a goodbye came before it, or the
                    # process died.
                    if not data:
                        selector.unregister(spoke)
                        del pending[spoke]
                        self._gone(self._sockets[spoke])

    def _hear(self, index: int, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if said.get("bye"):
            self._finished.add(index)
        elif "failed" in said:
            self._tell(self._lost(index, str(said["failed"])))
        elif "lost" in said:
            self._end(str(said["lost"]))

    def _gone(self, index: int) -> None:
        """A connection was closed: expected after a goodbye, otherwise the end of this run."""
        if index not in self._finished and not self._closing and self.message is None:
            self._tell(self._lost(index, "it was killed, ran out of memory, or lost the network"))

    def _lost(self, index: int, why: str) -> str:
        name = f" ({self._names[index]})" if index in self._names else ""
        return (
            f"Process {index} of {self.count}{name} has ended: {why}. The others end, too; give "
            "the same command to resume from the last checkpoint."
        )

    def _tell(self, message: str) -> None:
        """Tells the others, if this is process 0, and ends."""
        for connection in self._sockets if self.index == 0 else ():
            with contextlib.suppress(OSError):
                _send(connection, {"lost": message})
        self._end(message)

    def _end(self, message: str) -> None:
        """Remembers and prints the message; ends the process unless it ends by itself."""
        if self.message is not None:
            return
        self.message = message
        self._known.set()
        print(f"error: {message}", file=sys.stderr, flush=True)
        # A process that waits inside of a collective operation never returns to Python, where an
        # exception could reach it: after the grace period only `os._exit` ends it.
        timer = threading.Timer(self.grace, os._exit, (EXIT_CODE,))
        timer.daemon = True
        timer.start()


def _send(connection: socket.socket, line: dict[str, Any]) -> None:
    connection.sendall(json.dumps(line).encode() + b"\n")


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_MAX_LINE)
    except OSError:
        return b""
