"""Figures of a run that goes on, and of one that is finished."""

from matplotlib.image import imread

from dgmjax.lab import runner
from dgmjax.plotting import new_figure
from dgmjax.runs import RunFolder


def test_a_draft_has_fewer_pixels_and_no_vectors(tmp_path):
    """The PDF of an earlier step goes: it would show another model than the picture."""
    run = RunFolder.create(tmp_path, "mine", {}, 0)
    sizes = []
    for draft in (False, True, False):
        figure = new_figure(2.0, 1.0)
        path = runner._save_figure(figure, run, "samples", 5, draft=draft)
        sizes.append(imread(path).shape[:2])
        assert path.with_suffix(".pdf").is_file() is not draft
    assert sizes == [(200, 400), (100, 200), (200, 400)]
