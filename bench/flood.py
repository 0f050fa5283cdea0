"""A flood of events about few key stores: ARM reads against one recheck an event, and memory (`python bench/flood.py`).

The composed monitor with its real adapters in a process of its own, state and queue on SQLite; the simulated Azure counts what is
read. Events are taken in sixteen at a time and the queue is drained sixteen at a time meanwhile, as the Functions host does both.
Two shapes: `bursts`, in which the events about one key store follow one another (a deployment), and `mixed`, in which every key
store has its turn again and again, the worst case. Then one role assignment at the scope of a subscription, which concerns all of
that subscription's key stores. Nothing is asserted of time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import Line, Section
from rich.console import Console
from sweep import calls_of
from sweep_phases import peak_mib
from sweep_tenant import Size, generated

from keydrift_local.local_azure import LocalAzure
from keydrift_local.rehearsal import in_memory
from keydrift_local.tenant_file import parse_tenant

# Two hundred events about each key store, as in 100,000 about 500
EVENTS, STORES, WIDE = 20_000, 100, 1_000
_AT_ONCE = 16
_SETTLING_S = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Flooded:
    """What a flood came to: rechecks taken from the queue, CPU and wall seconds, the most memory, and that before the flood."""

    rechecks: int
    cpu_s: float
    wall_s: float
    before_mib: float
    peak_mib: float


def flood(environment: dict[str, str], state: Path, events: list[str]) -> Flooded:
    """Take the events and answer the rechecks meanwhile. Runs in a process of its own."""
    return asyncio.run(_flood(environment, state, events))


def prepare(environment: dict[str, str], state: Path) -> list[str]:
    """The first sweep and its rechecks; returns the watched key stores' ids."""
    return asyncio.run(_prepare(environment, state))


async def _prepare(environment: dict[str, str], state: Path) -> list[str]:
    async with _composed(environment, state) as (application, queue):
        await application.monitor.sweep()
        await _drain(application, queue, asyncio.Event(), idle_ends=True)
        bindings: Any = (await application.monitor.posture())["bindings"]
        return sorted({each["key_store_id"] for each in bindings})


async def _flood(environment: dict[str, str], state: Path, events: list[str]) -> Flooded:
    async with _composed(environment, state) as (application, queue):
        before, began, cpu = peak_mib(), time.monotonic(), _cpu_s()
        all_in, waiting = asyncio.Event(), iter(events)

        async def taker() -> None:
            for event in waiting:
                await application.monitor.receive(event)

        async def takers() -> None:
            await asyncio.gather(*(taker() for _ in range(_AT_ONCE)))
            all_in.set()

        _, rechecks = await asyncio.gather(takers(), _drain(application, queue, all_in, idle_ends=False))
        return Flooded(
            rechecks=rechecks, cpu_s=_cpu_s() - cpu, wall_s=time.monotonic() - began, before_mib=before, peak_mib=peak_mib()
        )


@asynccontextmanager
async def _composed(environment: dict[str, str], state: Path) -> AsyncIterator[tuple[Any, Any]]:
    from keydrift.adapters.sqlite_queue import SqliteQueue  # noqa: PLC0415
    from keydrift.bootstrap import SystemClock, compose  # noqa: PLC0415
    from keydrift.settings import Settings  # noqa: PLC0415

    # The first sweep reads all keys, also of the wide change's subscription, which has more than a sweep's share
    more = {"KEYDRIFT_INVENTORY": "resource-graph", "KEYDRIFT_SWEEP_KEY_READS": "20000"}
    os.environ.update({**environment, "KEYDRIFT_STATE": f"sqlite:{state}", **more})
    settings, clock = Settings.from_environment(os.environ), SystemClock()
    application = compose(settings, os.environ, clock)
    queue = SqliteQueue(state, settings.recheck_queue, clock)
    try:
        yield application, queue
    finally:
        await queue.close()
        await application.close()


async def _drain(application: Any, queue: Any, all_in: asyncio.Event, *, idle_ends: bool) -> int:
    """Answer rechecks, sixteen at a time, until none is due and all events are in; rereads of a settled key store are left."""
    answered = 0
    while True:
        ended = idle_ends or all_in.is_set()
        messages = await queue.receive(_AT_ONCE, 600)
        if not messages:
            due = await queue.next_due()
            wait = due.timestamp() - time.time() if due else _SETTLING_S + 1.0
            if ended and wait > _SETTLING_S:
                return answered
            await asyncio.sleep(min(0.1, max(0.0, wait)))
            continue
        await asyncio.gather(*(application.monitor.recheck(each.body) for each in messages))
        for each in messages:
            await queue.delete(each)
        answered += len(messages)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def events_about(stores: list[str], count: int, *, bursts: bool) -> Iterator[str]:
    """Role assignments written on the key stores, by somebody who is named."""
    each = max(1, count // len(stores))
    for number in range(count):
        store = stores[min(number // each, len(stores) - 1)] if bursts else stores[number % len(stores)]
        yield _event(store, number)


def _event(scope: str, number: int) -> str:
    subject = f"{scope}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-{number:012}"
    operation = "Microsoft.Authorization/roleAssignments/write"
    claims = {"http://schemas.microsoft.com/identity/claims/objectidentifier": "70000000-0000-4000-8000-000000000001"}
    event = {
        "id": f"flood-{number}",
        "topic": "/".join(scope.split("/")[:3]),
        "subject": subject,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": "2026-03-01T12:00:00Z",
        "dataVersion": "2",
        "metadataVersion": "1",
        "data": {"resourceUri": subject, "operationName": operation, "status": "Succeeded", "claims": claims},
    }
    return json.dumps(event)


def run(events: int, stores: int, wide: int) -> dict[str, Any]:
    """Every shape, one after the other."""
    tenant = Size(subscriptions=10, vaults=max(2, stores // 10), assignments=max(2, stores // 10) * 5)
    report: dict[str, Any] = {"events": events, "stores": tenant.subscriptions * tenant.vaults}
    with _served(tenant) as (azure, state, stores_watched):
        single = _flooded(azure, state, list(events_about(stores_watched[:1], 1, bursts=True)))
        report["one event"] = single
        report["bursts"] = _flooded(azure, state, list(events_about(stores_watched, events, bursts=True)))
        report["mixed"] = _flooded(azure, state, list(events_about(stores_watched, events, bursts=False)))
    if wide:
        with _served(Size(subscriptions=1, vaults=wide, assignments=wide * 5)) as (azure, state, stores_watched):
            subscription = "/".join(stores_watched[0].split("/")[:3])
            report["wide"] = {**_flooded(azure, state, [_event(subscription, 0)]), "stores": len(stores_watched)}
    return report


@contextmanager
def _served(size: Size) -> Iterator[tuple[LocalAzure, Path, list[str]]]:
    """A tenant that is served, watched and judged once."""
    with (
        LocalAzure(parse_tenant(generated(size), "flood"), page_size=1000) as azure,
        tempfile.TemporaryDirectory(dir=in_memory()) as folder,
    ):
        state = Path(folder) / "state.db"
        yield azure, state, _apart(prepare, azure.environment, state)


def _flooded(azure: LocalAzure, state: Path, events: list[str]) -> dict[str, Any]:
    azure.clear_requests()
    came = _apart(flood, azure.environment, state, events)
    kinds: Counter[str] = calls_of(azure)
    return {**asdict(came), "events": len(events), "arm_reads": kinds.total() - kinds["(Graph)"], "graph_reads": kinds["(Graph)"]}


def _apart(work: Any, *arguments: object) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def section(report: dict[str, Any]) -> Section:
    """The report as a table: what would be read if every event were rechecked, beside what was read."""
    each = report["one event"]["arm_reads"]
    lines = []
    for shape in ("bursts", "mixed"):
        found = report[shape]
        what = f"{found['events']:,} events about {report['stores']:,} key stores, {shape}: ARM reads"
        lines.append(
            Line(
                what=what,
                ours=found["arm_reads"],
                beside=f"{each} an event",
                theirs=each * found["events"],
                goal="50 times fewer",
            )
        )
        per_event = found["cpu_s"] / found["events"] * 1000
        lines.append(Line(what="  CPU an event", ours=per_event, unit="ms"))
        lines.append(Line(what="  most memory, before the flood", ours=found["peak_mib"], theirs=found["before_mib"], unit="MiB"))
    if "wide" in report:
        found = report["wide"]
        alone = each * found["stores"]
        what = f"one event that concerns {found['stores']:,} key stores: ARM reads"
        lines.append(Line(what=what, ours=found["arm_reads"], theirs=alone, beside=f"{each} a key store"))
        lines.append(Line(what="  wall, paced to ARM's budget", ours=found["wall_s"], unit="s"))
        lines.append(Line(what="  CPU a key store", ours=found["cpu_s"] / found["stores"] * 1000, unit="ms"))
    return Section(title="6. A flood of events", lines=tuple(lines), notes=(_NOTE,))


_NOTE = (
    "One run. The real monitor and adapters, state and queue on SQLite (in memory where the system has /dev/shm), simulated "
    "Azure; the queue is drained while events come in."
)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description="A flood of events about few key stores.")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N", help=f"events of each shape ({EVENTS})")
    parser.add_argument("--stores", type=int, default=STORES, metavar="N", help=f"key stores, a multiple of 20 ({STORES})")
    parser.add_argument("--wide", type=int, default=WIDE, metavar="N", help=f"key stores of the wide change, 0 for none ({WIDE})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    report = run(asked.events, asked.stores, asked.wide)
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        section(report).show(Console())


if __name__ == "__main__":
    main()
