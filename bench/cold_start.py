"""What a new instance spends on imports before its first event: fresh interpreters, bytecode present."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from keydrift_local.laptop import APP

RUNS = 5
_TIMED = """
import time
began = time.perf_counter()
{statement}
print(time.perf_counter() - began)
"""
# The Azure clients are imported where they are used: when the first trigger has the monitor composed. No request is made by that.
_FIRST_TRIGGER = """
import asyncio, function_app
from keydrift import bootstrap
async def compose():
    bootstrap.monitor()
    await bootstrap.close()
asyncio.run(compose())
"""
_STATEMENTS = {
    "azure_functions_ms": "import azure.functions",
    "function_app_ms": "import function_app",
    "function_app_and_monitor_ms": _FIRST_TRIGGER,
}


def measure() -> dict[str, float]:
    """Milliseconds: medians of five interpreters each, started in turn, after one each that has written the bytecode."""
    taken: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder:
        for run in range(RUNS + 1):
            for name, statement in _STATEMENTS.items():
                seconds = _seconds(statement, folder)
                if run:
                    taken[name].append(seconds)
    return {name: round(statistics.median(values) * 1000, 1) for name, values in taken.items()}


def _seconds(statement: str, folder: str) -> float:
    environment = {
        **os.environ,
        "KEYDRIFT_STATE": f"sqlite:{folder}/state.db",
        "KEYDRIFT_DCR_ENDPOINT": "https://localhost",
        "KEYDRIFT_DCR_RULE_ID": "dcr-0",
        "IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi/token",
        "IDENTITY_HEADER": "none",
    }
    # A fresh interpreter finds the app as the platform's does: in the directory that it starts in
    command = [sys.executable, "-c", _TIMED.format(statement=statement)]
    done = subprocess.run(command, cwd=APP, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)
