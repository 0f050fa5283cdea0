"""What one phase of a sweep benchmark takes: `python bench/sweep_phases.py scan|sweep|drain STATE` prints it as JSON.

Each phase runs in an interpreter of its own, which imports the product and nothing of the benchmark's, so that CPU seconds and
peak memory are the product's alone, imports included. `sweep.py` starts them; the environment says where Azure is.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from keydrift.adapters.sqlite_queue import SqliteQueue
    from keydrift.scan import ScanResult

# Rereads of a settled key store fall due after two minutes and later; they are not part of a sweep
_SETTLING_S = 100
_MIB = 1024 if sys.platform != "darwin" else 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the work used until it was done, and the verdicts that stood then, which are read afterwards."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    states: dict[str, int] = field(default_factory=dict)


def peak_mib() -> float:
    """The most memory that this process has had resident.

    Linux hands `ru_maxrss` on through fork and exec, so that it would show the size of the process that serves Azure.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text(encoding="ascii").splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def _used(began: float) -> Phase:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Phase(wall_s=time.monotonic() - began, cpu_s=usage.ru_utime + usage.ru_stime, peak_mib=peak_mib())


def scan_all() -> Phase:
    """What `keydrift scan` does."""
    from keydrift.bootstrap import SystemClock  # noqa: PLC0415  # imports are part of what is measured
    from keydrift.reading import reading  # noqa: PLC0415
    from keydrift.scan import scan  # noqa: PLC0415
    from keydrift.settings import Settings  # noqa: PLC0415

    clock = SystemClock()

    async def work() -> ScanResult:
        reads = reading(Settings.from_environment(os.environ), clock)
        try:
            return await scan(consumers=reads.consumers, bulk=reads.bulk, clock=clock, policy=reads.policy, subscriptions=())
        finally:
            await reads.close()

    began = time.monotonic()
    found = asyncio.run(work())
    return replace(_used(began), states=dict(Counter(str(each.state) for each in found.verdicts)))


def monitored(state: Path, *, drain: bool) -> Phase:
    """One sweep of the monitor, as its timer runs it; or the rechecks that are in the queue, sixteen at a time, as the Functions
    host takes them."""
    from keydrift.adapters.sqlite_queue import SqliteQueue  # noqa: PLC0415  # imports are part of what is measured
    from keydrift.bootstrap import SystemClock, compose  # noqa: PLC0415
    from keydrift.settings import Settings  # noqa: PLC0415

    settings, clock = Settings.from_environment(os.environ), SystemClock()
    began = time.monotonic()

    async def work() -> Phase:
        application = compose(settings, os.environ, clock)
        queue = SqliteQueue(state, settings.recheck_queue, clock)
        try:
            if drain:
                await _drain(queue, application.monitor.recheck)
            else:
                await application.monitor.sweep()
            used = _used(began)
            bindings = cast("list[dict[str, object]]", (await application.monitor.posture())["bindings"])
        finally:
            await queue.close()
            await application.close()
        return replace(used, states=dict(Counter(str(each["verdict"]) for each in bindings)))

    return asyncio.run(work())


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


def main() -> None:
    """Run the phase, print what it took."""
    what, state = sys.argv[1], Path(sys.argv[2])
    phase = scan_all() if what == "scan" else monitored(state, drain=what == "drain")
    print(json.dumps(asdict(phase)))


if __name__ == "__main__":
    main()
