"""Which rows of a staggered table the quick tests take."""

from pathlib import Path
from types import SimpleNamespace

import pytest


class Item:
    def __init__(self, function, mark, path="tests/test_table.py"):
        self.originalname, self.path, self.mark, self.slow = function, path, mark, False
        if mark is not None:
            self.callspec = None

    def get_closest_marker(self, name):
        assert name == "staggered"
        return self.mark

    def add_marker(self, mark):
        assert mark.name == "slow"
        self.slow = True


def quick(hook, of, **sizes):
    """Rows of each function that are not slow."""
    mark = SimpleNamespace(kwargs={} if of == 8 else {"of": of})
    items = [Item(name, mark) for name, size in sizes.items() for _ in range(size)]
    whole = Item("whole", None)
    hook([*items, whole])
    assert not whole.slow
    found, items = {}, iter(items)
    for name, size in sizes.items():
        found[name] = [row for row, item in zip(range(size), items) if not item.slow]
    return found


@pytest.fixture
def hook(pytestconfig):
    # By its path: there are several modules named conftest.
    path = Path(__file__).with_name("conftest.py")
    return pytestconfig.pluginmanager.get_plugin(str(path)).pytest_collection_modifyitems


def test_neighbours_take_different_rows_and_together_all_of_them(hook):
    assert quick(hook, 2, one=5, two=5) == {"one": [0, 2, 4], "two": [1, 3]}
    rows = quick(hook, 3, one=7, two=7, three=7)
    assert sorted(row for taken in rows.values() for row in taken) == list(range(7))


def test_every_function_keeps_a_row(hook):
    assert all(quick(hook, 8, one=2, two=2, three=3, four=1).values())
