"""A Log Analytics workspace as a deployment makes it, with the rows of a rehearsal in it.

Alerts and posture rows are those that the product delivered. Health rows of chosen checks are rendered by `health.health_row`; of
those that the monitor sends by itself the rules are asked in `scenario/test_pulse.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.tables import ALERTS, HEALTH, POSTURE, RESERVED
from keydrift_local.azure.log_analytics import LogAnalytics
from keydrift_local.documents import parse_time
from keydrift_local.rehearsal import rehearsing, worker
from keydrift_local.scenario_file import ScenarioFile, load_scenario
from support.builders import TENANT
from support.kusto import TABLES, saved_functions

type Row = dict[str, Any]

CASES = Path(__file__).resolve().parents[1] / "scenario" / "cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a scenario file left behind: alerts and the posture of its sweeps as sent, and when it ended."""

    alerts: Sequence[Row]
    posture: Sequence[Row]
    ended: datetime


_played: dict[str, Played] = {}


async def play(case: str) -> Played:
    """Play a scenario file through the function app, once a process."""
    if case not in _played:
        _played[case] = await played(load_scenario(CASES / f"{case}.json"))
    return _played[case]


async def played(scenario: ScenarioFile) -> Played:
    """Play a scenario through the function app."""
    async with rehearsing(scenario, await worker()) as rehearsal:
        for step in scenario.steps:
            await rehearsal.play(step)
        logs = rehearsal.azure.logs
        return Played(alerts=rehearsal.alerts, posture=logs.rows(POSTURE), ended=logs.clock())


@dataclass(slots=True)
class Workspace:
    """Tables without the names that Log Analytics reserves, and the saved functions. `now` is what `now()` and `ago()` follow."""

    now: datetime
    logs: LogAnalytics = field(init=False)

    def __post_init__(self) -> None:
        self.logs = LogAnalytics(lambda: self.now)
        for table, columns in TABLES.items():
            self.logs.declare(table, columns)
        for each in saved_functions().values():
            self.logs.save(each.name, each.parameters, each.body)

    def hold(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Take rows in, as the data collection rule does."""
        gone = RESERVED if table == ALERTS else frozenset[str]()
        kept = [{name: value for name, value in row.items() if name not in gone} for row in rows]
        undeclared = {name for row in kept for name in row} - TABLES[table].keys()
        assert not undeclared, f"{table} has no columns {sorted(undeclared)}"
        self.logs.accept(table, kept)

    def ask(self, kql: str) -> list[Row]:
        """Run a query."""
        return self.logs.query(kql)


def workspace(of: Played, until: datetime | None = None) -> Workspace:
    """A workspace with the rows of a rehearsal up to a time (its end, where none is given), each alert delivered twice."""
    made = Workspace(until or of.ended)
    alerts, posture = ([row for row in rows if parse_time(row["TimeGenerated"]) <= made.now] for rows in (of.alerts, of.posture))
    made.hold(ALERTS, [*alerts, *alerts])
    made.hold(POSTURE, posture)
    return made


def checked(
    check: HealthCheck, status: HealthStatus, at: datetime, source: str = "", value: float | None = None, summary: str = ""
) -> Row:
    """A health row."""
    said = summary or f"{check} is {status}"
    reading = HealthReading(check=check, status=status, summary=said, source=source, remediation="mend it", value=value)
    return health_row(reading, at, TENANT)


def hold_health(into: Workspace, *rows: Row) -> None:
    """Health rows, each delivered twice."""
    into.hold(HEALTH, [*rows, *rows])
