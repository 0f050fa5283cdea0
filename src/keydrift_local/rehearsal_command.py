"""`keydrift rehearse`: play a scenario file and show, or check, the alerts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console

from keydrift.console import print_alert, progress_after_a_while
from keydrift.errors import ConfigError
from keydrift_local.documents import JsonObject
from keydrift_local.expectation import difference
from keydrift_local.rehearsal import rehearsing, worker
from keydrift_local.scenario_file import load_scenario


async def run_rehearsal(path: Path, *, as_json: bool, check: bool) -> int:
    """Returns the exit status: 1 where the check failed, else 0. Raises ConfigError where the scenario could not run."""
    scenario = load_scenario(path)
    if check and scenario.expect is None:
        raise ConfigError(f"{path}: $.expect: expected a list of alerts to check against")
    found = await worker()
    async with rehearsing(scenario, found) as rehearsal:
        with progress_after_a_while() as progress:
            task = progress.add_task("rehearsing", total=len(scenario.steps))
            for step in scenario.steps:
                await rehearsal.play(step)
                progress.advance(task)
        alerts = rehearsal.alerts
    _show(alerts, as_json=as_json)
    problem = difference(scenario.expect or (), alerts) if check else None
    if problem is not None:
        sys.stderr.write(f"{problem}\nkeydrift: {path}: the alerts are not those expected\n")
        return 1
    return 0


def _show(alerts: list[JsonObject], *, as_json: bool) -> None:
    if as_json:
        for alert in alerts:
            sys.stdout.write(json.dumps(alert, ensure_ascii=False) + "\n")
        return
    console = Console()
    for alert in alerts:
        print_alert(console, alert, f"detected at {alert['DetectedAt']} by {alert['DetectedVia']}")
    console.print(f"{len(alerts)} alerts")
