"""A sweep of a large tenant: ARM calls against the contract's bound, CPU, memory and time (`python bench/sweep.py --scale 1`).

The tenant is generated (one seed, so always the same) and served by the simulated Azure in this process. The inventory and the
sweep (read in bulk, decide) each run in a process of their own, so that CPU seconds and peak memory are theirs alone, imports
included. Nothing is asserted of time; where the simulated Azure is what everything waits for, that is said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import pickle
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from sweep_tenant import BACKUP_APP_ID, Size, generated

from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

if TYPE_CHECKING:
    from keydrift.adapters.arm_inventory import ArmInventory
    from keydrift.bulk.collector import BulkCollector
    from keydrift.model import KeyBinding

_ARM = "management.azure.com"
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


@asynccontextmanager
async def composed() -> AsyncIterator[tuple[ArmInventory, BulkCollector]]:
    """What a sweep reads Azure with, paced by ARM's budget. Imported here: each process's imports are its own."""
    from azure.identity.aio import ManagedIdentityCredential  # noqa: PLC0415

    from keydrift.adapters.arm_inventory import ArmInventory  # noqa: PLC0415
    from keydrift.adapters.authorization import AuthorizationReader  # noqa: PLC0415
    from keydrift.adapters.bulk_reader import BulkReader  # noqa: PLC0415
    from keydrift.adapters.cloud import cloud_named  # noqa: PLC0415
    from keydrift.adapters.directory import DirectoryReader  # noqa: PLC0415
    from keydrift.adapters.http import ClockTransport, JsonReader  # noqa: PLC0415
    from keydrift.adapters.key_vault import KeyVaultReader  # noqa: PLC0415
    from keydrift.adapters.managed_hsm import ManagedHsmReader  # noqa: PLC0415
    from keydrift.adapters.pacing import PacedTransport, ReadBudget  # noqa: PLC0415
    from keydrift.bootstrap import SystemClock  # noqa: PLC0415
    from keydrift.bulk.collector import BulkCollector  # noqa: PLC0415
    from keydrift.collect import Readers  # noqa: PLC0415

    clock, cloud, credential = SystemClock(), cloud_named("AzureCloud"), ManagedIdentityCredential()
    transport = ClockTransport(clock)
    paced = PacedTransport(transport, ReadBudget(clock))
    manager, graph_host = f"https://{cloud.resource_manager}", f"https://{cloud.graph}"
    arm = JsonReader(manager, manager, credential, paced, "Reader")
    graph = JsonReader(graph_host, graph_host, credential, transport, "Microsoft Graph Application.Read.All")
    readers = Readers(
        key_stores=KeyVaultReader(cloud, credential, paced),
        grants=AuthorizationReader(arm),
        managed_hsms=ManagedHsmReader(cloud, credential, transport),
        directory=DirectoryReader(graph, arm),
    )
    try:
        yield ArmInventory(arm), BulkCollector(readers, BulkReader(arm), clock)
    finally:
        await credential.close()
        await transport.shut()


def take_inventory(environment: dict[str, str], subscriptions: tuple[str, ...], kept: Path) -> Phase:
    """List every subscription, find the key bindings, keep them in a file. Runs in a process of its own."""
    from keydrift.inventory import discover  # noqa: PLC0415

    os.environ.update(environment)

    async def work() -> tuple[KeyBinding, ...]:
        async with composed() as (inventory, _):
            return discover(await inventory.read(subscriptions), BACKUP_APP_ID)

    began = time.monotonic()
    found = asyncio.run(work())
    kept.write_bytes(pickle.dumps(found))
    return used(began, len(found), {})


def sweep(environment: dict[str, str], kept: Path) -> Phase:
    """Read every key store in bulk and decide every key binding. Runs in a process of its own."""
    from keydrift.access.key_state import Horizon  # noqa: PLC0415
    from keydrift.access.verdict import decide  # noqa: PLC0415
    from keydrift.collect import Known  # noqa: PLC0415
    from keydrift.watchlist import Watchlist  # noqa: PLC0415

    os.environ.update(environment)

    watchlist = Watchlist.of(pickle.loads(kept.read_bytes()))  # what the process before has written
    states: Counter[str] = Counter()

    async def work() -> None:
        async with composed() as (_, bulk), aclosing(bulk.collect_all(list(watchlist.bindings.values()), Known())) as found:
            async for host, facts in found:
                horizon = Horizon(now=datetime.now(UTC))
                states.update(str(decide(binding, facts, horizon).state) for binding in watchlist.at(host))

    began = time.monotonic()
    asyncio.run(work())
    return used(began, len(watchlist.bindings), states)


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
    """The contract's: 12·S + K + R + (V + A)/page. No Recovery Services vault's legacy settings are read by a sweep (R = 0)."""
    vaults, assignments = size.subscriptions * size.vaults, size.subscriptions * size.assignments
    return 12 * size.subscriptions + size.keys + math.ceil((vaults + assignments) / page_size)


def run(size: Size, page_size: int, latency_s: float) -> dict[str, object]:
    """Generate, serve, take the inventory, sweep."""
    tenant = parse_tenant(generated(size), "sweep")
    subscriptions = tuple(tenant.subscriptions)
    with LocalAzure(tenant, page_size=page_size, latency_s=latency_s) as azure, tempfile.TemporaryDirectory() as directory:
        kept = Path(directory) / "bindings"

        def apart(work: Callable[..., Phase], *arguments: object) -> dict[str, object]:
            served = time.process_time()
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                phase = process.submit(work, azure.environment, *arguments).result()
            kinds = calls_of(azure)
            return {
                **asdict(phase),
                "server_cpu_s": time.process_time() - served,
                "arm_calls": sum(kinds.values()) - kinds["(Graph)"],
                "graph_calls": kinds["(Graph)"],
                "calls": dict(kinds.most_common()),
            }

        inventory = apart(take_inventory, subscriptions, kept)
        swept = apart(sweep, kept)
    return {"size": asdict(size), "page_size": page_size, "bound": bound(size, page_size), "inventory": inventory, "sweep": swept}


def show(report: dict[str, Any]) -> None:
    """Print the figures as a table."""
    size, console = report["size"], Console()
    table = Table(
        title=f"{size['subscriptions']} subscriptions, each {size['vaults']} vaults and {size['assignments']} role assignments; "
        f"{report['sweep']['bindings']} key bindings; {report['page_size']} rows a page"
    )
    table.add_column("")
    rows = ("arm_calls", "graph_calls", "cpu_s", "peak_mib", "wall_s", "server_cpu_s")
    for phase in ("inventory", "sweep"):
        table.add_column(phase, justify="right")
    for row in rows:
        table.add_row(row, *(f"{report[phase][row]:,.0f}" for phase in ("inventory", "sweep")))
    console.print(table)
    swept = report["sweep"]
    console.print(f"sweep: {swept['arm_calls']:,} ARM calls, the bound is {report['bound']:,}: {swept['calls']}")
    console.print(f"verdicts, each once for every key store that it needs: {swept['states']}")
    if swept["server_cpu_s"] > 0.7 * swept["wall_s"]:
        console.print("the simulated Azure is the bottleneck: the wall time says little of a sweep")


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=_share, default=0.05, help="share of the full size, 0.001 to 1 (0.05)")
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
    if not 0.001 <= share <= 1:
        raise argparse.ArgumentTypeError("expected a share from 0.001 to 1")
    return share


if __name__ == "__main__":
    main()
