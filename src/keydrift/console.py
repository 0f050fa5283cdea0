"""What people see in a terminal: verdicts and alerts as tables that can be read at a glance. Programs read JSON instead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from keydrift.declared import ExemptionOutcome
from keydrift.facts import Unread
from keydrift.model import State, Verdict
from keydrift.scan import ScanResult

_STYLES = {State.LOST: "bold red", State.UNKNOWN: "bold magenta", State.AT_RISK: "yellow", State.HELD: "green"}
_KINDS = {"opened": "bold red", "changed": "yellow", "resolved": "bold green"}
_PROGRESS_AFTER_S = 2.0


def stderr() -> Console:
    """Where progress, logs and errors go, so that stdout holds the result alone."""
    return Console(stderr=True)


@contextmanager
def progress_after_a_while() -> Iterator[Progress]:
    """A progress bar on stderr that shows itself once the work has taken two seconds, in a terminal only: a file or a pipe would
    get an empty line of it. Needs a running event loop."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=stderr(), transient=True)
    start = progress.start if progress.console.is_terminal else _nothing
    timer = asyncio.get_running_loop().call_later(_PROGRESS_AFTER_S, start)
    try:
        yield progress
    finally:
        timer.cancel()
        if progress.live.is_started:  # stopping writes a line even where nothing was shown
            progress.stop()


def _nothing() -> None:
    """Show nothing."""


def print_scan(console: Console, result: ScanResult) -> None:
    """Every key binding as a line, then what is wrong with each that is not held, then what could not be read."""
    verdicts = sorted(result.verdicts, key=lambda v: (-v.state.rank, str(v.binding.target.uri), v.binding.scenario))
    if not verdicts:
        console.print("No key bindings: nothing here backs up with a customer's key.")
    else:
        console.print(_overview(verdicts, result))
    for verdict in verdicts:
        if verdict.state is not State.HELD:
            _explain(console, verdict, result.exemption(verdict))
    if result.unread:
        console.print()
        console.print(_unread(result.unread))
    counts = ", ".join(
        f"{sum(v.state is state for v in verdicts)} {state}"
        for state in reversed(State)
        if any(v.state is state for v in verdicts)
    )
    console.print()
    console.print(f"{len(verdicts)} key bindings: {counts or 'none'}")


def _overview(verdicts: Sequence[Verdict], result: ScanResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Verdict", "Scenario", "Key", "Principal"):
        table.add_column(name, overflow="fold")
    table.add_column("Consumers", justify="right")
    table.add_column("Findings", overflow="fold")
    for verdict in verdicts:
        principal = verdict.principal
        table.add_row(
            Text(f"{verdict.state}{' (exempted)' if result.exemption(verdict).exempted else ''}", _STYLES[verdict.state]),
            str(verdict.binding.scenario),
            _verbatim(f"{verdict.binding.target.uri.store_name}/{verdict.binding.target.uri.object_name}"),
            _verbatim((principal.name or principal.object_id) if principal else "unknown"),
            str(len(verdict.binding.consumers)),
            ", ".join(dict.fromkeys(f.code for f in verdict.findings)),
        )
    return table


def _explain(console: Console, verdict: Verdict, exemption: ExemptionOutcome) -> None:
    console.print()
    heading = Text.assemble((f"{verdict.state} ", _STYLES[verdict.state]), (f"{verdict.binding.scenario} ", "bold"))
    console.print(heading.append(str(verdict.binding.target.uri.versionless)))
    fields = _Fields()
    for finding in verdict.findings:
        fields.add("found", Text.assemble((finding.code, _STYLES[finding.level]), " ", finding.summary))
    fields.add("exemption", exemption.note or "")
    fields.add("missing", ", ".join(verdict.missing))
    for step in verdict.proof:
        where = f" at {step.scope}" if step.scope else ""
        fields.add("proof", Text(f"{step.effect}: {step.kind} {step.role or step.id}{where}: {step.reason}", "dim"))
    consumers = [consumer.id.name for consumer in verdict.binding.consumers]
    shown = ", ".join(consumers[:5]) + (f" and {len(consumers) - 5} more" if len(consumers) > 5 else "")
    fields.add("endangers", shown or "nothing known")
    console.print(fields.grid)
    for command in dict.fromkeys(finding.remediation for finding in verdict.findings if finding.remediation):
        _command(console, command)


class _Fields:
    """Named values, aligned, long ones folded under themselves."""

    def __init__(self) -> None:
        self.grid = Table.grid(padding=(0, 1))
        self.grid.add_column(min_width=11, style="bold")
        self.grid.add_column(overflow="fold")

    def add(self, name: str, value: str | Text) -> None:
        if value:
            self.grid.add_row(f"  {name}", _verbatim(value))


def _verbatim(value: str | Text) -> Text:
    # A plain string would be read as markup: names come from the tenant, and one with brackets would be mangled or refused
    return value if isinstance(value, Text) else Text(value)


def _command(console: Console, command: str) -> None:
    # Never wrapped and in no box, so that it can be copied as it stands
    console.print(Text.assemble(("  repair      ", "bold"), (command, "cyan")), soft_wrap=True)


def _unread(unread: Sequence[Unread]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold magenta")
    for name in ("Could not read", "Status", "What would repair it"):
        table.add_column(name, overflow="fold")
    for each in unread:
        table.add_row(*map(_verbatim, (each.source, f"{each.status or ''} {each.code}".strip(), each.repair)))
    return table


def print_alert(console: Console, row: Mapping[str, object], note: str | None = None) -> None:
    """An alert row as a person wants to read it: what, who, what is endangered, how to repair it."""
    kind = str(row["Kind"])
    severity = (f"{row['Severity']} ", _STYLES[State(str(row["Verdict"]))])
    console.print(Text.assemble((f"{kind.upper()} ", _KINDS[kind]), severity, (str(row["Title"]), "bold")))
    fields = _Fields()
    fields.add("what", str(row["Summary"]))
    actor = row["ActorName"] or row["ActorObjectId"] or row["ActorAppId"]
    where = f" from {row['ActorIp']}" if row["ActorIp"] else ""
    known = f"{actor}{where} ({row['ActorConfidence']}), by {row['OperationName']}"
    fields.add("who", known if actor else f"nobody is named; found by {row['DetectedVia']}")
    names = ", ".join(each.rpartition("/")[2] for each in cast("Sequence[str]", row["Consumers"])[:5])
    counts = f"consumers: {row['ConsumerCount']}, protected items: {row['ProtectedItemCount']}"
    fields.add("concerns" if kind == "resolved" else "endangers", f"{names} ({counts})")
    fields.add("missing", ", ".join(cast("Sequence[str]", row["Missing"])))
    fields.add("exemption", str(row.get("ExemptionReason") or ""))
    fields.add("outage", "" if row["OutageSeconds"] is None else f"{row['OutageSeconds']} s")
    fields.add("time", note or "")
    console.print(fields.grid)
    for command in str(row["Remediation"]).splitlines():
        _command(console, command)
