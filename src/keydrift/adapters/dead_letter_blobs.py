"""Event Grid's dead-letter container in a storage account (or Azurite). docs/adr/0010 says why the SDK and why it is listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from keydrift.adapters.storage_account import StorageContainer, error_code, parse_connection_string
from keydrift.ports import DeadLetterBlob

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest
    from azure.storage.blob.aio import ContainerClient

_GONE = frozenset({"BlobNotFound", "ContainerNotFound"})
_CHANGED = frozenset({"ConditionNotMet", *_GONE})


class DeadLetterBlobs:
    """A `DeadLetterContainer`: the container `name`, which the deployment makes; `close` it when done.

    `endpoint` is the account's blob endpoint (`https://ACCOUNT.blob.core.windows.net`). `transport` replaces the SDK's own.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | AzureNamedKeyCredential,
        name: str,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> None:
        # Imported at the first call: no other function needs it, and importing it is cold-start time
        self._where = (endpoint, credential, name, transport)
        self._client: ContainerClient | None = None
        self._errors = StorageContainer("blob", name)

    @classmethod
    def from_connection_string(cls, connection_string: str, name: str) -> Self:
        """Return a container that is reached with an account key: Azurite's. Raises `ConfigError`."""
        endpoint, credential = parse_connection_string(connection_string, "blob")
        return cls(endpoint, credential, name)

    async def names(self, limit: int) -> Sequence[str]:
        """Return the names of at most `limit` blobs, in order; none where there is no container yet. Raises `StateError`."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - importing it is cold-start time

        found: list[str] = []
        with self._errors.errors():
            try:
                async for name in self._container().list_blob_names():
                    found.append(name)
                    if len(found) == limit:
                        break
            except HttpResponseError as error:
                if error_code(error) not in _GONE:
                    raise
        return found

    async def read(self, name: str) -> DeadLetterBlob | None:
        """Return a blob, or None where it is gone. Raises `StateError`."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - as above

        with self._errors.errors():
            try:
                download = await self._container().download_blob(name)
                content = await download.readall()
            except HttpResponseError as error:
                if error_code(error) in _GONE:
                    return None
                raise
        return DeadLetterBlob(name=name, content=content, etag=str(download.properties.etag))

    async def delete(self, blob: DeadLetterBlob) -> None:
        """Delete that very version of a blob; nothing where it is gone or was written anew. Raises `StateError`."""
        from azure.core import MatchConditions  # noqa: PLC0415 - as above
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - as above

        with self._errors.errors():
            try:
                await self._container().delete_blob(blob.name, etag=blob.etag, match_condition=MatchConditions.IfNotModified)
            except HttpResponseError as error:
                if error_code(error) not in _CHANGED:
                    raise

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def _container(self) -> ContainerClient:
        if self._client is None:
            from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415 - as above

            endpoint, credential, name, transport = self._where
            self._client = ContainerClient(endpoint, name, credential, retry_total=3, transport=transport)
        return self._client
