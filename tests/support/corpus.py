"""Where the public payloads stand that contract tests are held against: outside this repository, named by KEYDRIFT_CORPUS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def corpus() -> Path:
    """The folder of public payloads; skips the test where there is none.

    In CI a KEYDRIFT_CORPUS that names a missing folder fails instead: there a skip would hide that nothing was checked.
    """
    named = os.environ.get("KEYDRIFT_CORPUS")
    if named and Path(named).is_dir():
        return Path(named)
    if named and os.environ.get("CI") == "true":
        pytest.fail(f"KEYDRIFT_CORPUS is set to `{named}`, which is no folder", pytrace=False)
    pytest.skip("not run because KEYDRIFT_CORPUS is absent")
