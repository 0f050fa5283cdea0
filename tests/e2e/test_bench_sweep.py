"""The sweep's benchmark runs, keeps to the bound of ARM calls and tells what it promises; nothing of time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def test_a_small_sweep_keeps_to_the_bound() -> None:
    """Scan and sweep decide alike, with no more ARM calls than `12·S + K + R + (V + A)/page`, apart from counting
    versions."""
    command = [sys.executable, "bench/sweep.py", "--scale", "0.01", "--json"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    phases = report["phases"]
    assert list(phases) == ["scan", "first sweep", "its rechecks", "next sweep"]
    assert sum(phases["scan"]["states"].values()) == sum(phases["next sweep"]["states"].values()) == 200
    assert phases["scan"]["states"] == phases["next sweep"]["states"]
    assert set(phases["scan"]["states"]) == {"held", "lost"}
    swept = phases["next sweep"]
    assert 150 < swept["arm_calls"] - swept["counting_calls"] <= report["bound"]
    assert all(each[name] > 0 for each in phases.values() for name in ("cpu_s", "peak_mib", "wall_s"))


def test_a_share_beyond_the_full_size_is_refused() -> None:
    """A scale that would not end is a mistake in the arguments, told in one line."""
    command = [sys.executable, "bench/sweep.py", "--scale", "20"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "expected a share from 0.001 to 5" in done.stderr
