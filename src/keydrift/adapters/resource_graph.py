"""Azure Resource Graph: the rows of a KQL query, every page of them. For the inventory only, never for a verdict.

Rows lag behind ARM, and what the caller may not read is left out without an error. Rules: learn.microsoft.com/rest/api/
azureresourcegraph (2022-10-01) and azure/governance/resource-graph/concepts/{work-with-data, guidance-for-throttled-requests}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from logging import getLogger

from azure.core.exceptions import HttpResponseError

from keydrift.adapters.http import JsonReader, quota_reset_s, reading
from keydrift.adapters.limits import MOST_PAGES, too_many_pages
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Unread
from keydrift.ports import Clock

log = getLogger(__name__)

MOST_ROWS = 1000
MOST_SUBSCRIPTIONS = 1000
_URL = "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01"
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a query looks: at most 1,000 subscriptions, or management groups by name; never both, never nothing."""

    subscriptions: tuple[str, ...] = ()
    management_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert bool(self.subscriptions) != bool(self.management_groups), "a query without a scope asks the whole tenant"
        assert len(self.subscriptions) <= MOST_SUBSCRIPTIONS

    def members(self) -> dict[str, object]:
        """The members of the request that name it."""
        if self.subscriptions:
            return {"subscriptions": list(self.subscriptions)}
        return {"managementGroups": list(self.management_groups)}


def scopes_of(subscriptions: Sequence[str]) -> tuple[Scope, ...]:
    """The fewest scopes that cover these subscriptions."""
    return tuple(Scope(subscriptions=part) for part in batched(dict.fromkeys(subscriptions), MOST_SUBSCRIPTIONS, strict=False))


class ResourceGraph:
    """Asks Resource Graph. `page_size` is the most rows that one answer may hold."""

    def __init__(self, arm: JsonReader, clock: Clock, *, page_size: int = MOST_ROWS) -> None:
        self._arm = arm
        self._clock = clock
        self._page_size = page_size
        self._pause_s = 0.0

    async def rows(self, query: str, scope: Scope, *, source: str, repair: str) -> Absent | Unread | tuple[Node, ...]:
        """Every row of a query, which has to be ordered by a unique column; each row's path is that in its own page.

        A page that fails, and an answer that is cut short, make the whole query unread.
        """

        async def ask() -> Unread | tuple[Node, ...]:
            return await self._rows(query, scope, source)

        return await reading(ask, source=source, repair=repair)

    async def _rows(self, query: str, scope: Scope, source: str) -> Unread | tuple[Node, ...]:
        rows: list[Node] = []
        size, token, seen = self._page_size, None, set[str]()
        fewest: int | None = None
        for _ in range(MOST_PAGES):
            options: dict[str, object] = {"resultFormat": "objectArray", "$top": size}
            if token is not None:
                options["$skipToken"] = token
            try:
                page, headers = await self._ask({**scope.members(), "query": query, "options": options})
            except HttpResponseError as error:
                if size == 1 or not _is_too_large(error):
                    raise
                size = max(1, size // 2)
                continue
            rows.extend(page["data"].needed())
            total = page["totalRecords"].needed().number() or 0
            # Rows may come and go between pages: only fewer than were ever there is too few
            fewest = total if fewest is None else min(fewest, total)
            if page["resultTruncated"].needed().flag() or headers.get("x-ms-tenant-subscription-limit-hit", "").lower() == "true":
                return _truncated(source)
            token = page["$skipToken"].text() or None
            if token is None:
                return tuple(rows) if len(rows) >= fewest else _truncated(source)
            if token in seen:
                raise DecodeError("$.$skipToken", "expected the next page, got one that was read already")
            seen.add(token)
        raise too_many_pages()

    async def _ask(self, question: Mapping[str, object]) -> tuple[Node, Mapping[str, str]]:
        if self._pause_s:
            pause, self._pause_s = self._pause_s, 0.0
            await self._clock.sleep(pause)
        page, headers = await self._arm.post(_URL, question)
        if headers.get("x-ms-user-quota-remaining", "").strip() == "0":
            self._pause_s = min(quota_reset_s(headers) or 0.0, _LONGEST_PAUSE_S)
        return page, headers


def _truncated(source: str) -> Unread:
    log.warning("an answer of Resource Graph was cut short", extra={"source": source})
    repair = "nothing: Resource Graph cut its answer short, and is asked again"
    return Unread(source=source, status=200, code="ResultTruncated", repair=repair)


def _is_too_large(error: HttpResponseError) -> bool:
    """Whether the page exceeds the 16 MiB that one answer may hold; the code stands in the details."""
    details = getattr(getattr(error, "error", None), "details", None) or ()
    return any(getattr(each, "code", None) == "ResponsePayloadTooLarge" for each in details)
