"""The recheck queue in Azure: an Azure Storage queue (or Azurite's).

Bodies are base64, as the Functions host expects by default
(learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue). In Azure the host receives; `receive`, `delete`
and `release` serve a host that runs outside Azure.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from keydrift.adapters.queue_rules import check_message
from keydrift.adapters.storage_account import StorageContainer, error_code, parse_connection_string
from keydrift.ports import QueueMessage

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.exceptions import HttpResponseError
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest
    from azure.storage.queue import QueueMessage as AzureQueueMessage
    from azure.storage.queue.aio import QueueClient

_NEVER_EXPIRES = -1
_TRIED_HIDDEN_S = 120
_PAGE = 32  # learn.microsoft.com/rest/api/storageservices/get-messages
_STALE = frozenset({"MessageNotFound", "PopReceiptMismatch"})


class StorageQueue:
    """A `RecheckQueue` in the queue `name`, created when absent; `close` it when done.

    `endpoint` is the account's queue endpoint (`https://ACCOUNT.queue.core.windows.net`). `transport` replaces the SDK's own.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | AzureNamedKeyCredential,
        name: str,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> None:
        from azure.storage.queue.aio import QueueClient  # noqa: PLC0415 - importing it is cold-start time

        # The SDK's own back-off begins at 15 s, longer than an Event Grid delivery may take.
        self._client: QueueClient = QueueClient(
            endpoint,
            name,
            credential,
            initial_backoff=1,
            increment_base=2,
            random_jitter_range=1,
            retry_total=3,
            transport=transport,
        )
        self._queue = StorageContainer("queue", name)

    @classmethod
    def from_connection_string(
        cls,
        connection_string: str,
        name: str,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> Self:
        """Return a queue that signs in with an account key: Azurite's. Raises `ConfigError`."""
        endpoint, credential = parse_connection_string(connection_string, "queue")
        return cls(endpoint, credential, name, transport)

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        """Add a message, visible after `delay_s` seconds (rounded up), as `RecheckQueue.put` says."""
        check_message(body, delay_s)
        await self._queue.ensure(self._client.create_queue)
        content = base64.b64encode(body.encode()).decode()
        with self._queue.errors():
            # Messages expire after 7 days unless told otherwise, without a trace.
            await self._client.send_message(content, visibility_timeout=math.ceil(delay_s), time_to_live=_NEVER_EXPIRES)

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Return at most `limit` visible messages, about oldest first, and hide them for `visibility_s` seconds (rounded up,
        at least one). Raises `StateError`.
        """
        await self._queue.ensure(self._client.create_queue)
        with self._queue.errors():
            pages = self._client.receive_messages(
                messages_per_page=min(limit, _PAGE), max_messages=limit, visibility_timeout=max(1, math.ceil(visibility_s))
            )
            return [_message(each) async for each in pages]

    async def delete(self, message: QueueMessage) -> None:
        """Delete a received message; nothing when it has been received or released since. Raises `StateError`."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - as above

        with self._queue.errors():
            try:
                await self._client.delete_message(message.id, message.receipt)
            except HttpResponseError as error:
                _pass_stale(error)

    async def release(self, message: QueueMessage, visibility_s: float) -> None:
        """Give a received message back, visible after `visibility_s` seconds (rounded up); nothing when the receipt is stale.

        Raises `StateError`.
        """
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - as above

        with self._queue.errors():
            try:
                await self._client.update_message(message.id, message.receipt, visibility_timeout=math.ceil(visibility_s))
            except HttpResponseError as error:
                _pass_stale(error)

    async def try_out(self) -> None:
        """Add a message and delete it again before anybody receives it. Raises `StateError`."""
        await self._queue.ensure(self._client.create_queue)
        content = base64.b64encode(b"keydrift doctor").decode()
        with self._queue.errors():
            # Hidden for longer than the deletion takes; should that fail, it expires unseen
            sent = await self._client.send_message(content, visibility_timeout=_TRIED_HIDDEN_S, time_to_live=_TRIED_HIDDEN_S + 1)
            await self._client.delete_message(sent.id, sent.pop_receipt)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _message(received: AzureQueueMessage) -> QueueMessage:
    # Only the SDK's type leaves these open; Get Messages always answers them.
    assert received.inserted_on is not None
    assert received.dequeue_count is not None
    return QueueMessage(
        id=received.id,
        body=_decode(received.content),
        dequeue_count=received.dequeue_count,
        inserted_at=received.inserted_on,
        receipt=str(received.pop_receipt),
    )


def _decode(content: str) -> str:
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        # Somebody else's message: its reader rejects it, and the host counts and poisons it like any other.
        return content


def _pass_stale(error: HttpResponseError) -> None:
    if error_code(error) not in _STALE:
        raise error
