"""keydrift's CPU for one warm event, from the event's JSON to the recorded verdict (`beside.py` runs it, c7n's handler in turn).

The composed monitor with its real adapters, over TLS, on simulated Azure in another process; state and queue on SQLite. What an
event costs in CPU is this process's, threads included; reads are counted by what serves them. Ten minutes pass between two
events: the reread of the one before is over, and they are no crowd, which would be held back (docs/adr/0011).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.bootstrap import Application, SystemClock, compose
from keydrift.settings import Settings

WARM_UP = 3
_BETWEEN = timedelta(minutes=10)


class _SetClock(SystemClock):
    """The machine's clock, set ahead now and then."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


async def measure(work: dict[str, Any], state: Path) -> list[float]:
    """Seconds of CPU of each event."""
    os.environ["KEYDRIFT_STATE"] = f"sqlite:{state}"
    settings, clock = Settings.from_environment(os.environ), _SetClock()
    application = compose(settings, os.environ, clock)
    queue = SqliteQueue(state, settings.recheck_queue, clock)
    try:
        await application.monitor.sweep()
        await _drain(application, queue)
        taken = []
        for number in range(work["events"] + WARM_UP):
            event = json.dumps({**work["event"], "id": f"event-{number}"})
            clock.ahead += _BETWEEN
            await _drain(application, queue)
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
    """Answer what is due now; the later rereads of a settled key store stay until they are."""
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
