"""From resources to key bindings: which identities need which keys, as the tenant's own resources tell. Pure.

Adapters read and decode; this module only joins (catalogue, "Discovery").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType

from keydrift.facts import Unread
from keydrift.key_uri import KeyUri
from keydrift.model import (
    NO_OWNERSHIP,
    AppIdentity,
    Consumer,
    IdentityReference,
    KeyBinding,
    Ownership,
    ProtectedItem,
    ResourceIdentity,
    Scenario,
    StoreObject,
)
from keydrift.resource_id import ResourceId
from keydrift.watchlist import binding_id

# So many items of one vault are kept by name, those with the newest recovery points; the others are counted
MOST_ITEMS = 50

type Tags = Mapping[str, str]
_NO_TAGS: Tags = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TagNames:
    """The tags that say who answers for a resource and where it belongs. Azure compares tag names in any letter case
    (learn.microsoft.com/azure/azure-resource-manager/management/tag-resources)."""

    owner: str = "owner"
    environment: str = "environment"

    def read(self, tags: Tags) -> Ownership:
        """What a resource's tags say."""
        by_name = {name.lower(): value for name, value in tags.items()}
        owner, environment = by_name.get(self.owner.lower()), by_name.get(self.environment.lower())
        return Ownership(owner=owner or None, environment=environment or None) if owner or environment else NO_OWNERSHIP


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedVault:
    """A Backup vault or Recovery Services vault that encrypts with a customer's key; `key` may pin a version. `items` are what it
    protects, of which there are `item_count`."""

    id: ResourceId
    scenario: Scenario
    location: str | None
    key: KeyUri
    identity: ResourceIdentity
    encryption_state: str | None = None
    items: tuple[ProtectedItem, ...] = ()
    item_count: int | None = None
    tags: Tags = _NO_TAGS

    def protecting(self, items: Sequence[ProtectedItem]) -> EncryptedVault:
        """The vault with its items: at most `MOST_ITEMS` by name, those with the newest recovery points, in order of id."""
        never = datetime.min.replace(tzinfo=UTC)
        newest = sorted(items, key=lambda i: (i.last_recovery_point_at or never, i.id.key), reverse=True)[:MOST_ITEMS]
        return replace(self, items=tuple(sorted(newest, key=lambda i: i.id.key)), item_count=len(items))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEncryptionSet:
    """A disk encryption set; `store_id` is absent where the key vault stands in another subscription (azure-facts 5.5)."""

    id: ResourceId
    key: KeyUri
    store_id: ResourceId | None
    identity: ResourceIdentity
    for_confidential_vms: bool
    rotation_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdeSetting:
    """Azure Disk Encryption settings of one disk: the secret, and the key encryption key where one is named."""

    secret: StoreObject
    key: StoreObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedVm:
    """A virtual machine under protection. `secure_sets` are named in its confidential disks' security profile, `other_sets` are
    set on its disks otherwise."""

    id: ResourceId
    location: str | None
    item: ProtectedItem
    confidential: bool = False
    secure_sets: tuple[ResourceId, ...] = ()
    other_sets: tuple[ResourceId, ...] = ()
    ade: tuple[AdeSetting, ...] = ()
    tags: Tags = _NO_TAGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was listed. `stores` maps a key store's host to its ARM id, `store_tags` to its tags; `unread` names what could not
    be listed: then bindings may be missing, and the result is not complete. `hearsay` says that bindings may be missing
    although nothing is unread, since the source lags or leaves out in silence: such an inventory adds, it never takes away.
    `listed` are the normalised ids of every resource that was seen, needing a key or not (None: the source does not tell).
    `unasked` are the normalised ids of the Recovery Services vaults whose older encryption settings were not asked for this
    time (none where `legacy_read`), and `lists` is how many lists ARM was asked for."""

    stores: Mapping[str, ResourceId] = field(default_factory=lambda: MappingProxyType({}))
    store_tags: Mapping[str, Tags] = field(default_factory=lambda: MappingProxyType({}))
    vaults: tuple[EncryptedVault, ...] = ()
    disk_sets: Mapping[str, DiskEncryptionSet] = field(default_factory=lambda: MappingProxyType({}))
    vms: tuple[ProtectedVm, ...] = ()
    unread: tuple[Unread, ...] = ()
    hearsay: bool = False
    listed: frozenset[str] | None = None
    legacy_read: bool = True
    unasked: frozenset[str] = frozenset()
    lists: int = 0


ANY_TAGS = TagNames()


def discover(inventory: Inventory, backup_app_id: str, tags: TagNames = ANY_TAGS) -> tuple[KeyBinding, ...]:
    """Every key binding that the inventory shows, each once with all its consumers, in a stable order."""
    found: dict[str, KeyBinding] = {}
    app = AppIdentity(app_id=backup_app_id)
    for binding in (*_vault_bindings(inventory, tags), *_vm_bindings(inventory, app, tags)):
        known = found.get(binding.id)
        found[binding.id] = _joined(known, binding) if known else binding
    return tuple(found[key] for key in sorted(found))


def _joined(known: KeyBinding, other: KeyBinding) -> KeyBinding:
    consumers = {c.id: c for c in (*known.consumers, *other.consumers)}
    for consumer in other.consumers:
        mine = next((c for c in known.consumers if c.id == consumer.id), None)
        if mine is not None:
            items = {i.id: i for i in (*mine.protected_items, *consumer.protected_items)}
            versions = tuple(sorted({*mine.key_versions, *consumer.key_versions}))
            consumers[consumer.id] = replace(consumer, protected_items=tuple(items.values()), key_versions=versions)
    secrets = {(s.uri.versionless, s.uri.version): s for s in (*known.secrets, *other.secrets)}
    target = known.target if known.target.store_id else other.target
    return replace(known, target=target, consumers=tuple(consumers.values()), secrets=tuple(secrets.values()))


def _binding(
    scenario: Scenario,
    identity: IdentityReference,
    target: StoreObject,
    consumers: Iterable[Consumer],
    secrets: tuple[StoreObject, ...] = (),
) -> KeyBinding:
    return KeyBinding(
        id=binding_id(scenario, identity, target.uri),
        scenario=scenario,
        identity=identity,
        target=target,
        secrets=secrets,
        consumers=tuple(consumers),
    )


def _vault_bindings(inventory: Inventory, tags: TagNames) -> Iterator[KeyBinding]:
    for vault in inventory.vaults:
        consumer = Consumer(
            id=vault.id,
            key_versions=_versions(vault.key),
            location=vault.location,
            encryption_state=vault.encryption_state,
            protected_items=vault.items,
            protected_count=vault.item_count if vault.item_count != len(vault.items) else None,
            ownership=tags.read(vault.tags),
        )
        yield _binding(vault.scenario, vault.identity, placed(vault.key.versionless, None, inventory, tags), (consumer,))


def _vm_bindings(inventory: Inventory, app: AppIdentity, tags: TagNames) -> Iterator[KeyBinding]:
    for vm in inventory.vms:
        for each in _confidential_sets(vm, inventory):
            target = placed(each.key.versionless, each.store_id, inventory, tags)
            consumer = replace(_consumer(vm, tags, each.key), through=each.id)
            yield _binding(Scenario.CVM_CMK, app, target, (consumer,))
            yield _binding(Scenario.CVM_DES, each.identity, target, (replace(consumer, rotation_error=each.rotation_error),))
        for setting in vm.ade:
            secret = placed(setting.secret.uri, setting.secret.store_id, inventory, tags)
            if setting.key is None:
                yield _binding(Scenario.ADE_BEK, app, secret, (_consumer(vm, tags),))
            else:
                key = placed(setting.key.uri.versionless, setting.key.store_id, inventory, tags)
                consumer = _consumer(vm, tags, setting.key.uri)
                yield _binding(Scenario.ADE_KEK, app, key, (consumer,), (secret,))


def _confidential_sets(vm: ProtectedVm, inventory: Inventory) -> Iterator[DiskEncryptionSet]:
    if not vm.confidential:
        return
    for set_id in dict.fromkeys((*vm.secure_sets, *vm.other_sets)):
        found = inventory.disk_sets.get(set_id.key)
        if found is not None and (set_id in vm.secure_sets or found.for_confidential_vms):
            yield found


def _consumer(vm: ProtectedVm, tags: TagNames, key: KeyUri | None = None) -> Consumer:
    return Consumer(
        id=vm.id,
        key_versions=_versions(key),
        location=vm.location,
        protected_items=(vm.item,),
        ownership=tags.read(vm.tags),
    )


def _versions(key: KeyUri | None) -> tuple[str, ...]:
    return (key.version,) if key is not None and key.version else ()


def placed(uri: KeyUri, declared: ResourceId | None, inventory: Inventory, tags: TagNames) -> StoreObject:
    """A key or secret where it stands, with what its key store's tags say."""
    # The host decides: a declared source vault may have moved since
    store_id = inventory.stores.get(uri.host) or declared
    return StoreObject(uri=uri, store_id=store_id, ownership=tags.read(inventory.store_tags.get(uri.host, _NO_TAGS)))
