"""All key bindings now known, and which key stores a change notice may concern."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import NAMESPACE_URL, uuid5

from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, ChangeNotice, IdentityReference, KeyBinding, ResourceIdentity, Scenario
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

    def __post_init__(self) -> None:
        by_host: defaultdict[str, list[KeyBinding]] = defaultdict(list)
        for binding in self.bindings.values():
            for host in binding.hosts:
                by_host[host].append(binding)
        object.__setattr__(self, "_by_host", {host: tuple(group) for host, group in by_host.items()})

    @classmethod
    def of(cls, bindings: Iterable[KeyBinding], role_definitions: Mapping[str, frozenset[str]] | None = None) -> Watchlist:
        """A watchlist of these bindings."""
        return cls({binding.id: binding for binding in bindings}, {} if role_definitions is None else role_definitions)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every watched key store, by host, in a stable order."""
        return tuple(sorted(self._by_host))

    def at(self, host: str) -> tuple[KeyBinding, ...]:
        """The bindings whose verdict needs facts of that key store."""
        return self._by_host.get(host, ())

    def consumers_of(self, notice: ChangeNotice) -> frozenset[str]:
        """The subscriptions whose inventory has to be read again because the notice is about a consumer: what it says of its key
        and identity may have changed. Empty where it is about none."""
        concerned = [binding for binding in self.bindings.values() if self._is_consumer(binding, notice.resource_id)]
        items = [item.id for b in concerned for consumer in b.consumers for item in consumer.protected_items]
        ids = (*(consumer.id for b in concerned for consumer in b.consumers), *items)
        return frozenset(each.subscription_id for each in ids if each.subscription_id)

    def affected_by(self, notice: ChangeNotice) -> tuple[str, ...]:
        """The hosts of the key stores whose verdicts the notice may change; empty when it concerns nothing watched."""
        changed = notice.resource_id
        definition = changed.name.lower() if changed.resource_type == ROLE_DEFINITION else None
        scope = changed.extension_scope(ROLE_ASSIGNMENT) or changed.extension_scope(DENY_ASSIGNMENT)
        return tuple(
            host for host, bindings in sorted(self._by_host.items()) if self._hit(host, bindings, changed, scope, definition)
        )

    def _hit(
        self, host: str, bindings: tuple[KeyBinding, ...], changed: ResourceId, scope: ResourceId | None, definition: str | None
    ) -> bool:
        if definition is not None:
            return definition in self.role_definitions.get(host, frozenset())
        if scope is not None:
            # Roles at any scope above the store, on it or on one of its keys; Azure roles mean nothing in a Managed HSM
            return any(
                scope.is_management_group or scope.contains(store) or store.contains(scope)
                for store in _stores(bindings, host)
                if store.resource_type != _HSM_TYPE
            )
        if any(changed.contains(store) or store.contains(changed) for store in _stores(bindings, host)):
            return True
        return any(_identity_is(binding, changed) or self._is_consumer(binding, changed) for binding in bindings)

    @staticmethod
    def _is_consumer(binding: KeyBinding, changed: ResourceId) -> bool:
        owner = binding.identity.resource_id if isinstance(binding.identity, ResourceIdentity) else None
        consumers = [each.id for each in binding.consumers] + ([owner] if owner is not None else [])
        # A Recovery Services vault's legacy encryption settings are a resource of their own below it (azure-facts 5.4)
        settings = changed.up_to(_ENCRYPTION_CONFIG) is not None
        return any(changed.contains(each) or (settings and each.contains(changed)) for each in consumers)


def may_need_key(changed: ResourceId) -> bool:
    """Whether a resource is of a kind that can bring a key binding with it: a vault that may be encrypted, a protected item.

    Machines and disks change too often, and need no key of ours before they are protected.
    """
    return changed.resource_type in _VAULT_TYPES or changed.resource_type.endswith("/protecteditems")


def _stores(bindings: tuple[KeyBinding, ...], host: str) -> set[ResourceId]:
    return {each.store_id for b in bindings for each in b.objects if each.store_id is not None and each.uri.host == host}


def _identity_is(binding: KeyBinding, changed: ResourceId) -> bool:
    identity = binding.identity
    if isinstance(identity, AppIdentity) or identity.user_assigned is None:
        return False
    return changed.contains(identity.user_assigned)
