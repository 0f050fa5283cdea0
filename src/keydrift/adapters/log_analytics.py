"""Alerts to Log Analytics through the Logs Ingestion API (azure-facts 6).

azure-monitor-ingestion sums record sizes without separators, so its bodies can exceed the service's limit: rows are cut into
chunks by `row_batches`, well under 1,000,000 bytes. It is called without `on_error`, which would swallow authentication failures.
A 429 without `Retry-After` is not repeated by it: it is reported, and the rows are sent again by the timer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from azure.core.exceptions import AzureError, HttpResponseError
from azure.monitor.ingestion.aio import LogsIngestionClient

from keydrift.adapters.cloud import Cloud
from keydrift.adapters.http import USER_AGENT, BoundedRetryPolicy, error_code, is_about_the_token
from keydrift.adapters.row_batches import Refusal, Row, send_in_chunks
from keydrift.ports import DeliveryError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

# Error codes of answers 400 that have nothing to do with the rows; others are taken to mean them, and those rows are tried again
# once a day (`delivery`), so that a code unknown here delays alerts and loses none
_ABOUT_SETTINGS = frozenset({"invalidstream", "missingapiversionparameter", "unsupportedapiversion", "invalidapiversion"})


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

    async def send(self, rows: Sequence[Row]) -> None:
        """Upload rows in order. Raises DeliveryError at the first that is not accepted; 204 means accepted, not stored."""
        await send_in_chunks(rows, self._upload, _refusal)

    async def _upload(self, rows: Sequence[Row]) -> None:
        await self._client.upload(self._rule_id, self._stream, cast("list[MutableMapping[str, object]]", list(rows)))


class UnconfiguredSink:
    """Stands where no data collection rule is set: nothing is accepted, so that alerts stay pending and nothing is lost."""

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Always raises DeliveryError."""
        raise DeliveryError(f"{len(rows)} alerts wait: set `KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID`")


def _refusal(error: AzureError | OSError) -> Refusal:
    if not isinstance(error, HttpResponseError):
        kind = type(error).__name__
        return Refusal(message=f"no answer ({kind}): check `KEYDRIFT_DCR_ENDPOINT` and the network path to it")
    if is_about_the_token(error):
        return Refusal(message=_remedy(None))
    # A 400 that names the stream or the rule is about the settings: no row is to blame, and none is put aside for it
    about_rows = error.status_code == 413 or (error.status_code == 400 and error_code(error).lower() not in _ABOUT_SETTINGS)
    return Refusal(message=_remedy(error.status_code), about_content=about_rows)


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
