"""The doctor's report: a table for people, a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keydrift.alerts.row import stamp
from keydrift.doctor.examine import worst_first
from keydrift.doctor.facts import Check, Status

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.UNKNOWN: "bold magenta"}


def checks_document(checks: Sequence[Check], now: datetime) -> dict[str, object]:
    """What `--format json` prints; the checks stand in the order in which they are documented."""
    shown = [{"name": c.name, "status": str(c.status), "found": c.found, "fix": c.fix} for c in checks]
    return {"schema_version": "1", "generated_at": stamp(now), "checks": shown}


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Every check as a line, the worst first, then how many came to what."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Status", no_wrap=True)
    for name in ("Check", "Found", "Fix"):
        table.add_column(name, overflow="fold")
    for check in worst_first(checks):
        # Text and not str: what stands in brackets in a name is no markup
        table.add_row(Text(str(check.status), _STYLES[check.status]), Text(check.name), Text(check.found), Text(check.fix))
    console.print(table)
    counts = ", ".join(f"{n} {status}" for status in Status if (n := sum(c.status is status for c in checks)))
    console.print()
    console.print(f"{len(checks)} checks: {counts}")
