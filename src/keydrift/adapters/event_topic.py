"""Alerts to an Event Grid custom topic, each as a CloudEvent, for whoever wants to act on them; and canary events to theirs.

The topic takes CloudEvents 1.0 (`inputSchema` `CloudEventSchemaV1_0`); the monitor's identity is EventGrid Data Sender on it.
The SDK asks for tokens of `https://eventgrid.azure.net` whatever the cloud (docs/assumptions.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid.aio import EventGridPublisherClient

from keydrift.adapters.http import USER_AGENT, is_about_the_token
from keydrift.adapters.row_batches import Refusal, Row, send_in_chunks
from keydrift.events import CANARY_TYPE
from keydrift.ocsf import alert_finding
from keydrift.ports import DeliveryError

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

SOURCE = "keydrift"
_SETTING = "KEYDRIFT_ALERT_TOPIC_ENDPOINT"
_TYPE = "Keydrift.KeyBinding"
# More than the attributes of an event take beside its data
_ENVELOPE_BYTES = 4_096
# A status is not asked for again: the timer does that, and its waits hold up no recheck
_RETRY: dict[str, Any] = {"retry_total": 2, "retry_status": 0, "retry_backoff_factor": 0.4, "timeout": 60}


class EventTopicSink:
    """Publishes rows to one topic, given by its endpoint (`https://{topic}.{region}-1.eventgrid.azure.net/api/events`)."""

    def __init__(self, *, endpoint: str, credential: AsyncTokenCredential, transport: AioHttpTransport) -> None:
        self._client = _client(endpoint, credential, transport)

    async def send(self, rows: Sequence[Row]) -> None:
        """Publish rows in order. Raises DeliveryError at the first that is not accepted."""
        # Each alert as the row that Log Analytics gets, and as the finding that a SIEM reads
        told = [{**row, "Ocsf": alert_finding(row)} for row in rows]
        await send_in_chunks(told, self._publish, _refusal, overhead=_ENVELOPE_BYTES)

    async def _publish(self, rows: Sequence[Row]) -> None:
        await self._client.send([cloud_event(row) for row in rows])


class CanaryTopic:
    """Publishes canary events to one topic, given by its endpoint."""

    def __init__(self, *, endpoint: str, credential: AsyncTokenCredential, transport: AioHttpTransport) -> None:
        self._client = _client(endpoint, credential, transport)

    async def release(self, canary: str, at: datetime) -> None:
        """Publish an event with that id. Raises DeliveryError."""
        event: CloudEvent[None] = CloudEvent(id=canary, source=SOURCE, type=CANARY_TYPE, subject="canary", time=at)
        try:
            await self._client.send([event])
        except (AzureError, OSError) as error:
            raise DeliveryError(_refusal(error, "KEYDRIFT_CANARY_TOPIC_ENDPOINT").message) from error


def _client(endpoint: str, credential: AsyncTokenCredential, transport: AioHttpTransport) -> EventGridPublisherClient:
    parts = urlsplit(endpoint)
    where = endpoint if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/api/events"
    return EventGridPublisherClient(where, credential, transport=transport, user_agent=USER_AGENT, **_RETRY)


def cloud_event(row: Mapping[str, object]) -> CloudEvent[Mapping[str, object]]:
    """The event of an alert. Its id is the alert's, so that one published twice is seen to be the same."""
    return CloudEvent(
        id=str(row["AlertId"]),
        source=SOURCE,
        type=f"{_TYPE}.{str(row['Kind']).capitalize()}",
        subject=str(row.get("KeyStoreId") or row.get("KeyUri")),
        time=datetime.fromisoformat(str(row["TimeGenerated"])),
        data=row,
        datacontenttype="application/json",
    )


def _refusal(error: AzureError | OSError, setting: str = _SETTING) -> Refusal:
    if not isinstance(error, HttpResponseError):
        kind = type(error).__name__
        return Refusal(message=f"no answer ({kind}): check `{setting}` and the network path to it")
    if isinstance(error, ResourceNotFoundError):
        # The SDK raises this one anew, without the answer
        return Refusal(message=_remedy(404, setting))
    if is_about_the_token(error):
        return Refusal(message="no token for Event Grid: check the function app's managed identity")
    return Refusal(message=_remedy(error.status_code, setting), about_content=error.status_code == 413)


def _remedy(status: int | None, setting: str) -> str:
    match status:
        case 400:
            return "HTTP 400: check that the topic takes CloudEvents 1.0 (its input schema is fixed when it is made)"
        case 401 | 403:
            return f"HTTP {status}: give the identity EventGrid Data Sender on the topic, and let it through the topic's firewall"
        case 404:
            return f"HTTP 404: check `{setting}`"
        case 413:
            return "HTTP 413: an alert is larger than Event Grid takes; report which key binding has so many consumers"
        case int() if status == 429 or status >= 500:
            return f"HTTP {status}: nothing to do, the alerts are published again"
        case _:
            return f"HTTP {status}: check that `{setting}` is a custom topic's"
