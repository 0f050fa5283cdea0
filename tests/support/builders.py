"""Small builders of facts and key bindings, in the design's words. Every default is healthy: a test says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.facts import (
    AccessPolicy,
    DenyAssignment,
    Facts,
    HsmRoleAssignment,
    KeyObject,
    KeyStore,
    KeyVault,
    ManagedHsm,
    PermissionBlock,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    StoreFacts,
    Unread,
)
from keydrift.key_uri import KeyUri
from keydrift.model import (
    AppIdentity,
    Consumer,
    IdentityReference,
    KeyBinding,
    PermissionModel,
    ResourceIdentity,
    Scenario,
    StoreObject,
    Verdict,
)
from keydrift.resource_id import ResourceId
from keydrift.watchlist import binding_id

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HORIZON = timedelta(days=30)
TENANT = "10000000-0000-0000-0000-000000000000"
OTHER_TENANT = "20000000-0000-0000-0000-000000000000"
SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUB}/resourceGroups/rg1"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv1"
HSM = f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/hsm1"
BACKUP_VAULT = f"{GROUP}/providers/Microsoft.DataProtection/backupVaults/bv1"
RECOVERY_VAULT = f"{GROUP}/providers/Microsoft.RecoveryServices/vaults/rsv1"
DISK_SET = f"{GROUP}/providers/Microsoft.Compute/diskEncryptionSets/des1"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
USER_IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
MANAGEMENT_GROUP = "/providers/Microsoft.Management/managementGroups/mg1"
VAULT_HOST = "kv1.vault.azure.net"
HSM_HOST = "hsm1.managedhsm.azure.net"
APP_ID = "262044b1-e2ce-469f-a196-69ab7ada62d3"
APP_OBJECT = "aaaaaaaa-0000-0000-0000-000000000001"
OWNER_OBJECT = "aaaaaaaa-0000-0000-0000-000000000002"
USER_OBJECT = "aaaaaaaa-0000-0000-0000-000000000003"
STRANGER = "aaaaaaaa-0000-0000-0000-000000000009"
TEAM = "bbbbbbbb-0000-0000-0000-000000000001"
OTHER_TEAM = "bbbbbbbb-0000-0000-0000-000000000002"
VERSION = "0123456789abcdef0123456789abcdef"
OLD_VERSION = "fedcba9876543210fedcba9876543210"

POLICY, RBAC, MHSM = PermissionModel.ACCESS_POLICY, PermissionModel.RBAC, PermissionModel.MANAGED_HSM


def rid(text: str) -> ResourceId:
    """An ARM id."""
    return ResourceId.parse(text)


def unread(source: str = "something", status: int | None = 403, repair: str = "Reader at the scope") -> Unread:
    """A read that failed."""
    return Unread(source=source, status=status, code="AuthorizationFailed", repair=repair)


# --- key bindings --------------------------------------------------------------------------------------------------------


def app_identity() -> AppIdentity:
    """The Backup Management Service."""
    return AppIdentity(app_id=APP_ID)


def owner_identity(owner: str = BACKUP_VAULT, **changes: Any) -> ResourceIdentity:
    """A resource that uses its system-assigned identity."""
    return replace(ResourceIdentity(resource_id=rid(owner), system_object_id=OWNER_OBJECT, tenant_id=TENANT), **changes)


def user_identity(owner: str = BACKUP_VAULT, **changes: Any) -> ResourceIdentity:
    """A resource that uses a user-assigned identity, attached."""
    chosen = rid(USER_IDENTITY)
    identity = ResourceIdentity(
        resource_id=rid(owner), user_assigned=chosen, attached={chosen.key: USER_OBJECT}, tenant_id=TENANT
    )
    return replace(identity, **changes)


_OWNERS = {
    Scenario.CVM_DES: DISK_SET,
    Scenario.BACKUP_VAULT_CMK: BACKUP_VAULT,
    Scenario.RSV_CMK: RECOVERY_VAULT,
}


def key_at(host: str = VAULT_HOST, name: str = "k1", store: str | None = None) -> StoreObject:
    """A key and where it stands."""
    default = HSM if "managedhsm" in host else VAULT
    return StoreObject(uri=KeyUri.parse(f"https://{host}/keys/{name}"), store_id=rid(store or default))


def secret_at(host: str = VAULT_HOST, name: str = "s1", version: str | None = VERSION, store: str = VAULT) -> StoreObject:
    """A secret, with the version that the disk names, and where it stands."""
    suffix = f"/{version}" if version else ""
    return StoreObject(uri=KeyUri.parse(f"https://{host}/secrets/{name}{suffix}"), store_id=rid(store))


def binding(scenario: Scenario, model: PermissionModel = RBAC, **changes: Any) -> KeyBinding:
    """A key binding of that scenario, in a vault or (for its model) in a Managed HSM."""
    identity: IdentityReference = owner_identity(_OWNERS[scenario]) if scenario in _OWNERS else app_identity()
    target = key_at(HSM_HOST if model is MHSM else VAULT_HOST)
    secrets: tuple[StoreObject, ...] = ()
    if scenario is Scenario.ADE_BEK:
        target = secret_at()
    if scenario is Scenario.ADE_KEK:
        secrets = (secret_at(),)
    consumer = Consumer(id=rid(_OWNERS.get(scenario, VM) if scenario is not Scenario.CVM_DES else VM), location="westeurope")
    made = KeyBinding(id="", scenario=scenario, identity=identity, target=target, secrets=secrets, consumers=(consumer,))
    made = replace(made, **changes)
    return replace(made, id=binding_id(made.scenario, made.identity, made.target.uri))


def principal_of(of: KeyBinding) -> str:
    """The object id that the default facts give the binding's identity."""
    match of.identity:
        case AppIdentity():
            return APP_OBJECT
        case ResourceIdentity(user_assigned=None):
            return OWNER_OBJECT
        case _:
            return USER_OBJECT


# --- key stores and grants -----------------------------------------------------------------------------------------------


def vault(name: str = VAULT, **changes: Any) -> KeyVault:
    """A protected vault that decides by access policies."""
    made = KeyVault(id=rid(name), location="westeurope", tenant_id=TENANT, rbac=False, soft_delete=True, purge_protection=True)
    return replace(made, **changes)


def hsm(**changes: Any) -> ManagedHsm:
    """A protected Managed HSM."""
    return replace(ManagedHsm(id=rid(HSM), location="westeurope", tenant_id=TENANT, purge_protection=True), **changes)


def policy(object_id: str, *names: str, application: str | None = None, tenant: str = TENANT) -> AccessPolicy:
    """An access policy that gives permissions such as `keys/get`."""
    words: dict[str, set[str]] = {"keys": set(), "secrets": set()}
    for name in names:
        kind, _, word = name.partition("/")
        words[kind].add(word.lower())
    return AccessPolicy(
        object_id=object_id,
        tenant_id=tenant,
        application_id=application,
        keys=frozenset(words["keys"]),
        secrets=frozenset(words["secrets"]),
    )


def block(*actions: str, without: Iterable[str] = (), condition: str | None = None) -> PermissionBlock:
    """A permission block of data actions."""
    return PermissionBlock(data_actions=actions, not_data_actions=tuple(without), condition=condition)


def role(*actions: str, name: str = "role-1", blocks: tuple[PermissionBlock, ...] | None = None) -> RoleDefinition:
    """A role definition of one block, or of these."""
    return RoleDefinition(id=name, name=f"Role {name}", permissions=blocks if blocks is not None else (block(*actions),))


def assignment(
    scope: str = VAULT, definition: str = "role-1", principal: str = APP_OBJECT, name: str = "1", condition: str | None = None
) -> RoleAssignment:
    """A role assignment that ARM listed for the principal."""
    base = "" if scope == "/" else scope.rstrip("/")
    return RoleAssignment(
        id=rid(f"{base}/providers/Microsoft.Authorization/roleAssignments/{name}"),
        scope=rid(scope),
        role_definition_id=definition,
        principal_id=principal,
        condition=condition,
    )


def deny(*actions: str, scope: str = VAULT, principals: Iterable[str] = (APP_OBJECT,), **changes: Any) -> DenyAssignment:
    """A deny assignment of data actions."""
    made = DenyAssignment(
        id=rid(f"{scope}/providers/Microsoft.Authorization/denyAssignments/d1"),
        name="the deny",
        scope=rid(scope),
        permissions=(block(*actions),),
        principals=frozenset(principals),
    )
    return replace(made, **changes)


def hsm_assignment(
    scope: str = "/", definition: str = "role-1", principal: str = APP_OBJECT, name: str = "h1"
) -> HsmRoleAssignment:
    """A Managed HSM local role assignment."""
    return HsmRoleAssignment(id=name, scope=scope, role_definition_id=definition, principal_id=principal)


# --- facts ---------------------------------------------------------------------------------------------------------------


def key_object(target: StoreObject, **changes: Any) -> KeyObject:
    """A healthy key or secret, of which `VERSION` is the current version."""
    uri = target.uri
    made = KeyObject(uri=KeyUri(uri.host, uri.kind, uri.name, VERSION, uri.spelled), key_type="RSA", key_size=2048)
    return replace(made, **changes)


def store_facts(of: KeyBinding, host: str, store: Read[KeyStore], **changes: Any) -> StoreFacts:
    """A store's facts in which the binding's keys and secrets are healthy and nothing is granted."""
    objects = {each.uri.versionless: key_object(each) for each in of.objects if each.uri.host == host}
    lists = {"/": (), **{f"/keys/{uri.name}": () for uri in objects}} if "managedhsm" in host else {}
    made = StoreFacts(
        store=store,
        watched_before=True,
        objects=objects,
        assignments={principal_of(of): ()},
        hsm_assignments=lists,
    )
    return replace(made, **changes)


def facts_of(of: KeyBinding, stores: Mapping[str, StoreFacts], **changes: Any) -> Facts:
    """Facts in which the principal is there and has no groups."""
    made = Facts(
        read_at=NOW,
        stores=stores,
        principals={
            APP_ID: Principal(object_id=APP_OBJECT, app_id=APP_ID, name="Backup Management Service"),
            rid(USER_IDENTITY).key: Principal(object_id=USER_OBJECT, name="id1", tenant_id=TENANT),
        },
        groups={principal_of(of): frozenset()},
        last_known={APP_ID: APP_OBJECT},
        tenant_id=TENANT,
    )
    return replace(made, **changes)


def granting(
    of: KeyBinding, model: PermissionModel, names: Iterable[str], store: KeyStore | None = None, **changes: Any
) -> Facts:
    """Facts in which the principal has exactly these permissions in every key store of the binding, by one grant."""
    wanted, who = tuple(names), principal_of(of)
    stores: dict[str, StoreFacts] = {}
    for host in sorted(of.hosts):
        at = next(str(each.store_id) for each in of.objects if each.uri.host == host)
        match model:
            case PermissionModel.ACCESS_POLICY:
                made = store or vault(at, access_policies=(policy(who, *wanted),))
                stores[host] = store_facts(of, host, made)
            case PermissionModel.RBAC:
                made = store or vault(at, rbac=True)
                stores[host] = store_facts(
                    of,
                    host,
                    made,
                    assignments={who: (assignment(at, principal=who),)},
                    definitions={"role-1": role(*wanted)},
                )
            case PermissionModel.MANAGED_HSM:
                base = store_facts(of, host, store or hsm(), hsm_definitions=(role(*wanted),))
                lists = {**base.hsm_assignments, "/": (hsm_assignment(principal=who),)}
                stores[host] = replace(base, hsm_assignments=lists)
    return facts_of(of, stores, **changes)


def with_store(facts: Facts, host: str = VAULT_HOST, **changes: Any) -> Facts:
    """The facts with one key store's changed."""
    return replace(facts, stores={**facts.stores, host: replace(facts.stores[host], **changes)})


def with_vault(facts: Facts, host: str = VAULT_HOST, **changes: Any) -> Facts:
    """The facts with the key store itself changed."""
    store = facts.stores[host].store
    assert isinstance(store, KeyVault | ManagedHsm)
    return with_store(facts, host, store=replace(store, **changes))


def with_object(facts: Facts, target: StoreObject, read: Read[KeyObject], version: str | None = None) -> Facts:
    """The facts with one key or secret (or a version of it) read as this."""
    uri = target.uri
    at = KeyUri(uri.host, uri.kind, uri.name, version, uri.spelled)
    return with_store(facts, uri.host, objects={**facts.stores[uri.host].objects, at: read})


def judged(of: KeyBinding, facts: Facts, now: datetime = NOW) -> Verdict:
    """The verdict."""
    return decide(of, facts, Horizon(now=now, key_expiry=HORIZON))
