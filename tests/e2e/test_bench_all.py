"""The benchmarks run, answer alike and keep what they promise to keep; nothing here is asserted of how fast anything is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run without peers keeps, of every benchmark that has no test of its own, as small as they go."""
    kept = tmp_path_factory.mktemp("bench") / "RESULTS.md"
    command = [sys.executable, "bench/everything.py", "--quick", "--only", "1", "2", "3", "7", "--results", str(kept)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return kept.read_text(encoding="utf-8")


def test_each_benchmark_keeps_a_table(results: str) -> None:
    """Every benchmark that ran has its section, in order, with date, versions and machine, and no path."""
    assert re.findall(r"^## (\d)\.", results, re.MULTILINE) == ["1", "2", "3", "7"]
    settings = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d UTC); Python [\d.]+; .*\b(\d+) cores, ", results, re.MULTILINE)
    assert len(settings) == 4
    assert str(_ROOT) not in results


def test_a_later_run_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """A benchmark that runs again replaces its own table and leaves the others."""
    kept = tmp_path / "RESULTS.md"
    program = """
import sys
from pathlib import Path
sys.path.insert(0, "bench")
from results import Line, Section, keep
path = Path(sys.argv[1])
for title, ours in (("7. Start", 1.0), ("2. Roles: 10", 2.0), ("7. Start, longer", 3.0)):
    keep(Section(title=title, lines=(Line(what="x", ours=ours, theirs=6.0, beside="the floor"),)), path=path)
"""
    subprocess.run([sys.executable, "-c", program, str(kept)], cwd=_ROOT, check=True)
    text = kept.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["2. Roles: 10", "7. Start, longer"]
    assert re.findall(r"^\| x \| (\d) \| 6 \| the floor \| (\d) \|", text, re.MULTILINE) == [("2", "3"), ("3", "2")]


@pytest.fixture(scope="module")
def flood() -> dict[str, Any]:
    """A small flood."""
    command = [sys.executable, "bench/flood.py", "--events", "600", "--stores", "20", "--wide", "20", "--json"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_burst_reads_each_key_store_a_few_times(flood: dict[str, Any]) -> None:
    """Of a burst of thirty events about each key store, every event is answered and few are read for."""
    # On a slow machine the later rereads of a settled key store fall due before the end
    assert flood["bursts"]["rechecks"] >= flood["bursts"]["events"] == 600
    assert flood["bursts"]["arm_reads"] <= flood["one event"]["arm_reads"] * 600 / 4


def test_a_wide_change_rechecks_each_key_store_once(flood: dict[str, Any]) -> None:
    """One change at a subscription's scope rechecks each of its key stores, and each once, but for the later reread."""
    assert flood["wide"]["stores"] == 20
    assert 20 <= flood["wide"]["rechecks"] <= 40
    assert flood["wide"]["arm_reads"] <= flood["one event"]["arm_reads"] * flood["wide"]["rechecks"]
