"""keydrift's CPU for one warm event, from the event's JSON to the recorded verdict (`beside.py` runs it, c7n's handler in turn).

The composed monitor with its real adapters, over TLS, on simulated Azure in another process; state and queue on SQLite. What an
event costs in CPU is this process's, threads included; reads are counted by what serves them.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.bootstrap import Application, SystemClock, compose
from keydrift.settings import Settings

WARM_UP = 3


async def measure(work: dict[str, Any], state: Path) -> list[float]:
    """Seconds of CPU of each event."""
    os.environ["KEYDRIFT_STATE"] = f"sqlite:{state}"
    settings, clock = Settings.from_environment(os.environ), SystemClock()
    application = compose(settings, os.environ, clock)
    queue = SqliteQueue(state, settings.recheck_queue, clock)
    try:
        await application.monitor.sweep()
        await _drain(application, queue)
        taken = []
        for number in range(work["events"] + WARM_UP):
            event = json.dumps({**work["event"], "id": f"event-{number}"})
            began = time.process_time()
            await application.monitor.receive(event)
            answered = await _drain(application, queue)
            taken.append(time.process_time() - began)
            if answered != 1:
                raise RuntimeError(f"expected one recheck of an event, got {answered}")
        return taken[WARM_UP:]
    finally:
        await queue.close()
        await application.close()


async def _drain(application: Application, queue: SqliteQueue) -> int:
    """Answer what is due now; the later rereads of a settled key store stay."""
    answered = 0
    while messages := await queue.receive(16, 600):
        for each in messages:
            await application.monitor.recheck(each.body)
            await queue.delete(each)
            answered += 1
    return answered


def main() -> None:
    """Read the work, print milliseconds of CPU an event: the median."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder:
        taken = asyncio.run(measure(work, Path(folder) / "state.db"))
    print(json.dumps({"cpu_ms": statistics.median(taken) * 1000}))


if __name__ == "__main__":
    main()
