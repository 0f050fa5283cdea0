"""What an answer can make the monitor do, bounded: no request to another host, no list without an end, no body without a size.

Azure's answers carry addresses (`nextLink`, `Location`) and sizes that the monitor did not choose. Whoever can make a service
answer wrongly, a proxy in between for one, must not get a token sent to a host of their own, nor fill the process's memory. What
is refused here is unread with a code that says why, never read in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import SansIOHTTPPolicy

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest

# ARM grants 25 reads a second (azure-facts 5.7) and a function lives 10 minutes: a list of more pages would never end there. At
# Key Vault's 25 versions a page that is a key of 125,000 versions.
MOST_PAGES = 5_000
# Twice the largest answer that Azure documents: Resource Graph's 16 MiB (ResponsePayloadTooLarge names the limit)
MOST_BYTES = 32 * 1024 * 1024

_PORTS = {"https": 443, "http": 80}


class RefusedAnswerError(AzureError):
    """An answer asked for more than it may. `code` names the limit; trying again would get the same answer."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(f"{code}: {problem}")
        self.code = code
        self.problem = problem


def too_many_pages() -> RefusedAnswerError:
    """More pages than any list may have."""
    return RefusedAnswerError("TooManyPages", f"a list of more than {MOST_PAGES} pages is read no further")


def following(asked: str, link: str) -> str:
    """The address of the next page: the link, where it leads to the host that was asked. Raises RefusedAnswerError.

    A link may be relative; user names, backslashes and control characters have no place in one, and parsers disagree about them.
    """
    try:
        target = urlsplit(urljoin(asked, link))
        same = _origin(target) == _origin(urlsplit(asked))
    except ValueError:
        same = False
    if not same or not link.isprintable() or "\\" in link:
        raise RefusedAnswerError("ForeignLink", f"the next page is said to be on another host than {urlsplit(asked).hostname}")
    return target.geturl()


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None, bool]:
    """Scheme, host and port, and whether there is a user name, which makes a host of what looks like one."""
    port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, port, "@" in parts.netloc


class OneHostPolicy(SansIOHTTPPolicy[Any, Any]):
    """Lets requests to one host pass and refuses all others: for clients that follow links by themselves, as the SDK's lists do.

    Put it before the retries: what is refused here is not tried again.
    """

    def __init__(self, host_url: str) -> None:
        self._origin = _origin(urlsplit(host_url))

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Raises RefusedAnswerError for another host."""
        try:
            same = _origin(urlsplit(request.http_request.url)) == self._origin
        except ValueError:
            same = False
        if not same:
            raise RefusedAnswerError("ForeignLink", f"an answer of {self._origin[1]} leads to another host")


class BoundedResponse(aiohttp.ClientResponse):
    """A response that stops reading where a body grows beyond `MOST_BYTES`, decompressed."""

    async def read(self) -> bytes:
        """The body. Raises RefusedAnswerError."""
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:
                self.close()  # as aiohttp's own `read` does
                raise
        return await super().read()

    async def _bounded(self) -> bytes:
        held: list[bytes] = []
        size = 0
        async for chunk in self.content.iter_any():
            size += len(chunk)
            if size > MOST_BYTES:
                raise RefusedAnswerError("BodyTooLarge", f"an answer of more than {MOST_BYTES} bytes is read no further")
            held.append(chunk)
        return b"".join(held)
