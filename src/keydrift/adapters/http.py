"""One HTTP transport for all of Azure's clients, and plain JSON reads on azure-core pipelines.

The transport is shared, so that connections are; it waits on the product's clock, and builds its TLS context when it opens, so
that `SSL_CERT_FILE` is honoured whenever it was set. Every read becomes a fact, `Absent` or `Unread`: never an exception, never
silence.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from logging import getLogger
from typing import TYPE_CHECKING, Any

import aiohttp
from azure.core import AsyncPipelineClient
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceNotFoundError,
    map_error,
)
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncRetryPolicy, UserAgentPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest

from keydrift import __version__
from keydrift.adapters.limits import MOST_PAGES, BoundedResponse, RefusedAnswerError, following, too_many_pages
from keydrift.adapters.proxies import EnvironmentProxies
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Read, Unread
from keydrift.ports import Clock

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline import PipelineResponse
    from azure.core.rest import AsyncHttpResponse

log = getLogger(__name__)

USER_AGENT = f"keydrift/{__version__}"
# At most five tries after the first, with waits of 0.8 s doubling to 20 s unless the service says otherwise; a whole read gives
# up after a minute, well inside a function's time.
_RETRY = {"retry_total": 5, "retry_status": 4, "retry_backoff_factor": 0.8, "retry_backoff_max": 20, "timeout": 60}
_LONGEST_WAIT_S = 60
_CONNECTIONS_PER_HOST = 16
# A code is a word: an answer that is not the service's may hold anything there
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)
_QUOTA_RESET = re.compile(r"(\d{1,4}):(\d{2}):(\d{2})(?:\.\d+)?")

# A 404 of these codes says nothing about the object that was asked for: the path to it is not known there
_PATH_UNKNOWN = {
    "subscriptionnotfound": "Reader on that subscription",
    "invalidsubscriptionid": "Reader on that subscription",
    "missingsubscription": "Reader on that subscription",
    "invalidresourcetype": "register the resource provider in that subscription",
    "invalidresourcenamespace": "register the resource provider in that subscription",
}


class ClockTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core exports it lazily, so its type is not seen
    """azure-core's aiohttp transport, waiting on the product's clock between retries."""

    def __init__(self, clock: Clock) -> None:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(), limit_per_host=_CONNECTIONS_PER_HOST)
        session = aiohttp.ClientSession(connector=connector, response_class=BoundedResponse)
        super().__init__(session=session, session_owner=False, connection_timeout=10, read_timeout=30)
        self._clock = clock
        self._shared = session
        self._proxies = EnvironmentProxies()

    async def send(self, request: HttpRequest, **options: Any) -> AsyncHttpResponse:
        """Send a request, through the proxy that the environment names for its host."""
        response: AsyncHttpResponse = await super().send(request, **self._proxies.options(request.url), **options)
        return response

    async def sleep(self, duration: float) -> None:
        """Wait between retries."""
        await self._clock.sleep(duration)

    async def shut(self) -> None:
        """Close the connections. Clients that share the transport only borrow it, so their `close` does not."""
        await self._shared.close()


class BoundedRetryPolicy(AsyncRetryPolicy["HttpRequest", "AsyncHttpResponse"]):
    """azure-core's retries, except that a `Retry-After` beyond a minute is answered by giving up.

    ARM may ask for many minutes (its five-minute windows, azure-facts 5.7), and azure-core sleeps them out whatever its own
    `timeout` says: the function would be stopped in its sleep. What gives up here is unread, and is asked again by the queue.
    Resource Graph tells the end of its window in a header of its own, which counts as much as `Retry-After`.
    """

    def __init__(self) -> None:
        super().__init__(**_RETRY)

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:
        """The seconds that the service asks to wait, or None."""
        try:
            asked = super().get_retry_after(response)
        except (ValueError, TypeError, OverflowError):
            asked = None  # neither a number nor a date (RFC 9110, 10.2.3): azure-core would raise it through the read
        reset = quota_reset_s(response.http_response.headers) if response.http_response.status_code == 429 else None
        return max(asked or 0.0, reset) if reset is not None else asked

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to try again."""
        wait = self.get_retry_after(response)
        return (wait is None or wait <= _LONGEST_WAIT_S) and bool(super().is_retry(settings, response))

    def increment(self, settings: dict[str, Any], response: Any = None, error: Any = None, **more: Any) -> bool:
        """Whether tries are left after a failure. What was refused would be refused again."""
        return not isinstance(error, RefusedAnswerError) and bool(super().increment(settings, response, error, **more))


def read_policies(credential: AsyncTokenCredential, audience: str) -> list[Any]:
    """What every read passes through, in this order. No redirect is followed, and no resource provider registered, as ARM's own
    pipeline does where one is missing: that would be a write."""
    return [
        UserAgentPolicy(base_user_agent=USER_AGENT),
        BoundedRetryPolicy(),
        AsyncBearerTokenCredentialPolicy(credential, f"{audience}/.default"),
    ]


class JsonReader:
    """Reads from one service, with one token audience, retried and decoded.

    `requests` counts what was asked, retries not included.
    """

    def __init__(
        self, host_url: str, audience: str, credential: AsyncTokenCredential, transport: AioHttpTransport, repair_hint: str
    ) -> None:
        self._base = host_url.rstrip("/")
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            base_url=host_url,
            transport=transport,
            policies=read_policies(credential, audience),
        )
        self._hint = repair_hint

    async def get[T](self, url: str, decode: Callable[[Node], T], *, source: str, repair: str | None = None) -> Read[T]:
        """GET one document and decode it."""

        async def ask() -> T:
            return decode(await self._document(url))

        return await reading(ask, source=source, repair=repair or self._hint)

    async def list[T](
        self, url: str, decode: Callable[[Node], T], *, source: str, repair: str | None = None
    ) -> Absent | Unread | tuple[T, ...]:
        """GET every page of a list and decode each item. A page that fails makes the whole list unread."""

        async def ask() -> tuple[T, ...]:
            items: list[T] = []
            next_url = url
            for _ in range(MOST_PAGES):
                page = await self._document(next_url)
                if not page["value"].present:
                    raise DecodeError("$.value", "expected a list, got nothing")  # never taken for an empty list
                items.extend(decode(each) for each in page["value"])
                link = page["nextLink"] if page["nextLink"].present else page["@odata.nextLink"]
                if not link.text():
                    return tuple(items)
                next_url = following(self._address(url), link.required())
            raise too_many_pages()

        return await reading(ask, source=source, repair=repair or self._hint)

    async def post(self, url: str, question: Mapping[str, object]) -> tuple[Node, Mapping[str, str]]:
        """POST a question that changes nothing, so that it may be repeated; the answer and its headers.

        For use inside `reading`, which turns what this raises into values: AzureError and DecodeError.
        """
        request = HttpRequest("POST", self._address(url), headers={"Accept": "application/json"}, json=dict(question))
        return await self._answer(request, retry_on_methods=frozenset({"POST"}))

    def _address(self, url: str) -> str:
        """A path on the reader's host, or the address of a next page, which `following` has checked."""
        return url if url.startswith(f"{self._base}/") else f"{self._base}/{url.lstrip('/')}"

    async def _document(self, url: str) -> Node:
        request = HttpRequest("GET", self._address(url), headers={"Accept": "application/json"})
        document, _ = await self._answer(request)
        return document

    async def _answer(self, request: HttpRequest, **options: Any) -> tuple[Node, Mapping[str, str]]:
        response = await self._client.send_request(request, **options)
        if response.status_code != 200:
            map_error(status_code=response.status_code, response=response, error_map={404: ResourceNotFoundError})
            raise HttpResponseError(response=response)
        try:
            return Node(response.json()), response.headers
        except (ValueError, RecursionError) as error:
            raise DecodeError("$", "expected JSON that is nested less deeply than the interpreter's stack") from error


def quota_reset_s(headers: Mapping[str, str]) -> float | None:
    """The seconds until a Resource Graph user's quota is whole again, or None where the headers do not tell.

    The header is `hh:mm:ss` (learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests).
    """
    found = _QUOTA_RESET.fullmatch(headers.get("x-ms-user-quota-resets-after", "").strip())
    if found is None:
        return None
    hours, minutes, seconds = (int(each) for each in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


async def reading[T](ask: Callable[[], Awaitable[T]], *, source: str, repair: str) -> Read[T]:
    """Run a read and turn whatever happens into a value, `Absent` (404) or `Unread` (everything else that can fail)."""
    try:
        return await ask()
    except HttpResponseError as error:
        failed = _failed(error, source, repair)
        if isinstance(failed, Absent):
            return failed
        unread = failed
    except DecodeError as error:
        unread = Unread(
            source=source,
            status=200,
            code=f"UnexpectedShape at {error.path}",
            repair=f"report this resource's shape: {error.problem}",
        )
    except RefusedAnswerError as error:
        repair = f"check the network path, or report it: {error.problem}"
        unread = Unread(source=source, status=None, code=error.code, repair=repair)
    except (AzureError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        unread = Unread(source=source, status=None, code=type(error).__name__, repair="check the network path to the service")
    log.warning("a read failed", extra={"source": unread.source, "status": unread.status, "error_code": unread.code})
    return unread


def _failed(error: HttpResponseError, source: str, repair: str) -> Absent | Unread:
    """What an error answer says of the thing asked for."""
    code, status = error_code(error), error.status_code
    if is_about_the_token(error):
        return Unread(source=source, status=401, code=code, repair="check the managed identity, or sign in with `az login`")
    if status == 404:
        if code == type(error).__name__:
            # A proxy's page proves no absence
            return Unread(source=source, status=404, code=code, repair="check the network path: the answer is not Azure's")
        remedy = _PATH_UNKNOWN.get(code.lower())
        return Unread(source=source, status=404, code=code, repair=remedy) if remedy else Absent(what=source)
    if status == 429 or (status is not None and status >= 500):
        repair = "nothing: the service is throttling or failing, and is asked again"
    return Unread(source=source, status=status, code=code, repair=repair)


def is_about_the_token(error: HttpResponseError) -> bool:
    """Whether no token was to be had, so that the service itself was never asked: only requests for tokens carry none."""
    headers = getattr(getattr(error.response, "request", None), "headers", {})
    return "Authorization" not in headers


def error_code(error: HttpResponseError) -> str:
    """The service's error code (never its English text)."""
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__
