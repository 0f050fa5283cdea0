"""What the Azure Storage adapters share: how to sign in with a connection string, and what an error answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from keydrift.errors import ConfigError
from keydrift.ports import StateConflictError, StateError

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.core.exceptions import AzureError

type Service = Literal["table", "queue", "blob"]

_ROLES: dict[Service, str] = {
    "table": "Storage Table Data Contributor",
    "queue": "Storage Queue Data Contributor",
    "blob": "Storage Blob Data Contributor",
}
_NOUNS: dict[Service, str] = {"table": "table", "queue": "queue", "blob": "container"}

# learn.microsoft.com/azure/storage/common/storage-use-azurite: the development account, its published key and its ports.
_DEVELOPMENT = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
    "QueueEndpoint": "http://127.0.0.1:10001/devstoreaccount1",
    "TableEndpoint": "http://127.0.0.1:10002/devstoreaccount1",
}

# learn.microsoft.com/rest/api/storageservices/table-service-error-codes and .../queue-service-error-codes
MISSING_CONTAINER = frozenset({"TableNotFound", "QueueNotFound"})
_EXISTS_ALREADY = frozenset({"TableAlreadyExists", "QueueAlreadyExists"})
# Answered with 409 as well, but they say that the container is being deleted or made, not that somebody else was faster.
_UNDER_WAY = frozenset({"TableBeingDeleted", "QueueBeingDeleted", "AccountBeingCreated", "OperationTimedOut"})
_CONFLICTS = frozenset({"EntityAlreadyExists", "UpdateConditionNotSatisfied", "ConditionNotMet"})
_RETRIABLE = frozenset({404, 408, 409, 412, 429})


class StorageContainer:
    """A table, queue or container of a storage account: makes it on first use, and says what its errors mean."""

    def __init__(self, service: Service, name: str) -> None:
        self._service: Service = service
        self._name = name
        self._exists = False
        self._creating = asyncio.Lock()

    async def ensure(self, create: Callable[[], Awaitable[object]]) -> None:
        """Call `create` unless it is known to exist. Raises `StateError`."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - importing it is cold-start time

        async with self._creating:
            if self._exists:
                return
            with self.errors():
                try:
                    await create()
                except HttpResponseError as error:
                    if error_code(error) not in _EXISTS_ALREADY:
                        raise
            self._exists = True

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise `StateConflictError` or `StateError` in place of whatever the Azure SDK raises inside."""
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - as above

        try:
            yield
        except AzureError as error:
            if error_code(error) in MISSING_CONTAINER:
                self._exists = False
            raise self._translate(error) from error

    def _translate(self, error: AzureError) -> StateConflictError | StateError:
        # By status and code alone: the text is for people, and changes.
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError  # noqa: PLC0415 - as above

        where = f"the {_NOUNS[self._service]} `{self._name}`"
        if not isinstance(error, HttpResponseError) or error.status_code is None:
            if isinstance(error, ClientAuthenticationError):
                return StateError(f"no token for {where}: check the identity that the monitor runs as", transient=True)
            return StateError(f"{where} cannot be reached: check the account's endpoint and the network", transient=True)
        status, code = error.status_code, error_code(error)
        answer = f"{where} answered {status} `{code}`"
        if self._service == "table" and (status in {409, 412} or code in _CONFLICTS) and code not in _UNDER_WAY:
            return StateConflictError(f"{answer}: read again")
        if status in {401, 403}:
            return StateError(
                f"{answer}: give the monitor's identity the role `{_ROLES[self._service]}` on the storage account, and let it "
                "through the account's firewall",
                transient=False,
            )
        if code in MISSING_CONTAINER:
            return StateError(f"{where} was deleted: it is made again when this is tried again", transient=True)
        if status < 500 and status not in _RETRIABLE:
            return StateError(f"{answer}: the request is refused as it is, please report it", transient=False)
        return StateError(f"{answer}: try again", transient=True)


def error_code(error: AzureError) -> str:
    """Return the service's error code, empty where it gave none."""
    # Set by both SDKs on the exceptions they raise, as an enum's member or, where the enum does not know it, as text.
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def parse_connection_string(text: str, service: Service) -> tuple[str, AzureNamedKeyCredential]:
    """Return the service's endpoint and the account key's credential. Raises `ConfigError`.

    Form: learn.microsoft.com/azure/storage/common/storage-configure-connection-string; `UseDevelopmentStorage=true` is Azurite
    at its usual ports. Meant for Azurite: in Azure, keydrift signs in with its managed identity.
    """
    from azure.core.credentials import AzureNamedKeyCredential  # noqa: PLC0415 - importing it is cold-start time

    members = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if members.get("UseDevelopmentStorage", "").lower() == "true":
        members = _DEVELOPMENT
    name, key = members.get("AccountName"), members.get("AccountKey")
    if not name or not key:
        raise ConfigError("the storage connection string needs `AccountName` and `AccountKey`, or `UseDevelopmentStorage=true`")
    scheme, suffix = members.get("DefaultEndpointsProtocol", "https"), members.get("EndpointSuffix", "core.windows.net")
    endpoint = members.get(f"{service.capitalize()}Endpoint") or f"{scheme}://{name}.{service}.{suffix}"
    return endpoint, AzureNamedKeyCredential(name, key)
