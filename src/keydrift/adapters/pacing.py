"""ARM's published read budget, kept on this side: a token bucket for each subscription, and a transport that waits for its turn.

ARM grants each principal, for each subscription, a bucket of 250 reads that refills at 25 a second (azure-facts 5.7,
`request-limits-and-throttling.md`). A sweep that keeps to it is not throttled, and leaves the events' own reads room. Where ARM
asks for a pause all the same (`Retry-After`), every read of that subscription waits, not only the one that was refused.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest

    from keydrift.ports import Clock

READ_BURST = 250
READS_PER_S = 25.0
_PAUSING = (429, 503)
# ARM counts some of its limits over five minutes (azure-facts 5.7): no honest pause is longer, and a dishonest one must not blind
# the monitor to a subscription
LONGEST_PAUSE_S = 300.0


class TokenBucket:
    """At most `burst` turns at once, and `per_second` a second from then on; first come, first served."""

    def __init__(self, clock: Clock, *, burst: int = READ_BURST, per_second: float = READS_PER_S) -> None:
        self._clock, self._burst, self._per_second = clock, burst, per_second
        self._tokens = float(burst)
        self._counted_at = clock.now()
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a turn."""
        async with self._turn:
            while (wait := self._wait()) > 0:
                asked_at = self._clock.now()
                await self._clock.sleep(wait)
                if (self._clock.now() - asked_at).total_seconds() < wait / 2:
                    # On a clock where waiting takes no time (a rehearsal's) the wait is over all the same
                    self._tokens, self._counted_at = 1.0, self._clock.now()
            self._tokens -= 1

    def hold(self, seconds: float) -> None:
        """Give no turn for that long, and only what has been refilled since from then on: the service says it is empty."""
        until = self._clock.now() + timedelta(seconds=seconds)
        self._tokens = min(self._tokens, 0.0)
        self._counted_at = max(self._counted_at, until)

    def _wait(self) -> float:
        """Seconds until there is a token; 0 where there is one. While held, the last count lies ahead."""
        since = (self._clock.now() - self._counted_at).total_seconds()
        if since > 0:
            self._tokens = min(float(self._burst), self._tokens + since * self._per_second)
            self._counted_at += timedelta(seconds=since)
        lacking = 1.0 - self._tokens
        # A clock counts in microseconds: what lacks less than that is there
        return 0.0 if lacking < 1e-4 else lacking / self._per_second - min(since, 0.0)


class ReadBudget:
    """One bucket for each subscription, and one for what stands in none."""

    def __init__(self, clock: Clock, *, burst: int = READ_BURST, per_second: float = READS_PER_S) -> None:
        self._clock, self._burst, self._per_second = clock, burst, per_second
        self._buckets: dict[str, TokenBucket] = {}

    def bucket(self, url: str) -> TokenBucket:
        """The bucket that a request to that URL draws from."""
        scope = subscription_in(url)
        if scope not in self._buckets:
            self._buckets[scope] = TokenBucket(self._clock, burst=self._burst, per_second=self._per_second)
        return self._buckets[scope]

    def pause_asked_for(self, headers: Any) -> float:
        """The seconds that `Retry-After` asks for, as a number or a date (RFC 9110, 10.2.3), five minutes at most; 0 without a
        readable one."""
        value = str(headers.get("Retry-After") or "").strip()
        try:
            asked = float(value)
            return 0.0 if math.isnan(asked) else min(max(0.0, asked), LONGEST_PAUSE_S)
        except ValueError:
            pass
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return 0.0
        return min(max(0.0, (_aware(date) - self._clock.now()).total_seconds()), LONGEST_PAUSE_S)


class PacedTransport:
    """A transport that lends another's connections and sends each request, retries included, when its subscription's bucket has
    a token. For ARM only: Graph and Managed HSMs have budgets of their own."""

    def __init__(self, transport: AioHttpTransport, budget: ReadBudget) -> None:
        self._transport, self._budget = transport, budget

    async def send(self, request: HttpRequest, **options: Any) -> AsyncHttpResponse:
        """Send a request in its turn."""
        bucket = self._budget.bucket(request.url)
        await bucket.take()
        response: AsyncHttpResponse = await self._transport.send(request, **options)
        pause = self._budget.pause_asked_for(response.headers) if response.status_code in _PAUSING else 0.0
        if pause or response.status_code == 429:
            bucket.hold(pause)
        return response

    async def sleep(self, duration: float) -> None:
        """Wait between retries."""
        await self._transport.sleep(duration)

    async def open(self) -> None:
        """Open nothing: the connections are the other transport's."""

    async def close(self) -> None:
        """Close nothing: the connections are the other transport's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        return None


def subscription_in(url: str) -> str:
    """The subscription that a URL's path begins with, lower case; empty where there is none."""
    head, _, rest = urlsplit(url).path.lstrip("/").partition("/")
    return rest.partition("/")[0].lower() if head.lower() == "subscriptions" else ""


def _aware(date: datetime) -> datetime:
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
