"""Processes of the function app: started, talked to, and killed by their own id."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Host:
    """One process that runs."""

    process: Process
    port: int
    http: aiohttp.ClientSession

    async def receive(self, event: object) -> bool:
        """Deliver an event as Event Grid does; whether it was accepted."""
        url = f"http://127.0.0.1:{self.port}/runtime/webhooks/EventGrid?functionName=receive"
        try:
            async with self.http.post(url, json=[event], headers={"aeg-event-type": "Notification"}) as answer:
                return answer.status == 202
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def run(self, function: str) -> bool:
        """Start a timer's function now; whether the host took that on."""
        try:
            async with self.http.post(f"http://127.0.0.1:{self.port}/admin/functions/{function}", json={"input": ""}) as answer:
                return answer.status == 202
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def kill(self) -> None:
        """SIGKILL: nothing of it runs any more."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def started(environment: Mapping[str, str], log: Path, http: aiohttp.ClientSession) -> Host:
    """Start a process and wait until it answers."""
    paths = os.pathsep.join([str(_ROOT / "src"), str(_ROOT / "tests")])
    # What flaps is told half an hour later, and here everything goes and comes back all the time; the simulation plays that
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "KEYDRIFT_FLAP_COUNT": "0"}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kill.host", env={**base, **environment}, cwd=log.parent, stdout=PIPE, stderr=output
        )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, f"the host did not start: see {log}"
    return Host(process, int(line), http)
