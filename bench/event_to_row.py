"""From event to row, beside the floor that physics allows: the figures of docs/performance.md (`make bench`).

A warm event, the reads it costs, a cold start and a verdict, measured on this machine in this run. Nothing is asserted of time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cold_start
import evaluator
from figures import summary
from results import Line, Section
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from warm_event import Measured, Plan, Series, measure

LATENCY_S = 0.05
PEERS = (
    "The nearest peer, measured elsewhere (two shared cores, medians): Cloud Custodian 0.9.53, access-policy whitelist filter "
    "18 to 20 µs a vault, which asks for `not more than`, not for `enough`; JMESPath `does the app hold get, list, backup` "
    "30 to 32 µs a vault; an event 3.1 ms CPU and 2 ARM reads; cold start 0.56 s."
)
type Figures = dict[str, float]


def main() -> None:
    """Measure everything, print it."""
    asked = _arguments()
    report = run(asked.events)
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        show(Console(), report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A warm event from webhook to row, beside its floor.")
    parser.add_argument("--events", type=_positive, default=60, metavar="N", help="events that follow one another (60)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("expected a number from 1 to 1000")
    return number


def run(events: int) -> dict[str, object]:
    """Every figure, one measurement after another. A quarter as many events without latency, a fifteenth after a quiet spell."""
    few, fewer = max(1, events // 4), max(1, events // 15)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")

        def apart[T](what: str, work: Callable[..., T], *arguments: object) -> T:
            progress.update(task, description=what)
            # A process of its own: it hosts one function app only, and its imports and connections begin anew
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                return process.submit(work, *arguments).result()

        slow = apart("warm events, 50 ms a call", measure, Plan(latency_s=LATENCY_S, following=events, after_quiet=fewer))
        fast = apart("warm events, no latency", measure, Plan(latency_s=0.0, following=few, after_quiet=0))
        verdicts = apart("verdicts", evaluator.measure)
        imports = apart("cold starts", cold_start.measure)
    return {
        "python": platform.python_version(),
        "cores": multiprocessing.cpu_count(),
        "latency_ms": LATENCY_S * 1000,
        "following": figures_of(slow.following),
        "after_quiet": figures_of(slow.after_quiet),
        "no_latency": figures_of(fast.following),
        "reads_per_event": reads_of(slow, fast),
        "cold_start": imports,
        "verdict": verdicts,
        "peers": PEERS,
    }


def figures_of(series: Series) -> dict[str, Figures]:
    """The distributions of one series: the event and its floor, each whole and in parts."""
    events, floor = series.events, series.floor
    return {
        "event_to_row": summary([each.total for each in events]),
        "event_queue_wait": summary([each.queue_wait for each in events]),
        "event_without_wait": summary([each.working for each in events]),
        "floor": summary([each.total for each in floor]),
        "floor_hop": summary([each.hop for each in floor]),
        "floor_reads": summary([each.reads for each in floor]),
        "floor_upload": summary([each.upload for each in floor]),
        "floor_without_wait": summary([each.total - each.queue_wait for each in floor]),
    }


def reads_of(*measured: Measured) -> Figures:
    """How many reads an event cost at least and at most; not after a quiet spell, where the floor reads at the same time."""
    reads = [event.reads for each in measured for event in each.following.events]
    return {"min": min(reads), "max": max(reads)}


def section(report: dict[str, Any]) -> Section:
    """The report beside its floor."""
    lines = []
    for series, what in (("following", "an event after another"), ("after_quiet", "an event after quiet")):
        found = report[series]
        for ours, theirs, part in (
            ("event_to_row", "floor", ""),
            ("event_without_wait", "floor_without_wait", ", without the wait for the host's poll"),
        ):
            for figure, goal in (("p50_ms", "at most 1.3 times"), ("p99_ms", "at most 2 times")):
                label = f"{what}{part}, {figure[:3]}"
                floor = found[theirs][figure]
                lines.append(Line(what=label, ours=found[ours][figure], theirs=floor, beside="the floor", unit="ms", goal=goal))
    lines.append(Line(what="reads an event, at most", ours=report["reads_per_event"]["max"]))
    note = f"Every call to ARM, Graph and key stores takes {report['latency_ms']:.0f} ms; p99 of few samples is their maximum."
    return Section(title="4. From event to row", lines=tuple(lines), notes=(note,))


_TITLES = {
    "following": "Events that follow one another (every call to ARM, Graph and key stores takes {latency:.0f} ms)",
    "after_quiet": "Events after more than 3 s of quiet: the host polls every 2 s then (host.json)",
    "no_latency": "Events that follow one another, no latency",
}
_LINES = {
    "event_to_row": "event → row accepted",
    "event_queue_wait": "  of it, waiting in the queue",
    "event_without_wait": "  without that wait",
    "floor": "floor: hop + two rounds + upload",
    "floor_hop": "  one queue hop, polling included",
    "floor_reads": "  two reads, one after the other",
    "floor_upload": "  one upload of one row",
    "floor_without_wait": "  floor without the wait in the queue",
}


def show(console: Console, report: dict[str, object]) -> None:
    """The report as small tables."""
    for name, title in _TITLES.items():
        table = Table(title=title.format(latency=report["latency_ms"]), title_justify="left", box=None, header_style="bold")
        table.add_column("ms", min_width=38)
        for column in ("n", "min", "p50", "p99", "max"):
            table.add_column(column, justify="right")
        series = report[name]
        assert isinstance(series, dict)
        for line, label in _LINES.items():
            figures = series[line]
            style = "bold" if not label.startswith(" ") else None
            values = [f"{figures[f'{column}_ms']:.1f}" for column in ("min", "p50", "p99", "max")]
            table.add_row(label, str(figures["n"]), *values, style=style)
        console.print(table, "")
    console.print(_others(report))
    console.print(PEERS, style="dim")


def _others(report: dict[str, object]) -> Table:
    reads, imports, verdict = report["reads_per_event"], report["cold_start"], report["verdict"]
    assert isinstance(reads, dict)
    assert isinstance(imports, dict)
    assert isinstance(verdict, dict)
    many = str(reads["min"]) if reads["min"] == reads["max"] else f"{reads['min']} to {reads['max']}"
    table = Table.grid(padding=(0, 2))
    for label, value in (
        ("Reads per event (ARM, Graph, key store; no tokens)", many),
        ("Import of azure.functions alone", f"{imports['azure_functions_ms']:.0f} ms"),
        ("Import of function_app, from the deployed layout", f"{imports['function_app_ms']:.0f} ms"),
        ("The same, and the monitor composed (first trigger)", f"{imports['function_app_and_monitor_ms']:.0f} ms"),
        ("Indexing by Microsoft's worker library, once it is loaded", f"{imports['indexing_ms']:.0f} ms"),
        ("The same, and the loading of that library", f"{imports['worker_and_indexing_ms']:.0f} ms"),
        ("A verdict, access-policy vault", f"{verdict['access-policy_us']:.0f} µs"),
        (f"A verdict, RBAC vault with {evaluator.ASSIGNMENTS} assignments", f"{verdict['rbac_us']:.0f} µs"),
    ):
        table.add_row(label, value)
    return table


if __name__ == "__main__":
    main()
