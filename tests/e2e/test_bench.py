"""The benchmark runs and tells everything that it promises; nothing here is asserted of how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_EVENTS = 3
_SERIES = ("following", "after_quiet", "no_latency")
_FIGURES = {
    "event_to_row",
    "event_queue_wait",
    "event_without_wait",
    "floor",
    "floor_hop",
    "floor_reads",
    "floor_upload",
    "floor_without_wait",
}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What one short run prints."""
    command = [sys.executable, "bench/event_to_row.py", "--events", str(_EVENTS), "--json"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize("series", _SERIES)
def test_every_distribution_is_ordered_and_positive(report: dict[str, Any], series: str) -> None:
    """Each series tells the event's and the floor's distribution, from a minimum to a maximum."""
    assert report[series].keys() == _FIGURES
    for name, figures in report[series].items():
        assert figures["n"] >= 1
        assert figures["min_ms"] <= figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"], name
        # A message that is fetched while it is still being put has not waited at all
        assert figures["max_ms"] > 0 or (name == "event_queue_wait" and figures["min_ms"] == 0), name


def test_as_many_events_are_measured_as_were_asked_for(report: dict[str, Any]) -> None:
    """The warm-up is left out of the count, and nothing else is."""
    assert report["following"]["event_to_row"]["n"] == _EVENTS


def test_reads_imports_and_verdicts_are_told(report: dict[str, Any]) -> None:
    """What an event reads, what an import takes and what a verdict costs are positive numbers."""
    reads = report["reads_per_event"]
    assert 0 < reads["min"] <= reads["max"]
    imports, verdict = report["cold_start"], report["verdict"]
    assert imports.keys() == {
        *("azure_functions_ms", "function_app_ms", "function_app_and_monitor_ms"),
        *("indexing_ms", "worker_and_indexing_ms"),
    }
    assert verdict.keys() == {"access-policy_us", "rbac_us"}
    assert all(each > 0 for each in (*imports.values(), *verdict.values()))


def test_a_run_without_events_is_refused() -> None:
    """Zero events are a mistake in the arguments, told in one line."""
    command = [sys.executable, "bench/event_to_row.py", "--events", "0"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "expected a number from 1 to 1000" in done.stderr
