"""docs/assumptions.md: every assumption names a place in the code that exists, and every probe an assumption."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from keydrift.doctor import probe

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "assumptions.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| `([\w.]+):([\w.]+)` \| (.+?) \|$", TEXT, re.MULTILINE)


def test_the_table_is_whole() -> None:
    """The assumptions are numbered without a gap, and every line of the table is one."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) == TEXT.count("\n| ") - 1 > 25


@pytest.mark.parametrize(("module", "name"), sorted({(module, name) for _, _, module, name, _ in ROWS}), ids=":".join)
def test_the_place_in_the_code_exists(module: str, name: str) -> None:
    """What isolates an assumption is a function, class or constant that is there."""
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    assert found is not None


def test_every_probe_settles_an_assumption_of_its_number() -> None:
    """The probes are those of the first assumptions, one each, and the text says how many."""
    numbers = sorted(int(each) for each in re.findall(r"number, what = (\d+),", inspect.getsource(probe)))
    assert numbers == list(range(1, len(numbers) + 1))
    assert "settles the first nine by reads alone" in TEXT
    assert len(numbers) == 9
