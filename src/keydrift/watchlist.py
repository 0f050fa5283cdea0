"""All key bindings now known, and which key stores a change notice may concern."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import NAMESPACE_URL, uuid5

from keydrift.key_uri import KeyUri
from keydrift.model import ChangeNotice, IdentityReference, KeyBinding, ResourceIdentity, Scenario
from keydrift.resource_id import DENY_ASSIGNMENT, ROLE_ASSIGNMENT, ROLE_DEFINITION, ResourceId

_NAMESPACE = uuid5(NAMESPACE_URL, "https://schemas.keydrift/key-binding")
_HSM_TYPE = "microsoft.keyvault/managedhsms"
_VAULT_TYPES = frozenset({"microsoft.dataprotection/backupvaults", "microsoft.recoveryservices/vaults"})
_ENCRYPTION_CONFIG = "microsoft.recoveryservices/vaults/backupencryptionconfigs"


def binding_id(scenario: Scenario, identity: IdentityReference, target: KeyUri) -> str:
    """The stable id: UUIDv5 of scenario, identity reference and versionless key (catalogue)."""
    return str(uuid5(_NAMESPACE, f"{scenario}|{identity.reference}|{target.host}/{target.kind}/{target.name}"))


@dataclass(frozen=True, slots=True)
class Watchlist:
    """Key bindings by id. `role_definitions` names, by key store host, the role definitions that were weighed there last
    (lower-case guids): an edited definition concerns those key stores only."""

    bindings: Mapping[str, KeyBinding] = field(default_factory=lambda: MappingProxyType({}))
    role_definitions: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    _by_host: Mapping[str, tuple[KeyBinding, ...]] = field(init=False, repr=False, compare=False)
    _stores: _ByPlace[str] = field(init=False, repr=False, compare=False)
    _consumers: _ByPlace[KeyBinding] = field(init=False, repr=False, compare=False)
    _identities: _ByPlace[KeyBinding] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_host: defaultdict[str, list[KeyBinding]] = defaultdict(list)
        for binding in self.bindings.values():
            for host in binding.hosts:
                by_host[host].append(binding)
        every = self.bindings.values()
        stores = ((each.store_id, each.uri.host) for b in every for each in b.objects if each.store_id is not None)
        object.__setattr__(self, "_by_host", {host: tuple(group) for host, group in by_host.items()})
        object.__setattr__(self, "_stores", _ByPlace(dict.fromkeys(stores)))
        object.__setattr__(self, "_consumers", _ByPlace((each, b) for b in every for each in _consumers(b)))
        object.__setattr__(self, "_identities", _ByPlace((each, b) for b in every for each in _identities(b)))

    @classmethod
    def of(cls, bindings: Iterable[KeyBinding], role_definitions: Mapping[str, frozenset[str]] | None = None) -> Watchlist:
        """A watchlist of these bindings."""
        return cls({binding.id: binding for binding in bindings}, {} if role_definitions is None else role_definitions)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every watched key store, by host, in a stable order."""
        return tuple(sorted(self._by_host))

    def home(self, host: str) -> str:
        """The subscription that a key store stands in; empty where nobody knows it."""
        return home_of(host, self.at(host))

    def by_home(self, hosts: Iterable[str]) -> Mapping[str, list[str]]:
        """Key stores by the subscription that they stand in, in the order given."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for host in hosts:
            found[self.home(host)].append(host)
        return found

    def at(self, host: str) -> tuple[KeyBinding, ...]:
        """The bindings whose verdict needs facts of that key store."""
        return self._by_host.get(host, ())

    def consumers_of(self, notice: ChangeNotice) -> frozenset[str]:
        """The subscriptions whose inventory has to be read again because the notice is about a consumer: what it says of its key
        and identity may have changed. Empty where it is about none."""
        concerned = {binding.id: binding for binding in self._with_consumer(notice.resource_id)}.values()
        items = [item.id for b in concerned for consumer in b.consumers for item in consumer.protected_items]
        ids = (*(consumer.id for b in concerned for consumer in b.consumers), *items)
        return frozenset(each.subscription_id for each in ids if each.subscription_id)

    def affected_by(self, notice: ChangeNotice) -> tuple[str, ...]:
        """The hosts of the key stores whose verdicts the notice may change; empty when it concerns nothing watched."""
        return tuple(sorted(set(self._affected(notice.resource_id))))

    def _affected(self, changed: ResourceId) -> Iterator[str]:
        if changed.resource_type == ROLE_DEFINITION:
            definition = changed.name.lower()
            yield from (host for host in self._by_host if definition in self.role_definitions.get(host, frozenset()))
            return
        scope = changed.extension_scope(ROLE_ASSIGNMENT) or changed.extension_scope(DENY_ASSIGNMENT)
        if scope is not None:
            # Roles at any scope above the store, on it or on one of its keys; Azure roles mean nothing in a Managed HSM
            around = self._stores.every() if scope.is_management_group else self._stores.around(scope)
            yield from (host for store, host in around if store.resource_type != _HSM_TYPE)
            return
        yield from (host for _, host in self._stores.around(changed))
        for binding in (*self._with_consumer(changed), *(each for _, each in self._identities.below(changed))):
            yield from binding.hosts

    def _with_consumer(self, changed: ResourceId) -> Iterator[KeyBinding]:
        # A Recovery Services vault's legacy encryption settings are a resource of their own below it (azure-facts 5.4)
        settings = changed.up_to(_ENCRYPTION_CONFIG) is not None
        around = self._consumers.around(changed) if settings else self._consumers.below(changed)
        yield from (binding for _, binding in around)


def home_of(host: str, bindings: Iterable[KeyBinding]) -> str:
    """The subscription that a key store stands in, as key bindings with a key or secret there say; empty where none knows it."""
    ids = (each.store_id for b in bindings for each in b.objects if each.uri.host == host and each.store_id is not None)
    return next((found.subscription_id or "" for found in ids), "")


class _ByPlace[T]:
    """Things by the resource that they belong to, found from what stands above or below it without a look at the others.

    INVARIANT (by segments): in the order of their segments, ids that stand below one id are together, and `rg10` is not below
    `rg1`.
    """

    def __init__(self, pairs: Iterable[tuple[ResourceId, T]]) -> None:
        self._at: defaultdict[tuple[str, ...], list[tuple[ResourceId, T]]] = defaultdict(list)
        for place, thing in pairs:
            self._at[place.segments].append((place, thing))
        self._order = sorted(self._at)

    def every(self) -> Iterator[tuple[ResourceId, T]]:
        """All of them."""
        return (pair for pairs in self._at.values() for pair in pairs)

    def below(self, place: ResourceId) -> Iterator[tuple[ResourceId, T]]:
        """What belongs to that resource or to one below it."""
        depth = len(place.segments)
        for position in range(bisect_left(self._order, place.segments), len(self._order)):
            found = self._order[position]
            if found[:depth] != place.segments:
                return
            yield from self._at[found]

    def around(self, place: ResourceId) -> Iterator[tuple[ResourceId, T]]:
        """What belongs to that resource, to one below it or to one above it."""
        yield from self.below(place)
        for depth in range(len(place.segments)):
            yield from self._at.get(place.segments[:depth], ())


def may_need_key(changed: ResourceId) -> bool:
    """Whether a resource is of a kind that can bring a key binding with it: a vault that may be encrypted, a protected item.

    Machines and disks change too often, and need no key of ours before they are protected.
    """
    return changed.resource_type in _VAULT_TYPES or changed.resource_type.endswith("/protecteditems")


def _consumers(binding: KeyBinding) -> Iterator[ResourceId]:
    """The resources that say of themselves which key and identity they use."""
    yield from dict.fromkeys(each.id for each in binding.consumers)
    if isinstance(binding.identity, ResourceIdentity):
        yield binding.identity.resource_id


def _identities(binding: KeyBinding) -> Iterator[ResourceId]:
    if isinstance(binding.identity, ResourceIdentity) and binding.identity.user_assigned is not None:
        yield binding.identity.user_assigned
