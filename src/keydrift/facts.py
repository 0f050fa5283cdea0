"""The facts: what was read about key stores, principals, grants, keys. Each read is a value, `Absent` or `Unread`.

Nouns only, frozen. A failed read is never taken for an answer, so it has a type of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The service answered, and said that there is no such thing (404)."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A read that failed: never taken for an answer.

    `source` names what was asked for, `status` is the HTTP status (None where nothing answered), `code` the service's error
    code, `repair` the role or permission that would let the monitor read it.
    """

    source: str
    status: int | None
    code: str
    repair: str


type Read[T] = T | Absent | Unread


def store_not_seen(host: str) -> Unread:
    """A key store that no subscription which the monitor can read shows: unread, because it may well exist elsewhere."""
    return _not_seen(f"key store {host} (in no subscription that the monitor can read)", 404)


def object_not_placed(uri: KeyUri) -> Unread:
    """A key or secret of such a key store: nobody could be asked for it."""
    return _not_seen(f"{uri} (its key store is in no subscription that the monitor can read)", None)


def _not_seen(source: str, status: int | None) -> Unread:
    repair = "Reader on the subscription that holds the key store"
    return Unread(source=source, status=status, code="KeyStoreNotSeen", repair=repair)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """One entry of a vault's access policies; words are lower case."""

    object_id: str
    tenant_id: str
    application_id: str | None = None
    keys: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRules:
    """What a key store's firewall lets through; words are lower case, defaults as Azure's."""

    public_network_access: str = "enabled"
    default_action: str = "allow"
    bypass: str = "azureservices"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVault:
    """A vault, as ARM shows it (azure-facts 5.3)."""

    id: ResourceId
    location: str
    tenant_id: str
    rbac: bool
    access_policies: tuple[AccessPolicy, ...] = ()
    soft_delete: bool = False
    purge_protection: bool = False
    network: NetworkRules = NetworkRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedHsm:
    """A Managed HSM's control plane."""

    id: ResourceId
    location: str
    tenant_id: str
    purge_protection: bool = False
    network: NetworkRules = NetworkRules()


type KeyStore = KeyVault | ManagedHsm


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedKeyStore:
    """A soft-deleted key store and until when it can be recovered."""

    id: ResourceId
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyObject:
    """A key's (or secret's) metadata, never its material. `versions` is how many a key has, None where nobody counted them."""

    uri: KeyUri
    enabled: bool = True
    not_before: datetime | None = None
    expires: datetime | None = None
    key_type: str | None = None
    key_size: int | None = None
    versions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier sweep read of a key or secret, and when."""

    read_at: datetime
    read: Read[KeyObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionBlock:
    """One entry of a role definition's `permissions`: the data actions it gives less those it takes out again."""

    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDefinition:
    """A role: Azure's or custom, in Azure RBAC or in a Managed HSM. `id` is the normalised full id."""

    id: str
    name: str
    permissions: tuple[PermissionBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssignment:
    """An Azure role assignment that ARM listed for a principal, through groups included."""

    id: ResourceId
    scope: ResourceId
    role_definition_id: str
    principal_id: str
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInstance:
    """An active `roleAssignmentScheduleInstance`: since when is past, until when it is `ends_at` (None: for good).

    `origin` is the role assignment that it stands for, where the service says so (azure-facts 4.1, PIM).
    """

    scope: ResourceId
    role_definition_id: str
    principal_id: str
    ends_at: datetime | None = None
    origin: ResourceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HsmRoleAssignment:
    """A Managed HSM local role assignment. `scope` is `/` or `/keys/{name}`, lower case."""

    id: str
    scope: str
    role_definition_id: str
    principal_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyAssignment:
    """An Azure deny assignment (azure-facts 4.1). Principals are lower-case object ids; all-zero means everyone."""

    id: ResourceId
    name: str
    scope: ResourceId
    permissions: tuple[PermissionBlock, ...]
    principals: frozenset[str]
    group_principals: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    excluded_groups: frozenset[str] = frozenset()
    applies_to_children: bool = True
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A service principal or managed identity found in the directory."""

    object_id: str
    app_id: str | None = None
    name: str | None = None
    enabled: bool = True
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What was read about one key store. Maps are keyed by principal object id unless said otherwise.

    `watched_before` says that this key store has answered keydrift before, so a 404 now is a loss and no misconfiguration.
    `assignments` are listed at the key store's scope for the principal, groups expanded by Azure, so each one's scope is the
    store, above it or below it; `schedule_instances` likewise say until when; `definitions` by normalised role definition id;
    `objects` by `KeyUri`, versionless for the current version and with a version for pinned ones. `uncounted` are the failed
    counts of keys' versions.
    """

    store: Read[KeyStore]
    deleted: Read[DeletedKeyStore] | None = None
    watched_before: bool = False
    objects: Mapping[KeyUri, Read[KeyObject]] = field(default_factory=lambda: MappingProxyType({}))
    assignments: Mapping[str, Read[tuple[RoleAssignment, ...]]] = field(default_factory=lambda: MappingProxyType({}))
    schedule_instances: Mapping[str, Read[tuple[ScheduleInstance, ...]]] = field(default_factory=lambda: MappingProxyType({}))
    definitions: Mapping[str, Read[RoleDefinition]] = field(default_factory=lambda: MappingProxyType({}))
    denies: Read[tuple[DenyAssignment, ...]] = ()
    hsm_assignments: Mapping[str, Read[tuple[HsmRoleAssignment, ...]]] = field(default_factory=lambda: MappingProxyType({}))
    hsm_definitions: Read[tuple[RoleDefinition, ...]] = ()
    uncounted: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything read for the key bindings of one key store at one moment.

    `read_at` is the start of the oldest read in it. `principals` is keyed by identity reference (app id) or, for
    user-assigned identities, by their normalised ARM id; `groups` by principal object id. `last_known` keeps the object id that
    an app id had when the directory answered last. `tenant_id` is the directory's.
    """

    read_at: datetime
    stores: Mapping[str, StoreFacts]
    principals: Mapping[str, Read[Principal]] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[str, Read[frozenset[str]]] = field(default_factory=lambda: MappingProxyType({}))
    last_known: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tenant_id: str | None = None
