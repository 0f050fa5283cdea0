"""The state store, the recheck queue and the dead-letter container that the settings name. Importing it does no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from keydrift.errors import ConfigError
from keydrift.ports import Clock, DeadLetterContainer, EntityStore, RecheckQueue
from keydrift.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from keydrift.adapters.http import ClockTransport


class Closeable(Protocol):
    """Something that holds connections."""

    async def close(self) -> None:
        """Close them."""
        ...


class ClosableEntities(EntityStore, Closeable, Protocol):
    """A state store that holds a connection."""


class ClosableQueue(RecheckQueue, Closeable, Protocol):
    """A queue that holds a connection."""

    async def try_out(self) -> None:
        """Add a message that nobody receives, and delete it. Raises `StateError`."""
        ...


class ClosableContainer(DeadLetterContainer, Closeable, Protocol):
    """A container that holds a connection."""


class SignedIn(Protocol):
    """What reaches Azure: who asks, and through which connections (`bootstrap.Reading`)."""

    @property
    def credential(self) -> AsyncTokenCredential: ...

    @property
    def transport(self) -> ClockTransport: ...


def storage(
    settings: Settings, environment: Mapping[str, str], clock: Clock, reads: SignedIn
) -> tuple[ClosableEntities, ClosableQueue]:
    """The state store and the recheck queue that `KEYDRIFT_STATE` names. Raises ConfigError."""
    from keydrift.adapters.sqlite_entities import SqliteEntities
    from keydrift.adapters.sqlite_queue import SqliteQueue
    from keydrift.adapters.storage_queue import StorageQueue
    from keydrift.adapters.table_entities import TableEntities

    kind, _, rest = settings.state.partition(":")
    if kind == "sqlite":
        path = Path(rest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteEntities(path), SqliteQueue(path, settings.recheck_queue, clock)
    if kind == "https":
        queues = settings.state.replace(".table.", ".queue.", 1)
        return (
            TableEntities(settings.state, reads.credential, settings.table, reads.transport),
            StorageQueue(queues, reads.credential, settings.recheck_queue, reads.transport),
        )
    connection = _connection_string(environment)
    return (
        TableEntities.from_connection_string(connection, settings.table),
        StorageQueue.from_connection_string(connection, settings.recheck_queue),
    )


def dead_letter_container(settings: Settings, environment: Mapping[str, str], reads: SignedIn) -> ClosableContainer:
    """Where Event Grid leaves what it cannot deliver: in the state's storage account, or beside its file. Raises ConfigError."""
    from keydrift.adapters.dead_letter_blobs import DeadLetterBlobs
    from keydrift.adapters.dead_letter_folder import DeadLetterFolder

    kind, _, rest = settings.state.partition(":")
    name = settings.dead_letter_container
    if kind == "sqlite":
        return DeadLetterFolder(Path(rest).parent / name)
    if kind == "https":
        blobs = settings.state.replace(".table.", ".blob.", 1)
        return DeadLetterBlobs(blobs, reads.credential, name, reads.transport)
    return DeadLetterBlobs.from_connection_string(_connection_string(environment), name)


def _connection_string(environment: Mapping[str, str]) -> str:
    connection = environment.get("AzureWebJobsStorage", "")
    if not connection:
        raise ConfigError("`KEYDRIFT_STATE` is `AzureWebJobsStorage`, and `AzureWebJobsStorage` holds no connection string")
    return connection
