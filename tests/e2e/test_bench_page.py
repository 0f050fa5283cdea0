"""The page's benchmark runs and tells what it promises; nothing here is asserted of how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.browser import chromium

_ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_figures_are_told() -> None:
    """A small run tells sizes, elements and positive times, the floor's among them."""
    chromium()
    command = [sys.executable, "bench/page.py", "--bindings", "40", "--json"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bindings"] == 40
    assert 0 < report["gzip_bytes"] < report["bytes"]
    assert report["nodes"] > 40
    for name in ("render", "first_paint", "floor_first_paint", "main_thread", "script", "filter"):
        figures = report[name]
        assert figures["n"] == 7
        assert 0 < figures["min_ms"] <= figures["p50_ms"] <= figures["max_ms"], name


def test_too_few_key_bindings_are_refused() -> None:
    """A tenant smaller than the smallest is a mistake in the arguments."""
    command = [sys.executable, "bench/page.py", "--bindings", "3"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "expected at least 40 key bindings" in done.stderr
