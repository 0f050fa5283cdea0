"""Alerts to Log Analytics through the Logs Ingestion API (azure-facts 6).

azure-monitor-ingestion sums record sizes without separators, so its bodies can exceed the service's limit: rows are cut into
chunks here, well under 1,000,000 bytes. It is called without `on_error`, which would swallow authentication failures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from azure.core.exceptions import AzureError, HttpResponseError
from azure.monitor.ingestion.aio import LogsIngestionClient

from keydrift.adapters.cloud import Cloud
from keydrift.adapters.http import USER_AGENT, BoundedRetryPolicy, is_about_the_token
from keydrift.ports import DeliveryError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

CHUNK_BYTES = 900_000


class LogAnalyticsSink:
    """Sends rows to one stream of a data collection rule."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        endpoint: str,
        rule_id: str,
        stream: str,
        credential: AsyncTokenCredential,
        transport: AioHttpTransport,
    ) -> None:
        self._client = LogsIngestionClient(
            endpoint,
            credential,
            credential_scopes=[f"{cloud.monitor_audience}//.default"],
            transport=transport,
            retry_policy=BoundedRetryPolicy(),
            user_agent=USER_AGENT,
        )
        self._rule_id, self._stream = rule_id, stream

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Upload rows in order. Raises DeliveryError at the first chunk that is not accepted; 204 means accepted, not stored."""
        for chunk in chunks(rows):
            try:
                await self._client.upload(self._rule_id, self._stream, cast("list[MutableMapping[str, object]]", chunk))
            except HttpResponseError as error:
                raise DeliveryError(_remedy(None if is_about_the_token(error) else error.status_code)) from error
            except (AzureError, OSError) as error:
                raise DeliveryError(
                    f"no answer ({type(error).__name__}): check `KEYDRIFT_DCR_ENDPOINT` and the network path to it"
                ) from error


class UnconfiguredSink:
    """Stands where no data collection rule is set: nothing is accepted, so that alerts stay pending and nothing is lost."""

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Always raises DeliveryError."""
        raise DeliveryError(f"{len(rows)} alerts wait: set `KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID`")


def chunks(rows: Sequence[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    """Rows in lists whose JSON, separators and brackets included, stays under the limit."""
    chunk: list[Mapping[str, object]] = []
    size = 2
    for row in rows:
        length = len(json.dumps(row).encode()) + 2
        if chunk and size + length > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 2
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _remedy(status: int | None) -> str:
    match status:
        case None:
            return "no token for Azure Monitor: check the function app's managed identity"
        case 401:
            return "HTTP 401: check that `KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_CLOUD` name one cloud"
        case 403:
            return (
                "HTTP 403: give the identity Monitoring Metrics Publisher on the data collection rule (it takes up to 30 minutes)"
            )
        case 404:
            return "HTTP 404: check `KEYDRIFT_DCR_RULE_ID` (the immutable id, dcr-…) and the stream's name"
        case 413:
            return "HTTP 413: a row is larger than the service takes; report which key binding has so many consumers"
        case 429:
            return "HTTP 429: nothing to do, the rows are sent again; where it lasts, ask for higher limits of the rule"
        case int() if status >= 500:
            return f"HTTP {status}: nothing to do, the service is failing and the rows are sent again"
        case _:
            return f"HTTP {status}: check that the data collection rule declares the stream with the columns of this release"
