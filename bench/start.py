"""A new instance's start: the deployed layout beside `import azure.functions` alone, and beside Cloud Custodian's (`make bench`).

Fresh interpreters in turn, bytecode present, started in `/`: CPU and wall milliseconds, and the most memory of each. keydrift's
is what `.funcignore` leaves, unpacked elsewhere, imported as the platform imports it, and the monitor composed as the first
trigger has it composed (which imports the Azure clients). Cloud Custodian's (`--peers`) is its Functions handler with the vault
resource loaded and a policy parsed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cold_start import environment
from peer_environments import Peer
from results import Line, Section
from rich.console import Console

from keydrift_local.laptop import APP

# What is deployed is told by whoever tests it
sys.path.append(str(APP / "tests"))

from support.deployed import unpack

RUNS = 7
_MEASURED = """
import json, resource, sys, time
{before}
{statement}
kib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
wall_ms = (time.time() - float(sys.argv[2])) * 1000
print(json.dumps({{"cpu_ms": time.process_time() * 1000, "wall_ms": wall_ms, "mib": kib / 1024}}))
"""
_LAYOUT = "sys.path.insert(0, sys.argv[1])"
_COMPOSE = """
import asyncio, function_app
from keydrift import bootstrap
async def compose():
    bootstrap.monitor()
    await bootstrap.close()
asyncio.run(compose())
"""
_CUSTODIAN = """
from c7n_azure import handler
from c7n_azure.entry import initialize_azure
from c7n.config import Config
from c7n.policy import PolicyCollection
from c7n.resources import load_resources
initialize_azure()
load_resources(["azure.keyvault"])
policy = {"name": "p", "resource": "azure.keyvault", "filters": [{"type": "value", "key": "name", "value": "x"}]}
PolicyCollection.from_data({"policies": [policy]}, Config.empty())
"""
_STARTS = {
    "python": ("", "pass"),
    "azure_functions": (_LAYOUT, "import azure.functions"),
    "function_app": (_LAYOUT, "import function_app"),
    "composed": (_LAYOUT, _COMPOSE),
}
type Starts = dict[str, dict[str, float]]


def measure(runs: int, custodian: Path | None = None) -> Starts:
    """By what is started: medians of CPU and wall milliseconds and of the most memory, after one start each for the bytecode."""
    starts = {name: (sys.executable, *each) for name, each in _STARTS.items()}
    if custodian is not None:
        starts["custodian"] = (str(custodian), "", _CUSTODIAN)
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in starts}
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder:
        layout = unpack(Path(folder) / "wwwroot")
        for run in range(runs + 1):
            for name, (python, before, statement) in starts.items():
                found = _start(python, _MEASURED.format(before=before, statement=statement), layout)
                if run:
                    taken[name].append(found)
    return {
        name: {figure: statistics.median(each[figure] for each in found) for figure in found[0]} for name, found in taken.items()
    }


def _start(python: str, program: str, layout: Path) -> dict[str, float]:
    timed = f"import sys, time\nsys.argv.append(str(time.time()))\n{program}"
    done = subprocess.run(
        [python, "-c", timed, str(layout)], cwd="/", env=environment(layout), check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def section(starts: Starts) -> Section:
    """The starts as a table."""
    ours, floor = starts["composed"], starts["azure_functions"]
    lines = [
        Line(
            what=f"imported and composed: {label}",
            ours=ours[figure],
            theirs=floor[figure],
            beside="`import azure.functions` alone",
            unit=unit,
            goal="under 3 times" if figure == "cpu_ms" else "",
        )
        for label, figure, unit in (("CPU", "cpu_ms", "ms"), ("wall", "wall_ms", "ms"), ("memory", "mib", "MiB"))
    ]
    lines.append(Line(what="imported only: CPU", ours=starts["function_app"]["cpu_ms"], theirs=floor["cpu_ms"], unit="ms"))
    if (theirs := starts.get("custodian")) is not None:
        lines += [
            Line(
                what=f"imported and composed: {label}",
                ours=ours[figure],
                theirs=theirs[figure],
                beside="c7n's handler, vaults loaded",
                unit=unit,
                goal="half",
            )
            for label, figure, unit in (("CPU", "cpu_ms", "ms"), ("wall", "wall_ms", "ms"), ("memory", "mib", "MiB"))
        ]
    note = f"A bare interpreter: {starts['python']['cpu_ms']:.0f} ms of CPU, {starts['python']['mib']:.0f} MiB, in every figure."
    return Section(title="7. Cold start", lines=tuple(lines), notes=(note,))


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="A new instance's start, beside its floor and Cloud Custodian's.")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"interpreters each ({RUNS})")
    parser.add_argument("--peers", action="store_true", help="Cloud Custodian too (make bench-peers installs it)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    found: Any = measure(asked.runs, Peer.C7N.python() if asked.peers else None)
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        section(found).show(Console())


if __name__ == "__main__":
    main()
