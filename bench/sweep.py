"""A large tenant scanned and swept: ARM calls against the contract's bound, CPU, memory, time (`python bench/sweep.py --scale
1`).

The tenant is generated (one seed, so always the same) and served by the simulated Azure in this process. Each phase is the
product's own (`keydrift scan`; the monitor's first sweep, the rechecks that it asked for, the sweep after them) and runs in an
interpreter of its own (`sweep_phases.py`). Nothing is asserted of time; where the simulated Azure is what everything waits for,
that is said.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import Line, Section
from rich.console import Console
from rich.table import Table
from sweep_tenant import Size, generated

import keydrift
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

_ARM = "management.azure.com"
_PHASES = Path(__file__).with_name("sweep_phases.py")
# ARM's budget for reads of one subscription (azure-facts 5.7)
_BURST, _PER_S = 250, 25


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
    compileall.compile_dir(Path(keydrift.__file__).parent, quiet=1)  # an installed package has its bytecode
    tenant = parse_tenant(generated(size), "sweep")
    with LocalAzure(tenant, page_size=page_size, latency_s=latency_s) as azure, tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state.db"

        def apart(phase: str) -> dict[str, object]:
            served = time.process_time()
            # As a large tenant's sweeps find their consumers, at any scale (docs/adr/0005)
            settings = {} if phase == "scan" else {"KEYDRIFT_STATE": f"sqlite:{state}", "KEYDRIFT_INVENTORY": "resource-graph"}
            command = [sys.executable, str(_PHASES), phase, str(state)]
            ran = subprocess.run(command, env={**os.environ, **azure.environment, **settings}, stdout=subprocess.PIPE, check=True)
            kinds = calls_of(azure)
            return {
                **json.loads(ran.stdout),
                "server_cpu_s": time.process_time() - served,
                "arm_calls": sum(kinds.values()) - kinds["(Graph)"],
                "counting_calls": kinds["versions"],
                "graph_calls": kinds["(Graph)"],
                "calls": dict(kinds.most_common()),
            }

        phases = {
            "scan": apart("scan"),
            "first sweep": apart("sweep"),
            "its rechecks": apart("drain"),
            "next sweep": apart("sweep"),
        }
    return {"size": asdict(size), "page_size": page_size, "bound": bound(size, page_size), "phases": phases}


def show(report: dict[str, Any]) -> None:
    """Print the figures as a table."""
    size, phases, console = report["size"], report["phases"], Console()
    table = Table(
        title=f"{size['subscriptions']} subscriptions, each {size['vaults']} vaults and {size['assignments']} role assignments; "
        f"{sum(phases['scan']['states'].values())} key bindings; {report['page_size']} rows a page"
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
