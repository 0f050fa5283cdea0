"""The doctor's look at event subscriptions, taken by the monitor itself: one health reading a watched subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keydrift.discovery import visible
from keydrift.doctor.events import EventReads, check_events
from keydrift.doctor.facts import Caller, Check, Status
from keydrift.doctor.reads import assign_role
from keydrift.health import HealthCheck, HealthReading, HealthStatus
from keydrift.ports import Clock, Consumers

_AT_ONCE = 8
_STATUS = {
    Status.OK: HealthStatus.OK,
    Status.WARN: HealthStatus.WARNING,
    Status.FAIL: HealthStatus.FAILED,
    Status.UNKNOWN: HealthStatus.UNKNOWN,
}


class EventHealth:
    """Reads topics and event subscriptions. `subscriptions` empty means every one that can be seen."""

    def __init__(self, *, reads: EventReads, consumers: Consumers, subscriptions: Sequence[str], clock: Clock) -> None:
        self._reads, self._consumers, self._subscriptions, self._clock = reads, consumers, subscriptions, clock

    async def check(self) -> Sequence[HealthReading]:
        """One reading a watched subscription. That none can be seen is the inventory's to tell."""
        subscriptions, _ = await visible(self._consumers, self._subscriptions)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(subscription: str) -> HealthReading:
            async with gate:
                role = assign_role(f"/subscriptions/{subscription}", "Reader", Caller())
                # The first is about the subscription's own events; those of single key vaults are optional
                return _reading(subscription, (await check_events(self._reads, subscription, self._clock, role))[0])

        return await asyncio.gather(*map(one, subscriptions))


def _reading(subscription: str, check: Check) -> HealthReading:
    return HealthReading(
        check=HealthCheck.EVENT_SUBSCRIPTION,
        source=f"/subscriptions/{subscription}",
        status=_STATUS[check.status],
        summary=check.found,
        remediation=check.fix,
    )
