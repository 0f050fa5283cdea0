"""What a new instance spends before its first event: the deployed layout, in fresh interpreters, bytecode present.

The layout is what `.funcignore` leaves, unpacked elsewhere; the interpreters start in `/`, as the platform's do.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from keydrift_local.laptop import APP, HOST_SETTINGS

# What is deployed is told by whoever tests it
sys.path.append(str(APP / "tests"))

from support.deployed import unpack

RUNS = 5
_TIMED = """
import sys, time
layout = sys.argv[1]
{before}
began = time.perf_counter()
{statement}
print(time.perf_counter() - began)
"""
_ON_PATH = "sys.path.insert(0, layout)"
# The Azure clients are imported where they are used: when the first trigger has the monitor composed. No request is made by that.
_FIRST_TRIGGER = """
import asyncio, function_app
from keydrift import bootstrap
async def compose():
    bootstrap.monitor()
    await bootstrap.close()
asyncio.run(compose())
"""
# Microsoft's worker library imports the app and reads every trigger. In Azure the library is loaded before the app is there.
_WORKER = "import asyncio; from pathlib import Path; from keydrift_local.worker import Worker"
_INDEX = "asyncio.run(Worker.start(Path(layout)))"
_STATEMENTS = {
    "azure_functions_ms": (_ON_PATH, "import azure.functions"),
    "function_app_ms": (_ON_PATH, "import function_app"),
    "function_app_and_monitor_ms": (_ON_PATH, _FIRST_TRIGGER),
    "indexing_ms": (_WORKER, _INDEX),
    "worker_and_indexing_ms": ("", f"{_WORKER}\n{_INDEX}"),
}


def measure() -> dict[str, float]:
    """Milliseconds: medians of five interpreters each, started in turn, after one each that has written the bytecode."""
    taken: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder:
        layout = unpack(Path(folder) / "wwwroot")
        for run in range(RUNS + 1):
            for name, (before, statement) in _STATEMENTS.items():
                seconds = _seconds(before, statement, layout)
                if run:
                    taken[name].append(seconds)
    return {name: round(statistics.median(values) * 1000, 1) for name, values in taken.items()}


def environment(layout: Path) -> dict[str, str]:
    """What the deployed layout is started with; bytecode is written whatever the machine says."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        **HOST_SETTINGS,
        "KEYDRIFT_STATE": f"sqlite:{layout.parent}/state.db",
        "KEYDRIFT_DCR_ENDPOINT": "https://localhost",
        "KEYDRIFT_DCR_RULE_ID": "dcr-0",
        "IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi/token",
        "IDENTITY_HEADER": "none",
    }


def _seconds(before: str, statement: str, layout: Path) -> float:
    command = [sys.executable, "-c", _TIMED.format(before=before, statement=statement), str(layout)]
    done = subprocess.run(command, cwd="/", env=environment(layout), check=True, capture_output=True, text=True)
    return float(done.stdout)
