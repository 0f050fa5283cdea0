"""How large the rows are that Log Analytics is billed for (`python bench/row_sizes.py`): the figures behind docs/operating.md.

Rows of the generated tenant that sweeps are measured on, as JSON without spaces. What Azure bills is its own measure of a row,
which leaves out the names of columns that hold nothing; so these figures are on the high side.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from statistics import mean

from rich.console import Console
from rich.table import Table
from sweep_tenant import BACKUP_APP_ID, Size, generated

from keydrift.alerts.actor import Explanation
from keydrift.alerts.row import alert_row, posture_row
from keydrift.drift import Alert, Kind, Via, alert_id
from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.model import State, Verdict
from keydrift.ports import Clock
from keydrift.reading import reading
from keydrift.scan import ScanResult, scan
from keydrift.settings import Settings
from keydrift_local.laptop import serving
from keydrift_local.tenant_file import parse_tenant

_SCALE = 0.02


def size(row: Mapping[str, object]) -> int:
    """Bytes of a row."""
    return len(json.dumps(row, separators=(",", ":")).encode())


async def scanned(clock: Clock) -> ScanResult:
    """Every key binding of the tenant that is served, judged."""
    reads = reading(Settings(backup_app_id=BACKUP_APP_ID), clock)
    try:
        return await scan(consumers=reads.consumers, bulk=reads.bulk, clock=clock, policy=reads.policy, subscriptions=())
    finally:
        await reads.close()


def alert_of(verdict: Verdict) -> Alert:
    """The alert that a key binding's loss raises."""
    return Alert(
        id=alert_id(verdict.binding.id, 1_767_225_600),
        kind=Kind.OPENED,
        sequence=1_767_225_600,
        verdict=verdict,
        previous=State.HELD,
        via=Via.SWEEP,
        detected_at=verdict.read_at,
        cause_key="c" * 64,
        explanation=Explanation.none(),
    )


def main() -> None:
    """Print the figures."""
    with serving(parse_tenant(generated(Size.of(_SCALE)), "generated")) as laptop:
        clock = laptop.clock
        result = asyncio.run(scanned(clock))
    tenant, sweep = "00000000-0000-0000-0000-0000000000aa", "00000000-0000-0000-0000-00000000005e"
    rows = [(v, size(posture_row(v, result.exemption(v), sweep, clock.now(), tenant))) for v in result.verdicts]
    beat = HealthReading(
        check=HealthCheck.HEARTBEAT, status=HealthStatus.OK, summary="watching", value=1000.0, unit="key bindings"
    )
    table = Table("row", "n", "mean bytes", "largest")
    for name, sizes in (
        ("posture, held", [bytes_ for verdict, bytes_ in rows if verdict.state is State.HELD]),
        ("posture, lost", [bytes_ for verdict, bytes_ in rows if verdict.state is State.LOST]),
        ("posture, all", [bytes_ for _, bytes_ in rows]),
        ("alert", [size(alert_row(alert_of(v), tenant)) for v in result.verdicts if v.state is State.LOST]),
        ("health", [size(health_row(beat, clock.now(), tenant))]),
    ):
        table.add_row(name, *_shown(sizes))
    Console().print(table)


def _shown(sizes: Iterable[int]) -> tuple[str, str, str]:
    found = list(sizes)
    return str(len(found)), f"{mean(found):.0f}" if found else "-", str(max(found, default=0))


if __name__ == "__main__":
    main()
