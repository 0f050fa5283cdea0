"""Azure without a socket: the product's own clients, their retries and their decoding, answered in process.

What stands here in the place of aiohttp is one class; everything above it is what runs in Azure. Time passes with each request,
answers may be those of a moment ago (replication lag), cut off, or none at all.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError, ServiceResponseTimeoutError
from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl
from requests.structures import CaseInsensitiveDict

from keydrift_local.azure import entra, gateway
from keydrift_local.azure.messages import Answer, Call
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant import Tenant

INGESTION = ".ingest."
_NO_ANSWER = Answer(status=0)


class WorldClock:
    """The world's time: it moves when it is told to, and a little with each request. To wait between retries takes none."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def move_to(self, at: datetime) -> None:
        self._now = max(self._now, at)

    def tick(self, milliseconds: int) -> None:
        self._now += timedelta(milliseconds=milliseconds)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tenant as it was from a moment on."""

    since: datetime
    tenant: Tenant


class Wire:
    """Answers every request. `rows` are those that Log Analytics accepted, by stream and in order, with the time of acceptance.

    `failed` are the requests that were not answered, by time. `past` says which snapshot a request is answered from (None: it is
    refused), for whoever looks back.
    """

    def __init__(self, azure: LocalAzure, clock: WorldClock, chance: Random) -> None:
        self.azure, self.clock, self._chance = azure, clock, chance
        self.rows: list[tuple[datetime, str, dict[str, Any]]] = []
        self.lag = timedelta()
        self.past: Callable[[Call], int | None] | None = None
        self.failed: list[tuple[datetime, str]] = []
        self.cut: list[str] = []
        self.answered: Counter[str] = Counter()
        self.snapshots = [Snapshot(clock.now(), deepcopy(azure.tenant))]

    def changed(self) -> None:
        """Remember the tenant as it is now."""
        self.snapshots.append(Snapshot(self.clock.now(), deepcopy(self.azure.tenant)))

    def shown(self, at: datetime) -> Tenant:
        """The tenant as it was at a moment; the first one for any moment before."""
        found = [each for each in self.snapshots if each.since <= at]
        return (found[-1] if found else self.snapshots[0]).tenant

    async def answer(self, call: Call) -> Answer:
        """One answer, after a few turns of whoever else runs."""
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        self.clock.tick(self._chance.randrange(1, 40))
        found = self._ingested(call) if INGESTION in call.host else self._shown(call)
        if found.status not in (200, 204, 404):
            asked_to_wait = " with Retry-After" if "Retry-After" in found.headers else ""
            self.answered[f"HTTP {found.status}{asked_to_wait}" if found.status else "no answer"] += 1
        return found

    def _ingested(self, call: Call) -> Answer:
        refused = gateway.refusal(call, self.azure.tenant, self.azure._faults)
        if refused is None:
            body = gzip.decompress(call.body) if call.headers.get("content-encoding") == "gzip" else call.body
            stream = call.parts[-1]
            self.rows += [(self.clock.now(), stream, row) for row in json.loads(body)]
        return refused or Answer(status=204)

    def _shown(self, call: Call) -> Answer:
        present = self.azure.tenant
        if self.past is not None:
            number = self.past(call)
            if number is None:
                return Answer(status=403, body={"error": {"code": "Forbidden", "message": "not seen"}})
            self.azure.tenant = self.snapshots[number].tenant
        elif self.lag and call.method == "GET":
            self.answered["stale answer"] += self.shown(self.clock.now() - self.lag) is not self.snapshots[-1].tenant
            self.azure.tenant = self.shown(self.clock.now() - self.lag)
        try:
            return self.azure._answer(call)
        finally:
            self.azure.tenant = present


class InProcessTransport:
    """Takes the place of the product's transport."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, request: Any, **_options: Any) -> Any:
        """Answer a request; a dropped connection and a time-out are told apart by chance only."""
        call = _call(request)
        answer = await self._wire.answer(call)
        is_cut = answer.body is not None and any(each in call.path for each in self._wire.cut)
        if self._wire.past is None and (is_cut or answer.status not in (200, 204, 404)):
            self._wire.failed.append((self._wire.clock.now(), f"{call.host}{call.path}".lower()))
        if answer.status == 0:
            kind = ServiceRequestError if len(call.path) % 2 else ServiceResponseTimeoutError
            raise kind("the connection was dropped")
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        if is_cut:
            self._wire.answered["cut off"] += 1
            body = body[: len(body) // 2]
        return _Response(request, answer, body)

    async def sleep(self, duration: float) -> None:
        """Waiting between the retries of one call takes no simulated time (formats)."""
        await self._wire.clock.sleep(duration)

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    shut = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        return None


class _Nothing:
    async def close(self) -> None:
        """There is no connection."""


class _Response(AsyncHttpResponseImpl):
    def __init__(self, request: Any, answer: Answer, body: bytes) -> None:
        headers = CaseInsensitiveDict({"Content-Type": "application/json", **answer.headers})
        super().__init__(
            request=request,
            internal_response=_Nothing(),
            status_code=answer.status,
            headers=headers,
            reason="",
            content_type="application/json",
            stream_download_generator=None,
            content=body,
        )
        self._content = body
        self._is_stream_consumed = True


class FakeCredential:
    """Gives a token for whatever is asked for, as the managed identity's endpoint does."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """An unsigned token of the audience."""
        return AccessToken(entra.token(self._wire.azure.tenant, scopes[0].removesuffix("/.default")), 2**40)

    async def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def wired(wire: Wire, storage: Callable[..., Any]) -> Iterator[None]:
    """Compose the product onto the wire and onto that storage, as long as this lasts."""
    with ExitStack() as stack:
        stack.enter_context(patch("keydrift.adapters.http.ClockTransport", lambda _clock: InProcessTransport(wire)))
        stack.enter_context(patch("keydrift.reading.credential", lambda *_: FakeCredential(wire)))
        stack.enter_context(patch("keydrift.bootstrap.storage", storage))
        yield


def _call(request: Any) -> Call:
    parts = urlsplit(request.url)
    body = request.content if hasattr(request, "content") else request.body
    return Call(
        method=request.method,
        host=(parts.hostname or "").lower(),
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body.encode() if isinstance(body, str) else bytes(body or b""),
    )
