"""A large tenant scanned and swept: ARM calls against the contract's bound, CPU, memory, time (`python bench/sweep.py --scale
1`).

The tenant is generated (one seed, so always the same) and served by the simulated Azure in this process. Each phase is the
product's own (`keydrift scan`; the monitor's first sweep, the rechecks that it asked for, the sweep after them) and runs in a
process of its own, so that CPU seconds and peak memory are its alone, imports included. Nothing is asserted of time; where the
simulated Azure is what everything waits for, that is said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from results import Line, Section
from rich.console import Console
from rich.table import Table
from sweep_tenant import Size, generated

from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

if TYPE_CHECKING:
    from keydrift.adapters.sqlite_queue import SqliteQueue

_ARM = "management.azure.com"
# Rereads of a settled key store fall due after two minutes and later; they are not part of a sweep
_SETTLING_S = 100
# ARM's budget for reads of one subscription (azure-facts 5.7)
_BURST, _PER_S = 250, 25
_MIB = 1024 if sys.platform != "darwin" else 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What one process used: its whole life, imports and unpickling included, and the work's wall time."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    bindings: int
    states: dict[str, int]


def peak_mib() -> float:
    """The most memory that this process has had resident.

    Linux hands `ru_maxrss` on through fork and exec, so that it would show the size of the process that serves Azure.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text(encoding="ascii").splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def used(began: float, bindings: int, states: Mapping[str, int]) -> Phase:
    """The figures of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Phase(
        wall_s=time.monotonic() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=peak_mib(),
        bindings=bindings,
        states=dict(states),
    )


def scan_all(environment: dict[str, str]) -> Phase:
    """What `keydrift scan` does. Runs in a process of its own; imported here: each process's imports are its own."""
    from keydrift.bootstrap import SystemClock  # noqa: PLC0415
    from keydrift.reading import reading  # noqa: PLC0415
    from keydrift.scan import ScanResult, scan  # noqa: PLC0415
    from keydrift.settings import Settings  # noqa: PLC0415

    os.environ.update(environment)
    clock = SystemClock()

    async def work() -> ScanResult:
        reads = reading(Settings.from_environment(os.environ), clock)
        try:
            return await scan(consumers=reads.consumers, bulk=reads.bulk, clock=clock, policy=reads.policy, subscriptions=())
        finally:
            await reads.close()

    began = time.monotonic()
    found = asyncio.run(work())
    return used(began, len(found.verdicts), Counter(str(each.state) for each in found.verdicts))


def sweep_once(environment: dict[str, str], state: Path) -> Phase:
    """One sweep of the monitor, as its timer runs it. Runs in a process of its own."""
    return _monitored(environment, state, drain=False)


def drain(environment: dict[str, str], state: Path) -> Phase:
    """The rechecks that are in the queue, sixteen at a time, as the Functions host takes them. Runs in a process of its own."""
    return _monitored(environment, state, drain=True)


def _monitored(environment: dict[str, str], state: Path, *, drain: bool) -> Phase:
    from keydrift.adapters.sqlite_queue import SqliteQueue  # noqa: PLC0415
    from keydrift.bootstrap import SystemClock, compose  # noqa: PLC0415
    from keydrift.settings import Settings  # noqa: PLC0415

    # As a large tenant's sweeps find their consumers, at any scale (docs/adr/0005)
    os.environ.update({**environment, "KEYDRIFT_STATE": f"sqlite:{state}", "KEYDRIFT_INVENTORY": "resource-graph"})
    settings, clock = Settings.from_environment(os.environ), SystemClock()

    async def work() -> Counter[str]:
        application = compose(settings, os.environ, clock)
        queue = SqliteQueue(state, settings.recheck_queue, clock)
        try:
            if drain:
                await _drain(queue, application.monitor.recheck)
            else:
                await application.monitor.sweep()
            bindings = cast("list[dict[str, object]]", (await application.monitor.posture())["bindings"])
            return Counter(str(each["verdict"]) for each in bindings)
        finally:
            await queue.close()
            await application.close()

    began = time.monotonic()
    states = asyncio.run(work())
    return used(began, sum(states.values()), states)


async def _drain(queue: SqliteQueue, answer: Callable[[str], Awaitable[None]]) -> None:
    """Take messages until none is left, those that fall due later included, but for the rereads of a settled key store."""
    while (due := await queue.next_due()) is not None:
        wait = (due - datetime.now(UTC)).total_seconds()
        if wait > _SETTLING_S:
            return
        await asyncio.sleep(max(0.0, wait))
        messages = await queue.receive(16, 600)
        await asyncio.gather(*(answer(each.body) for each in messages))
        for each in messages:
            await queue.delete(each)


def calls_of(azure: LocalAzure) -> Counter[str]:
    """The calls served since the last count: ARM's by what they ask for, Graph's together."""
    kinds: Counter[str] = Counter()
    for each in azure.requests:
        if each.host == _ARM:
            parts = each.path.rstrip("/").split("/")
            kinds[parts[-2] if len(parts) % 2 else parts[-1]] += 1
        elif each.host.startswith("graph."):
            kinds["(Graph)"] += 1
    azure.clear_requests()
    return kinds


def bound(size: Size, page_size: int) -> int:
    """The contract's: 12·S + K + R + (V + A)/page. The tenant's Recovery Services vaults all show a key (R = 0).

    Beside it stands the counting of versions, once a day.
    """
    vaults, assignments = size.subscriptions * size.vaults, size.subscriptions * size.assignments
    return 12 * size.subscriptions + size.keys + math.ceil((vaults + assignments) / page_size)


def run(size: Size, page_size: int, latency_s: float) -> dict[str, object]:
    """Generate, serve, scan, sweep, answer the rechecks, sweep again."""
    tenant = parse_tenant(generated(size), "sweep")
    with LocalAzure(tenant, page_size=page_size, latency_s=latency_s) as azure, tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state.db"

        def apart(work: Callable[..., Phase], *arguments: object) -> dict[str, object]:
            served = time.process_time()
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                phase = process.submit(work, azure.environment, *arguments).result()
            kinds = calls_of(azure)
            return {
                **asdict(phase),
                "server_cpu_s": time.process_time() - served,
                "arm_calls": sum(kinds.values()) - kinds["(Graph)"],
                "counting_calls": kinds["versions"],
                "graph_calls": kinds["(Graph)"],
                "calls": dict(kinds.most_common()),
            }

        phases = {
            "scan": apart(scan_all),
            "first sweep": apart(sweep_once, state),
            "its rechecks": apart(drain, state),
            "next sweep": apart(sweep_once, state),
        }
    return {"size": asdict(size), "page_size": page_size, "bound": bound(size, page_size), "phases": phases}


def show(report: dict[str, Any]) -> None:
    """Print the figures as a table."""
    size, phases, console = report["size"], report["phases"], Console()
    table = Table(
        title=f"{size['subscriptions']} subscriptions, each {size['vaults']} vaults and {size['assignments']} role assignments; "
        f"{phases['scan']['bindings']} key bindings; {report['page_size']} rows a page"
    )
    table.add_column("")
    for phase in phases:
        table.add_column(phase, justify="right")
    for row in ("arm_calls", "counting_calls", "graph_calls", "cpu_s", "peak_mib", "wall_s", "server_cpu_s"):
        table.add_row(row, *(f"{each[row]:,.0f}" for each in phases.values()))
    console.print(table)
    console.print(f"the contract's bound for a sweep, counting versions apart: {report['bound']:,} ARM calls")
    console.print(f"the next sweep's calls: {phases['next sweep']['calls']}")
    console.print(f"verdicts: {phases['next sweep']['states']}")
    if any(each["server_cpu_s"] > 0.7 * each["wall_s"] for each in phases.values()):
        console.print("the simulated Azure is the bottleneck of a phase: its wall time says little")


def section(reports: Sequence[dict[str, Any]]) -> Section:
    """The sweep that finds nothing new, at each size, beside the contract's bound and the time that ARM's own budget takes."""
    lines = []
    for report in reports:
        size, swept = report["size"], report["phases"]["next sweep"]
        vaults = size["subscriptions"] * size["vaults"]
        calls = swept["arm_calls"] - swept["counting_calls"]
        fastest_s = max(0.0, swept["arm_calls"] / size["subscriptions"] - _BURST) / _PER_S
        lines += [
            Line(what=f"{vaults:,} vaults: ARM calls, versions apart", ours=calls, theirs=report["bound"], beside="the bound"),
            Line(what="  counting versions, once a day", ours=swept["counting_calls"]),
            Line(what="  wall", ours=swept["wall_s"], theirs=fastest_s, beside="ARM's budget at these calls", unit="s"),
            Line(what="  CPU a vault", ours=swept["cpu_s"] / vaults * 1000, unit="ms", goal="under 3 ms"),
            Line(what="  most memory", ours=swept["peak_mib"], unit="MiB", goal="flat beyond 10,000"),
        ]
    note = "One run. The sweep after the first one and its rechecks, imports included; simulated Azure in the parent process."
    return Section(title="5. A sweep that finds nothing new", lines=tuple(lines), notes=(note,))


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=_share, default=0.05, help="share of 10,000 vaults, 0.001 to 5 (0.05)")
    parser.add_argument("--page-size", type=int, default=1000, help="rows of a page of Azure's lists (1000)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long Azure thinks before each answer (0)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    report = run(Size.of(arguments.scale), arguments.page_size, arguments.latency_ms / 1000)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


def _share(text: str) -> float:
    share = float(text)
    if not 0.001 <= share <= 5:
        raise argparse.ArgumentTypeError("expected a share from 0.001 to 5")
    return share


if __name__ == "__main__":
    main()
