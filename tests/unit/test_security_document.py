"""The threat model names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_defence_names_a_test_that_is_there() -> None:
    """A file, and a function in it, stands behind each defence that the threat model claims."""
    named = re.findall(r"`((?:tests|src|docs)/[\w/.-]+?\.\w+)(?:::(\w+))?`", TEXT)
    missing = [
        f"{path}::{function}"
        for path, function in named
        if not (ROOT / path).is_file() or (function and f"def {function}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert len(named) > 25
    assert missing == []
