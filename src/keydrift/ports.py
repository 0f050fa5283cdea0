"""What the monitor asks of the outside world: Protocols of few methods, the nouns they exchange and the errors they raise.

Nothing here does I/O or names a product; adapters implement these, and `monitor` sees nothing else of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keydrift.facts import (
    DeletedKeyStore,
    DenyAssignment,
    HsmRoleAssignment,
    KeyObject,
    KeyStore,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
)
from keydrift.inventory import Inventory
from keydrift.key_uri import KeyUri
from keydrift.model import StoreObject
from keydrift.resource_id import ResourceId


class StateConflictError(Exception):
    """An ETag did not match, or an entity to be inserted exists. Nothing was written: read again, decide again."""


class StateError(Exception):
    """A store or queue could not be reached, or refused; the message is one line that says what to do.

    `transient` tells whether the same call may succeed later without anybody repairing anything.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A JSON object under a partition and a row key, both arbitrary text of at most 1,000 characters.

    `etag` names one stored version; None means that it was never stored.
    """

    partition: str
    row: str
    body: Mapping[str, object]
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Store `entity`: insert it (`etag` None, conflict when it exists), upsert it (`"*"`), else replace that very version."""

    entity: Entity

    @property
    def partition(self) -> str:
        """The partition written to."""
        return self.entity.partition

    @property
    def row(self) -> str:
        """The row written to."""
        return self.entity.row


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete an entity: whatever version there is, or none (`etag` None or `"*"`), else that very version."""

    partition: str
    row: str
    etag: str | None = None


class EntityStore(Protocol):
    """The state store: entities in partitions, guarded by ETags. Every method may raise `StateError`."""

    async def get(self, partition: str, row: str) -> Entity | None:
        """Return the entity as stored now, or None."""
        ...

    async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
        """Return the partition's entities whose row starts with `row_prefix`, ordered by row (by code point)."""
        ...

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        """Apply all operations or none, and return the written entities, in order, with their new ETags.

        Raises `StateConflictError`, and ValueError for more than 100 operations, more than one partition or a row named twice
        (an entity group transaction's rules: learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions).
        """
        ...


class RecheckQueue(Protocol):
    """Where work is put for later."""

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        """Add a message of at most 48 KiB of UTF-8, visible after `delay_s` seconds (at most 7 days).

        Raises `StateError`, and ValueError for a body or a delay beyond its limit.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """A message as received: its holder may delete or release it with `receipt`, until it is received again."""

    id: str
    body: str
    dequeue_count: int
    inserted_at: datetime
    receipt: str


class Clock(Protocol):
    """The time, which a simulation may move."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        ...


class KeyStores(Protocol):
    """Key stores and their keys on the ARM plane. A read never raises: what fails comes back as `Unread`."""

    async def key_store(self, store_id: ResourceId) -> Read[KeyStore]:
        """Return the key store of that id."""
        ...

    async def deleted_key_store(self, store_id: ResourceId) -> Read[DeletedKeyStore]:
        """Return the soft-deleted key store that had that id."""
        ...

    async def key_object(self, target: StoreObject) -> Read[KeyObject]:
        """Return a vault's key, one version of it, or the latest version of a secret."""
        ...

    async def key_versions(self, target: StoreObject) -> Read[int]:
        """Return how many versions a vault's key has, at least one."""
        ...


class Grants(Protocol):
    """Azure RBAC. A read never raises."""

    async def role_assignments(self, store_id: ResourceId, principal_id: str) -> Read[tuple[RoleAssignment, ...]]:
        """Return the assignments that reach the principal at, above and below a key store."""
        ...

    async def schedule_instances(self, store_id: ResourceId, principal_id: str) -> Read[tuple[ScheduleInstance, ...]]:
        """Return the active role assignment schedule instances of the principal at, above and below a key store."""
        ...

    async def role_definition(self, store_id: ResourceId, definition: str) -> Read[RoleDefinition]:
        """Return a role definition by its guid."""
        ...

    async def deny_assignments(self, store_id: ResourceId) -> Read[tuple[DenyAssignment, ...]]:
        """Return the deny assignments at, above and below a key store."""
        ...


class ManagedHsms(Protocol):
    """A Managed HSM's data plane. A read never raises."""

    async def key(self, uri: KeyUri) -> Read[KeyObject]:
        """Return a key, or one version of it."""
        ...

    async def key_versions(self, uri: KeyUri) -> Read[int]:
        """Return how many versions a key has, at least one."""
        ...

    async def role_assignments(self, host: str, scope: str) -> Read[tuple[HsmRoleAssignment, ...]]:
        """Return the local assignments of one scope, `/` or `/keys/{name}`."""
        ...

    async def role_definitions(self, host: str) -> Read[tuple[RoleDefinition, ...]]:
        """Return every local role definition."""
        ...


class Directory(Protocol):
    """The tenant's principals. A read never raises."""

    async def service_principal(self, app_id: str) -> Read[Principal]:
        """Return an application's service principal."""
        ...

    async def groups(self, object_id: str) -> Read[frozenset[str]]:
        """Return the object ids of a principal's groups, transitively."""
        ...

    async def user_assigned_identity(self, identity_id: ResourceId) -> Read[Principal]:
        """Return a user-assigned identity's principal."""
        ...


class Consumers(Protocol):
    """The inventory: what in the tenant needs keys."""

    async def subscriptions(self) -> Read[tuple[str, ...]]:
        """Return the ids of the subscriptions that can be seen."""
        ...

    async def tenant_of(self, subscription: str) -> Read[str]:
        """Return the id of the directory that a subscription trusts."""
        ...

    async def subscriptions_below(self, management_group: str) -> Read[tuple[str, ...]]:
        """Return the ids of the subscriptions below a management group, at any depth."""
        ...

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        """Return everything in these subscriptions that may need a key; what could not be listed stands in its `unread`.

        `legacy` asks for the older encryption settings of each Recovery Services vault that shows no key, one read a vault.
        """
        ...


class DeliveryError(Exception):
    """Rows were not accepted; the message is one line that says what to do. Nothing is lost: they are sent again.

    The first `accepted` of the rows were accepted. `for_good` tells that the row after them is refused for what it holds, so that
    sending it again does not help; else nobody knows of the rest.
    """

    def __init__(self, message: str, *, accepted: int = 0, for_good: bool = False) -> None:
        super().__init__(message)
        self.accepted, self.for_good = accepted, for_good


class RowSink(Protocol):
    """Where rows of one of the product's tables go."""

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Deliver rows, in order. Raises `DeliveryError` where any of them was not accepted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterBlob:
    """A blob as read: `etag` names that version of it."""

    name: str
    content: bytes
    etag: str


class DeadLetterContainer(Protocol):
    """Where Event Grid leaves the events that it could not deliver. Every method may raise `StateError`."""

    async def names(self, limit: int) -> Sequence[str]:
        """Return the names of at most `limit` blobs, in order; none where there is no container yet."""
        ...

    async def read(self, name: str) -> DeadLetterBlob | None:
        """Return a blob, or None where it is gone."""
        ...

    async def delete(self, blob: DeadLetterBlob) -> None:
        """Delete that very version of a blob; nothing where it is gone or was written anew."""
        ...
