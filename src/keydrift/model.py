"""The nouns: frozen, valid by construction, no behaviour beyond small derivations and no I/O.

Three groups: what is watched (key bindings), what was decided (findings, proof, verdicts) and what is heard (notices). What was
read stands in `facts`. The words are those of the architecture document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from keydrift.facts import KeyStore, Principal, Unread
from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId


class Scenario(StrEnum):
    """Why a principal needs a key (catalogue)."""

    ADE_BEK = "ade-bek"
    ADE_KEK = "ade-kek"
    CVM_CMK = "cvm-cmk"
    CVM_DES = "cvm-des"
    BACKUP_VAULT_CMK = "backup-vault-cmk"
    RSV_CMK = "rsv-cmk"


class PermissionModel(StrEnum):
    """How a key store decides who may use its keys."""

    ACCESS_POLICY = "access-policy"
    RBAC = "rbac"
    MANAGED_HSM = "managed-hsm"


class State(StrEnum):
    """The four states of a verdict, and with them the level of a finding."""

    HELD = "held"
    AT_RISK = "at_risk"
    UNKNOWN = "unknown"
    LOST = "lost"

    @property
    def rank(self) -> int:
        """Worse is higher: lost > unknown > at_risk > held."""
        return list(State).index(self)


# --- what is watched ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIdentity:
    """An application's service principal, named by its app id: the Backup Management Service."""

    app_id: str

    @property
    def reference(self) -> str:
        """What a key binding is unique by."""
        return self.app_id.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceIdentity:
    """The managed identity that a vault or disk encryption set uses, as that resource declares it.

    `user_assigned` names the identity chosen by the encryption settings (None: the system-assigned one). `attached` maps
    each attached user-assigned identity's normalised id to the object id shown there (azure-facts 1.3).
    """

    resource_id: ResourceId
    user_assigned: ResourceId | None = None
    system_object_id: str | None = None
    attached: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    tenant_id: str | None = None

    @property
    def reference(self) -> str:
        """What a key binding is unique by: the resource, whichever identity it uses today."""
        return self.resource_id.key


type IdentityReference = AppIdentity | ResourceIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Who answers for a resource and where it belongs, as its tags say; None where it has no such tag."""

    owner: str | None = None
    environment: str | None = None


NO_OWNERSHIP = Ownership()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedItem:
    """A backup item whose recovery depends on the key. `name` is what people call it.

    `last_backup_at` is when the last backup ran, whatever came of it; `last_recovery_point_at` is when its newest backup copy was
    made. None where the resource does not show it: a backup instance shows neither.
    """

    id: ResourceId
    last_backup_at: datetime | None = None
    last_recovery_point_at: datetime | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repointing:
    """A consumer named another key (`previous`, without a version) until it was seen, `at`, to name this one."""

    previous: KeyUri
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """The resource that needs the key, and what it says of it: the disks of one machine may pin several versions.

    `through` is the disk encryption set between a machine and its key. `protected_items` may be cut short,
    `protected_count` is how many there are then (None: those shown are all).
    """

    id: ResourceId
    key_versions: tuple[str, ...] = ()
    location: str | None = None
    encryption_state: str | None = None
    rotation_error: str | None = None
    protected_items: tuple[ProtectedItem, ...] = ()
    protected_count: int | None = None
    repointed: Repointing | None = None
    through: ResourceId | None = None
    ownership: Ownership = NO_OWNERSHIP

    @property
    def item_count(self) -> int:
        """How many items its key protects."""
        return len(self.protected_items) if self.protected_count is None else self.protected_count


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreObject:
    """A key or secret and where it stands. `store_id` is None while no readable subscription holds that host; `ownership` is the
    key store's."""

    uri: KeyUri
    store_id: ResourceId | None = None
    ownership: Ownership = NO_OWNERSHIP


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBinding:
    """Principal + key (or secret) + requirement + the consumers that need it.

    `target` is the key, or for `ade-bek` the secret. `secrets` are the encryption secrets that `ade-kek` needs besides its key;
    they may stand in other key stores. A secret's address carries the version that the disk names, a key's never does: which
    version of a key a consumer pins stands with the consumer.
    """

    id: str
    scenario: Scenario
    identity: IdentityReference
    target: StoreObject
    secrets: tuple[StoreObject, ...] = ()
    consumers: tuple[Consumer, ...] = ()

    @property
    def objects(self) -> tuple[StoreObject, ...]:
        """Every key and secret that has to be usable."""
        return (self.target, *self.secrets)

    @property
    def hosts(self) -> frozenset[str]:
        """The key stores whose facts the verdict needs."""
        return frozenset(each.uri.host for each in self.objects)


# --- what was decided --------------------------------------------------------------------------------------------------


class Effect(StrEnum):
    """What one weighed grant or deny did to the requirement."""

    GRANTS = "grants"
    PARTLY = "grants-some"
    NOTHING = "grants-nothing"
    DENIES = "denies"
    HARMLESS = "does-not-deny"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofStep:
    """One grant or deny weighed, and why it does or does not count. `grantee` is the object id that it names: the principal's or
    a group's."""

    kind: str
    id: str
    effect: Effect
    reason: str
    scope: str | None = None
    role: str | None = None
    permissions: tuple[str, ...] = ()
    grantee: str | None = None


type Evidence = Mapping[str, str | int | bool | tuple[str, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One catalogue code with what a person can check and the command that repairs it."""

    code: str
    level: State
    summary: str
    evidence: Evidence = field(default_factory=lambda: MappingProxyType({}))
    remediation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpot:
    """A read that failed, and the finding codes that may hold or not because of it."""

    unread: Unread
    codes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision for one key binding, with its proof.

    `unseen` are codes that were told of before and that this verdict's blind spots hide: nobody knows whether they have ended.
    """

    binding: KeyBinding
    state: State
    read_at: datetime
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    proof: tuple[ProofStep, ...] = ()
    unread: tuple[Unread, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    unseen: frozenset[str] = frozenset()
    permission_model: PermissionModel | None = None
    principal: Principal | None = None
    key_store: KeyStore | None = None

    @property
    def codes(self) -> frozenset[str]:
        """The finding codes: what drift is compared by, with the state."""
        return frozenset(finding.code for finding in self.findings)


# --- what is heard -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who made a change, as the event's claims tell it. Any member may be missing."""

    object_id: str | None = None
    name: str | None = None
    app_id: str | None = None
    ip: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether the claims name anybody."""
        return bool(self.object_id or self.name or self.app_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNotice:
    """An event, decoded: a hint that something about `resource_id` changed, and perhaps who did it.

    `operation` is ARM's operation name (`Microsoft.Authorization/roleAssignments/delete`) or, for Key Vault's own events,
    the event type. `actor` is None where the event carries no claims at all: the ARM event of the same change does.
    """

    event_id: str
    event_type: str
    operation: str
    resource_id: ResourceId
    occurred_at: datetime | None
    actor: Actor | None = None
    correlation_id: str | None = None
