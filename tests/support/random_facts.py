"""Random tenants, fast: a key binding and the facts about it from one seed, the same on every machine.

Not Hypothesis: nothing is shrunk, so hundreds of thousands can be had in a minute. Each tenant starts out healthy and draws its
own rate of oddities, so that near-healthy ones and hopeless ones both occur. Every oddity is one that Azure or a failed read can
bring about: near-miss names (rg1 and rg10), letter case, wildcards in the middle, lists that could not be read, conditions,
grants of the other permission model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keydrift.facts import (
    Absent,
    DeletedKeyStore,
    DenyAssignment,
    Facts,
    KeyObject,
    KeyStore,
    KeyVault,
    ManagedHsm,
    NetworkRules,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    StoreFacts,
)
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, Consumer, IdentityReference, KeyBinding, ResourceIdentity, Scenario, StoreObject
from keydrift.resource_id import ResourceId
from support.builders import (
    APP_ID,
    APP_OBJECT,
    BACKUP_VAULT,
    DISK_SET,
    HORIZON,
    HSM,
    HSM_HOST,
    NOW,
    OTHER_TEAM,
    OTHER_TENANT,
    RECOVERY_VAULT,
    STRANGER,
    TEAM,
    TENANT,
    USER_IDENTITY,
    VAULT_HOST,
    VM,
    rid,
)
from support.random_dice import ABSENT
from support.random_grants import (
    FORMER,
    GRANT_AHEAD,
    LOCAL_ACTIONS,
    LOCAL_PATTERNS,
    VAULT_ACTIONS,
    VAULT_IDS,
    VAULT_PATTERNS,
    GrantDice,
)

_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_CURRENT, _OLD, _OLDER = "c" * 32, "b" * 32, "a" * 32
_HOSTS = (VAULT_HOST, "kv2.vault.azure.net")
_HSM_ID, _USER_IDENTITY = rid(HSM), rid(USER_IDENTITY)
_OWNERS = {Scenario.CVM_DES: rid(DISK_SET), Scenario.BACKUP_VAULT_CMK: rid(BACKUP_VAULT), Scenario.RSV_CMK: rid(RECOVERY_VAULT)}
_MACHINES = (rid(VM), rid(f"{VM}0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomTenant:
    """A key binding and what was read about it."""

    seed: int
    binding: KeyBinding
    facts: Facts
    now: datetime = NOW
    key_expiry: timedelta = HORIZON
    grant_expiry: timedelta = GRANT_AHEAD


def random_tenant(seed: int) -> RandomTenant:
    """The tenant of this seed."""
    return _TenantDice(seed).tenant()


class _TenantDice(GrantDice):
    """Draws a key binding and what was read about it."""

    def tenant(self) -> RandomTenant:
        binding = self.binding()
        hosts = sorted(binding.hosts)
        groups: dict[str, Read[frozenset[str]]] = {}
        member = frozenset(each for each in (TEAM, OTHER_TEAM) if self.random.random() < 0.4)
        for who in (APP_OBJECT, FORMER):
            self.entry(groups, who, self.read(member, absent=0.1))
        stores: dict[str, StoreFacts] = {}
        for host in hosts:
            self.entry(stores, host, self.store_facts(binding, host))
        facts = Facts(
            read_at=NOW,
            stores=stores,
            principals=self.principals(binding),
            groups=groups,
            last_known={APP_ID: FORMER if self.is_odd() else APP_OBJECT},
            tenant_id=None if self.is_odd(0.3) else TENANT,
        )
        return RandomTenant(seed=self.seed, binding=binding, facts=facts)

    # --- the key binding ---------------------------------------------------------------------------------------------

    def binding(self) -> KeyBinding:
        scenario = self.pick(*Scenario)
        in_hsm = scenario is not Scenario.ADE_BEK and self.random.random() < (0.05 if scenario is Scenario.ADE_KEK else 0.25)
        host, store = (HSM_HOST, _HSM_ID) if in_hsm else (_HOSTS[0], VAULT_IDS[0])
        secrets: tuple[StoreObject, ...] = ()
        target = StoreObject(
            uri=KeyUri(host, "keys", "k1", None, self.pick("k1", "K1")), store_id=None if self.is_odd(0.2) else store
        )
        if scenario is Scenario.ADE_BEK:
            target = self.secret("s1", 0)
        elif scenario is Scenario.ADE_KEK:
            names = ("s1", "s2")[: self.pick(1, 1, 1, 2)]
            secrets = tuple(self.secret(name, self.pick(0, 0, 1)) for name in names)
        return KeyBinding(
            id=f"binding-{self.seed}",
            scenario=scenario,
            identity=self.identity(scenario),
            target=target,
            secrets=secrets,
            consumers=tuple(self.consumer(scenario, n) for n in range(self.pick(1, 1, 1, 2) - self.is_odd(0.1))),
        )

    def secret(self, name: str, at: int) -> StoreObject:
        version = _OLD if self.is_odd() else self.pick(None, _CURRENT)
        return StoreObject(uri=KeyUri(_HOSTS[at], "secrets", name, version, name), store_id=VAULT_IDS[at])

    def identity(self, scenario: Scenario) -> IdentityReference:
        if scenario not in _OWNERS:
            return AppIdentity(app_id=self.pick(APP_ID, APP_ID.upper()))
        tenant = None if self.is_odd(0.3) else OTHER_TENANT if self.is_odd(0.2) else TENANT
        if self.random.random() < 0.5:
            return ResourceIdentity(
                resource_id=_OWNERS[scenario], system_object_id=None if self.is_odd(0.3) else APP_OBJECT, tenant_id=tenant
            )
        shown = None if self.is_odd(0.2) else FORMER if self.is_odd(0.2) else APP_OBJECT
        return ResourceIdentity(
            resource_id=_OWNERS[scenario],
            user_assigned=_USER_IDENTITY,
            system_object_id=self.pick(None, STRANGER),
            attached={} if self.is_odd(0.3) else {_USER_IDENTITY.key: shown},
            tenant_id=tenant,
        )

    def consumer(self, scenario: Scenario, number: int) -> Consumer:
        versions = (_CURRENT, _CURRENT, _OLD, _OLDER) if self.is_odd() else (_CURRENT,)
        return Consumer(
            id=_OWNERS[scenario] if scenario in _OWNERS and scenario is not Scenario.CVM_DES else _MACHINES[number],
            key_versions=tuple(dict.fromkeys(self.some(versions, 2))),
            location=self.pick(None, "northeurope", "westeurope0", "West Europe") if self.is_odd(0.5) else "westeurope",
            encryption_state=self.pick("Inconsistent", "inconsistent", "Disabled")
            if self.is_odd(0.3)
            else self.pick(None, "Enabled"),
            rotation_error="KeyVaultAccessForbidden" if self.is_odd(0.2) else self.pick(None, None, ""),
        )

    def principals(self, binding: KeyBinding) -> Mapping[str, Read[Principal]]:
        found: dict[str, Read[Principal]] = {}
        is_app = isinstance(binding.identity, AppIdentity)
        tenant = None if is_app else OTHER_TENANT if self.is_odd(0.1) else TENANT
        principal = Principal(
            object_id=APP_OBJECT, app_id=APP_ID, enabled=tenant is not None or not self.is_odd(0.2), tenant_id=tenant
        )
        self.entry(
            found,
            binding.identity.app_id.lower() if isinstance(binding.identity, AppIdentity) else _USER_IDENTITY.key,
            self.read(principal, absent=0.2),
        )
        return found

    # --- key stores --------------------------------------------------------------------------------------------------

    def store_facts(self, binding: KeyBinding, host: str) -> StoreFacts:
        is_hsm = host == HSM_HOST
        at = _HSM_ID if is_hsm else VAULT_IDS[_HOSTS.index(host)]
        store = self.read(self.hsm() if is_hsm else self.vault(at), absent=0.3)
        deleted = None
        objects: dict[KeyUri, Read[KeyObject]] = {}
        if isinstance(store, Absent):
            deleted = self.pick(None, self.read(DeletedKeyStore(id=at)), ABSENT)
        for each in binding.objects:
            if each.uri.host == host:
                self.objects(objects, each.uri, is_gone=isinstance(store, Absent))
        if is_hsm:
            definitions = tuple(self.role(f"role-{n}", LOCAL_ACTIONS, LOCAL_PATTERNS) for n in (1, 2)[: 2 - self.is_odd()])
            return StoreFacts(
                store=store,
                deleted=deleted,
                watched_before=self.pick(True, False),
                objects=objects,
                hsm_assignments=self.hsm_assignments(),
                hsm_definitions=self.read(definitions, absent=0.1),
            )
        roles: dict[str, Read[RoleDefinition]] = {}
        for name in ("role-1", "role-2"):
            self.entry(roles, name, self.read(self.role(name, VAULT_ACTIONS, VAULT_PATTERNS), absent=0.2))
        assignments: dict[str, Read[tuple[RoleAssignment, ...]]] = {}
        instances: dict[str, Read[tuple[ScheduleInstance, ...]]] = {}
        for who in (APP_OBJECT, FORMER) if self.is_odd() else (APP_OBJECT,):
            listed = self.read(self.assignments(at), absent=0.1)
            self.entry(assignments, who, listed)
            self.entry(instances, who, self.read(self.schedule_instances(listed), absent=0.1))
        return StoreFacts(
            store=store,
            deleted=deleted,
            watched_before=self.pick(True, False),
            objects=objects,
            assignments=assignments,
            schedule_instances=instances,
            definitions=roles,
            denies=self.read(self.denies(at), absent=0.1),
        )

    def denies(self, at: ResourceId) -> tuple[DenyAssignment, ...]:
        return tuple(self.deny(at) for _ in range(self.pick(1, 1, 2))) if self.is_odd(2) else ()

    def vault(self, at: ResourceId) -> KeyStore:
        tenant = OTHER_TENANT if self.is_odd(0.15) else TENANT
        rbac = self.random.random() < 0.6
        # Policies that a vault under RBAC has kept are worth fewer draws
        count = self.pick(0, 0, 0, 1, 2) if rbac else self.pick(0, 1, 1, 2, 3)
        return KeyVault(
            id=self.pick(at, rid(str(at).upper()), rid(f"{at}/")) if self.is_odd(0.5) else at,
            location="westeurope",
            tenant_id=tenant,
            rbac=rbac,
            access_policies=tuple(self.policy(tenant) for _ in range(count)),
            soft_delete=not self.is_odd(0.2),
            purge_protection=not self.is_odd(0.2),
            network=self.network(),
        )

    def hsm(self) -> KeyStore:
        return ManagedHsm(
            id=_HSM_ID,
            location="westeurope",
            tenant_id=self.pick(OTHER_TENANT, "") if self.is_odd(0.15) else TENANT,
            purge_protection=not self.is_odd(0.2),
            network=self.network(),
        )

    def network(self) -> NetworkRules:
        if not self.is_odd(0.5):
            return NetworkRules()
        return NetworkRules(
            public_network_access=self.pick("enabled", "disabled", "securedbyperimeter"),
            default_action=self.pick("allow", "deny"),
            bypass=self.pick("azureservices", "none"),
        )

    def objects(self, into: dict[KeyUri, Read[KeyObject]], uri: KeyUri, *, is_gone: bool) -> None:
        read: Read[KeyObject] = (
            ABSENT if is_gone and self.random.random() < 0.9 else self.read(self.object(uri, _CURRENT), absent=0.3)
        )
        self.entry(into, uri.versionless, read)
        for version in (_OLD, _OLDER):
            if self.pick(True, True, False):
                self.entry(
                    into,
                    KeyUri(uri.host, uri.kind, uri.name, version, uri.spelled),
                    self.read(self.object(uri, version), absent=1),
                )

    def object(self, uri: KeyUri, version: str) -> KeyObject:
        moments = (
            NOW - _DAY,
            NOW - _SECOND,
            NOW,
            NOW + _SECOND,
            NOW + 29 * _DAY,
            NOW + HORIZON,
            NOW + HORIZON + _SECOND,
            NOW + 90 * _DAY,
        )
        shown = KeyUri(uri.host, uri.kind, uri.name, None if self.is_odd(0.05) else version, uri.spelled)
        enabled = not self.is_odd(0.3)
        is_secret = uri.kind == "secrets"
        kind = self.pick("EC", "EC-HSM", "oct-HSM", "rsa", None, "RSA") if self.is_odd(0.3) else self.pick("RSA", "RSA-HSM")
        size = self.pick(1024, 4095, 8192, None, 3072) if self.is_odd(0.3) else self.pick(2048, 3072, 4096)
        return KeyObject(
            uri=shown,
            enabled=enabled,
            not_before=self.pick(*moments) if self.is_odd(0.3) else None,
            expires=self.pick(*moments) if self.is_odd(0.5) else None,
            key_type=None if is_secret else kind,
            key_size=None if is_secret else size,
            versions=self.pick(1, 500, 501) if self.is_odd(0.3) else None,
        )
