"""`keydrift host`: the function app on this machine, until it is interrupted."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from keydrift.console import stderr
from keydrift_local.laptop import hosting
from keydrift_local.tenant_file import load_tenant

STATE = Path(".keydrift/state.db")


async def run_host(tenant: Path, port: int) -> int:
    """Serve until SIGINT or SIGTERM. Raises ConfigError."""
    served = load_tenant(tenant)
    STATE.parent.mkdir(exist_ok=True)
    async with hosting(served, STATE, port=port) as (_, host):
        console = stderr()
        base = f"http://127.0.0.1:{host.port}"
        console.print(f"function app     {base}/api/posture")
        console.print(f"event grid       POST {base}/runtime/webhooks/EventGrid?functionName=receive")
        console.print(f"sweep now        POST {base}/admin/functions/sweep")
        console.print(f"state            {STATE}")
        await interrupted()
    return 0


async def interrupted() -> None:
    """Return once the process is asked to end."""
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await stop.wait()
