"""Each read adapter against the simulated tenant, with unmodified SDK clients: values, absence, and every way to fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.identity.aio import ManagedIdentityCredential

from keydrift import __version__
from keydrift.adapters.cloud import cloud_named
from keydrift.adapters.directory import DirectoryReader
from keydrift.adapters.http import ClockTransport, JsonReader
from keydrift.adapters.key_vault import API_VERSION, KeyVaultReader
from keydrift.adapters.managed_hsm import ManagedHsmReader
from keydrift.collect import Readers
from keydrift.facts import (
    AccessPolicy,
    DeletedKeyStore,
    KeyObject,
    KeyVault,
    ManagedHsm,
    NetworkRules,
    PermissionBlock,
    Principal,
    RoleDefinition,
    Unread,
)
from keydrift.key_uri import KeyUri
from keydrift.model import StoreObject
from keydrift.resource_id import ResourceId
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, readers, reading, serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_USER,
    HSM_CRYPTO_USER,
    IDENTITY_OBJECT_ID,
    OLDER_VERSION,
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    TENANT_ID,
    VERSION,
    Document,
    access_policy,
    arm_id,
    deny_assignment,
    guid,
    hsm_id,
    hsm_role_assignment,
    key,
    key_vault,
    managed_hsm,
    role_assignment,
    role_definition,
    secret,
    tenant,
    user_assigned_identity,
    vault_id,
)

VAULT = ResourceId.parse(vault_id())
HSM = ResourceId.parse(hsm_id())
IDENTITY = ResourceId.parse(arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", "id1"))
HSM_HOST = "hsm1.managedhsm.azure.net"
HSM_KEY = KeyUri.parse(f"https://{HSM_HOST}/keys/k1")
GROUP = guid(501)
ARM_AUTHORIZATION = "Microsoft.Authorization"

type Ask = Callable[[Readers], Awaitable[Any]]


def at(uri: str) -> StoreObject:
    return StoreObject(uri=KeyUri.parse(uri), store_id=VAULT)


K1, S1 = at("https://kv1.vault.azure.net/keys/K1"), at("https://kv1.vault.azure.net/secrets/s1")
K1_OLDER = at(f"https://kv1.vault.azure.net/keys/k1/{OLDER_VERSION}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One read: how it is asked, which request it makes, its 403 code, what would repair it."""

    ask: Ask
    url: str
    forbidden: str = "AuthorizationFailed"
    repair: str
    absent: str = "Absent"


ARM, GRAPH = "GET https://management.azure.com*", "GET https://graph.microsoft.com/v1.0/"
CASES = {
    "key vault": Case(
        ask=lambda r: r.key_stores.key_store(VAULT), url=f"{ARM}/vaults/kv1", repair="Microsoft.KeyVault/vaults/read"
    ),
    "managed hsm": Case(
        ask=lambda r: r.key_stores.key_store(HSM), url=f"{ARM}/managedHSMs/hsm1", repair="Microsoft.KeyVault/managedHSMs/read"
    ),
    "deleted vaults": Case(
        ask=lambda r: r.key_stores.deleted_key_store(VAULT),
        url=f"{ARM}/deletedVaults",
        repair="Microsoft.KeyVault/deletedVaults/read",
    ),
    "deleted hsms": Case(
        ask=lambda r: r.key_stores.deleted_key_store(HSM),
        url=f"{ARM}/deletedManagedHSMs",
        repair="Microsoft.KeyVault/deletedManagedHSMs/read",
    ),
    "key": Case(ask=lambda r: r.key_stores.key_object(K1), url=f"{ARM}/keys/K1", repair="Microsoft.KeyVault/vaults/keys/read"),
    "key version": Case(
        ask=lambda r: r.key_stores.key_object(K1_OLDER),
        url=f"{ARM}/versions/{OLDER_VERSION}",
        repair="Microsoft.KeyVault/vaults/keys/versions/read",
    ),
    "key versions": Case(
        ask=lambda r: r.key_stores.key_versions(K1),
        url=f"{ARM}/keys/K1/versions",
        repair="Microsoft.KeyVault/vaults/keys/versions/read",
    ),
    "secret": Case(
        ask=lambda r: r.key_stores.key_object(S1), url=f"{ARM}/secrets/s1", repair="Microsoft.KeyVault/vaults/secrets/read"
    ),
    "role assignments": Case(
        ask=lambda r: r.grants.role_assignments(VAULT, BACKUP_OBJECT_ID),
        url=f"{ARM}/roleAssignments",
        repair="Microsoft.Authorization/roleAssignments/read",
        absent="ScopeNotFound",
    ),
    "schedule instances": Case(
        ask=lambda r: r.grants.schedule_instances(VAULT, BACKUP_OBJECT_ID),
        url=f"{ARM}/roleAssignmentScheduleInstances",
        repair="Microsoft.Authorization/roleAssignmentScheduleInstances/read",
        absent="ScopeNotFound",
    ),
    "role definition": Case(
        ask=lambda r: r.grants.role_definition(VAULT, guid(1)),
        url=f"{ARM}/roleDefinitions/*",
        repair="Microsoft.Authorization/roleDefinitions/read",
    ),
    "deny assignments": Case(
        ask=lambda r: r.grants.deny_assignments(VAULT),
        url=f"{ARM}/denyAssignments",
        repair="Microsoft.Authorization/denyAssignments/read",
        absent="ScopeNotFound",
    ),
    "service principal": Case(
        ask=lambda r: r.directory.service_principal(BACKUP_APP_ID),
        url=f"{GRAPH}servicePrincipals*",
        forbidden="Authorization_RequestDenied",
        repair="Microsoft Graph Application.Read.All",
    ),
    "groups": Case(
        ask=lambda r: r.directory.groups(BACKUP_OBJECT_ID),
        url=f"{GRAPH}servicePrincipals/*/transitiveMemberOf",
        forbidden="Authorization_RequestDenied",
        repair="Microsoft Graph GroupMember.Read.All",
        absent="frozenset",
    ),
    "user-assigned identity": Case(
        ask=lambda r: r.directory.user_assigned_identity(IDENTITY),
        url=f"{ARM}/userAssignedIdentities/id1",
        repair="Microsoft.ManagedIdentity/userAssignedIdentities/read",
    ),
    "hsm key": Case(
        ask=lambda r: r.managed_hsms.key(HSM_KEY),
        url=f"GET https://{HSM_HOST}/keys/k1",
        forbidden="Forbidden",
        repair="Managed HSM Crypto Auditor",
    ),
    "hsm key versions": Case(
        ask=lambda r: r.managed_hsms.key_versions(HSM_KEY),
        url=f"GET https://{HSM_HOST}/keys/k1/versions",
        forbidden="Forbidden",
        repair="Managed HSM Crypto Auditor",
    ),
    "hsm role assignments": Case(
        ask=lambda r: r.managed_hsms.role_assignments(HSM_HOST, "/keys/k1"),
        url=f"GET https://{HSM_HOST}/keys/k1/providers/Microsoft.Authorization/roleAssignments",
        forbidden="Forbidden",
        repair="Managed HSM Crypto Auditor",
        absent="NotFound",
    ),
    "hsm role definitions": Case(
        ask=lambda r: r.managed_hsms.role_definitions(HSM_HOST),
        url=f"GET https://{HSM_HOST}/providers/Microsoft.Authorization/roleDefinitions",
        forbidden="Forbidden",
        repair="Managed HSM Crypto Auditor",
        absent="NotFound",
    ),
}


def each_read(but: Callable[[Case], bool] = lambda _case: False) -> pytest.MarkDecorator:
    wanted = {name: case for name, case in CASES.items() if not but(case)}
    return pytest.mark.parametrize("case", wanted.values(), ids=wanted.keys())


every_read = each_read()


def everything(**sections: Any) -> Document:
    """A tenant that holds one of each thing read."""
    plane = {"keys": [{"name": "k1"}], "roleAssignments": [hsm_role_assignment(1, "/", HSM_CRYPTO_USER, BACKUP_OBJECT_ID)]}
    return tenant(
        key_vault(rbac=True, policies=[access_policy(BACKUP_OBJECT_ID, keys=["Get", "ALL"], secrets=[])]),
        key(),
        {"id": f"{VAULT}/keys/k1/versions/{OLDER_VERSION}", "properties": {"attributes": {"enabled": False}}},
        secret(),
        managed_hsm(),
        user_assigned_identity(),
        managedHsms={hsm_id(): plane},
        **sections,
    )


async def ask(case: Case, clock: ManualClock | None = None) -> Any:
    async with readers(clock) as found:
        return await case.ask(found)


# --- failures, the same for every read ------------------------------------------------------------------------------------


@every_read
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_read_names_what_would_repair_it(azure: LocalAzure, case: Case, status: int) -> None:
    """401 and 403 are unread at once, with the service's code and the role or permission to give."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": status})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert (read.status, case.repair in read.repair) == (status, True)
    assert read.code == (case.forbidden if status == 403 else "ExpiredAuthenticationToken")
    assert [each.status for each in asked(azure)] == [status]


@every_read
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_service_that_keeps_failing_is_unread(azure: LocalAzure, case: Case, status: int) -> None:
    """429 and 5xx are tried five times with waits on the product's clock, then unread with their status and code."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": status})
    clock = ManualClock()
    start = clock.now()
    read = await ask(case, clock)
    assert isinstance(read, Unread)
    assert (read.status, "asked again" in read.repair, bool(read.code)) == (status, True, True)
    assert [each.status for each in asked(azure)] == [status] * 5
    assert 5 <= (clock.now() - start).total_seconds() <= 60


@every_read
async def test_a_dropped_connection_is_unread(azure: LocalAzure, case: Case) -> None:
    """A connection that breaks is tried again and then unread without a status."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": 0})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert (read.status, read.repair) == (None, "check the network path to the service")
    assert len(asked(azure)) >= 5


@every_read
@pytest.mark.parametrize("body", [[], "text", 7, {"value": 7, "properties": 7, "id": 7, "key": 7}, None])
async def test_an_unexpected_shape_is_unread(azure: LocalAzure, case: Case, body: object) -> None:
    """A 200 whose body is no JSON, or not of the shape we know, is unread and never an exception or an empty answer."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": 200, "body": body})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert (read.status, read.code.startswith("UnexpectedShape at $")) == (200, True)


# azure-mgmt-keyvault takes a page of deleted key stores without `value` for an empty one
@each_read(but=lambda case: "deleted" in case.url)
async def test_an_empty_object_is_no_answer(azure: LocalAzure, case: Case) -> None:
    """A 200 with an empty object neither is an empty list nor a thing with defaults."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": 200, "body": {}})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert read.code.startswith("UnexpectedShape at $")


@pytest.mark.parametrize(
    ("name", "body", "place"),
    [
        ("key vault", {"id": vault_id(), "properties": {"accessPolicies": []}}, "$.properties.tenantId"),
        ("key vault", {"id": vault_id()}, "$.properties"),
        ("key", {"id": f"{vault_id()}/keys/k1"}, "$.properties"),
        ("secret", {"id": f"{vault_id()}/secrets/s1"}, "$.properties"),
        ("hsm key", {"attributes": {"enabled": True}}, "$.key"),
        ("role definition", {"id": "/r", "name": "r", "properties": {"roleName": "r"}}, "$.properties.permissions"),
        ("role assignments", {"value": [{"id": "/a", "properties": {"scope": "/"}}]}, "$.value[0].properties.roleDefinitionId"),
        ("deny assignments", {"value": [{"id": "/d", "properties": {}}]}, "$.value[0].properties.principals"),
        ("service principal", {"appId": BACKUP_APP_ID}, "$.id"),
    ],
)
async def test_a_body_that_tells_half_is_unread(azure: LocalAzure, name: str, body: Document, place: str) -> None:
    """What a body does not tell is not taken for its default: the read fails and names the place."""
    serve(azure, everything())
    azure.fault({"match": CASES[name].url, "status": 200, "body": body})
    read = await ask(CASES[name])
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (200, f"UnexpectedShape at {place}")


@every_read
async def test_not_found(azure: LocalAzure, case: Case) -> None:
    """404 is absence for an object, and unread for the list of what stands at a scope that is gone."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": 404})
    read = await ask(case)
    shown = read.code if isinstance(read, Unread) else type(read).__name__
    assert shown == case.absent


@every_read
async def test_a_404_that_is_not_azures_is_unread(azure: LocalAzure, case: Case) -> None:
    """A 404 without a service's error code, such as a proxy's page, proves no absence."""
    serve(azure, everything())
    azure.fault({"match": case.url, "status": 404, "body": "<html>not here</html>"})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert (read.status, "network path" in read.repair) == (404, True)


@every_read
async def test_one_retry_waits_as_long_as_the_service_asks(azure: LocalAzure, case: Case) -> None:
    """A 429 with Retry-After and then an answer is an answer, after exactly that wait on the product's clock."""
    serve(azure, everything(roleDefinitions=[role_definition(1, "any", {"dataActions": []})]))
    azure.fault({"match": case.url, "status": 429, "times": 1, "headers": {"Retry-After": "7"}})
    clock = ManualClock()
    start = clock.now()
    read = await ask(case, clock)
    assert not isinstance(read, Unread)
    assert (clock.now() - start).total_seconds() == 7
    assert [each.status for each in asked(azure)][:2] == [429, 200]


async def test_a_long_retry_after_is_not_slept_out(azure: LocalAzure) -> None:
    """A service that asks for more than a minute is not waited for: the read is unread, and work is asked for again."""
    serve(azure, everything())
    azure.fault({"match": CASES["key vault"].url, "status": 429, "headers": {"Retry-After": "372"}})
    clock = ManualClock()
    start = clock.now()
    read = await ask(CASES["key vault"], clock)
    assert isinstance(read, Unread)
    assert (read.status, clock.now(), len(asked(azure))) == (429, start, 1)


@every_read
async def test_no_token_is_unread_without_a_request(azure: LocalAzure, case: Case) -> None:
    """Without a token nothing is asked, and the repair is about signing in."""
    serve(azure, everything())
    azure.fault({"match": "GET *msi/token", "status": 400, "body": {"statusCode": 400, "message": "no identity"}})
    read = await ask(case)
    assert isinstance(read, Unread)
    assert (read.status, "managed identity" in read.repair, asked(azure)) == (401, True, [])


@pytest.mark.parametrize("name", ["key vault", "managed hsm", "key", "secret", "role definition", "user-assigned identity"])
@pytest.mark.parametrize("code", ["SubscriptionNotFound", "InvalidResourceType"])
async def test_a_404_about_the_path_is_no_absence(azure: LocalAzure, name: str, code: str) -> None:
    """A subscription or type that ARM does not know there says nothing about the object."""
    serve(azure, everything())
    azure.fault({"match": CASES[name].url, "status": 404, "body": {"error": {"code": code, "message": "?"}}})
    read = await ask(CASES[name])
    assert isinstance(read, Unread)
    assert (read.status, read.code, "subscription" in read.repair) == (404, code, True)


async def test_an_unknown_subscription_is_unread(azure: LocalAzure) -> None:
    """A key store in a subscription that cannot be seen is not taken for deleted."""
    serve(azure, everything())
    async with readers() as found:
        read = await found.key_stores.key_store(ResourceId.parse(vault_id(subscription=OTHER_SUBSCRIPTION)))
    assert isinstance(read, Unread)
    assert (read.status, read.code, read.repair) == (404, "SubscriptionNotFound", "Reader on that subscription")


# --- lists ----------------------------------------------------------------------------------------------------------------


async def test_every_page_is_read(azure: LocalAzure) -> None:
    """Lists longer than a page are read whole, in ARM, Graph and the Managed HSM."""
    assignments = [role_assignment(number, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID) for number in range(1, 9)]
    document = everything(roleAssignments=assignments)
    document["directory"]["groups"] = [{"id": guid(n), "displayName": f"g{n}", "members": [BACKUP_OBJECT_ID]} for n in range(8)]
    document["deletedVaults"] = [deleted_vault(f"gone{number}") for number in range(8)]
    serve(azure, document)
    async with readers() as found:
        listed = await found.grants.role_assignments(VAULT, BACKUP_OBJECT_ID)
        groups = await found.directory.groups(BACKUP_OBJECT_ID)
        roles = await found.managed_hsms.role_definitions(HSM_HOST)
        deleted = await found.key_stores.deleted_key_store(ResourceId.parse(vault_id("GONE7")))
    assert isinstance(listed, tuple)
    assert isinstance(roles, tuple)
    assert (len(listed), groups, len(roles)) == (8, frozenset(guid(n) for n in range(8)), 9)
    assert isinstance(deleted, DeletedKeyStore)
    pages = [each.path.rsplit("/", 1)[-1] for each in asked(azure)]
    assert {name: pages.count(name) for name in set(pages)} == {
        "roleAssignments": 3,
        "transitiveMemberOf": 3,
        "roleDefinitions": 3,
        "deletedVaults": 3,
    }


def deleted_vault(name: str) -> Document:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/{name}",
        "name": name,
        "properties": {
            "vaultId": vault_id(name),
            "location": "westeurope",
            "deletionDate": "2025-12-01T00:00:00Z",
            "scheduledPurgeDate": "2026-03-01T00:00:00Z",
        },
    }


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("role assignments", role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID)),
        ("deny assignments", deny_assignment(1, vault_id(), ["*"], [{"id": BACKUP_OBJECT_ID, "type": "ServicePrincipal"}])),
        ("groups", {"id": GROUP}),
        ("hsm role assignments", hsm_role_assignment(1, "/", HSM_CRYPTO_USER, BACKUP_OBJECT_ID)),
        ("deleted vaults", deleted_vault("another")),
    ],
)
@pytest.mark.parametrize("second", [*({"status": each} for each in (403, 500, 0, 404)), {"status": 200, "body": []}])
async def test_a_failing_second_page_makes_the_whole_list_unread(
    azure: LocalAzure, name: str, item: Document, second: Document
) -> None:
    """A list of which one page is missing is no shorter list."""
    case = CASES[name]
    host = case.url.removeprefix("GET https://").partition("/")[0].rstrip("*")
    serve(azure, everything())
    azure.fault({"match": f"GET https://{host}/page2", **second})
    first = {"value": [item], ("@odata.nextLink" if name == "groups" else "nextLink"): f"https://{host}/page2?api-version=1"}
    azure.fault({"match": case.url, "status": 200, "body": first})
    read = await ask(case)
    if second["status"] == 404 and name in ("groups", "deleted vaults"):
        assert not isinstance(read, tuple | DeletedKeyStore)
    else:
        assert isinstance(read, Unread)
    assert asked(azure)[-1].path == "/page2"


# --- values ---------------------------------------------------------------------------------------------------------------


async def test_a_key_vault_is_read(azure: LocalAzure) -> None:
    """A vault's permission model, policies, protection and network arrive; words are lower case."""
    document = everything()
    document["resources"][0]["properties"]["networkAcls"] = {"defaultAction": "Deny", "bypass": "None"}
    document["resources"][0]["properties"]["publicNetworkAccess"] = "Disabled"
    serve(azure, document)
    policy = AccessPolicy(object_id=BACKUP_OBJECT_ID, tenant_id=TENANT_ID, keys=frozenset({"get", "all"}))
    assert await ask(CASES["key vault"]) == KeyVault(
        id=VAULT,
        location="westeurope",
        tenant_id=TENANT_ID,
        rbac=True,
        access_policies=(policy,),
        soft_delete=True,
        purge_protection=True,
        network=NetworkRules(public_network_access="disabled", default_action="deny", bypass="none"),
    )


async def test_a_managed_hsm_is_read(azure: LocalAzure) -> None:
    """A Managed HSM's control plane arrives, from its own operation."""
    serve(azure, everything())
    assert await ask(CASES["managed hsm"]) == ManagedHsm(
        id=HSM, location="westeurope", tenant_id=TENANT_ID, purge_protection=True
    )


async def test_a_deleted_key_store_is_found_among_the_deleted_ones(azure: LocalAzure) -> None:
    """The store that had that id is found, with its purge date; its neighbour by name is not."""
    serve(azure, everything(deletedVaults=[deleted_vault("kv10"), deleted_vault("KV1")]))
    assert await ask(CASES["deleted vaults"]) == DeletedKeyStore(
        id=VAULT, deleted_at=datetime(2025, 12, 1, tzinfo=UTC), purge_at=datetime(2026, 3, 1, tzinfo=UTC)
    )
    serve(azure, everything(deletedVaults=[deleted_vault("kv10")]))
    assert not isinstance(await ask(CASES["deleted vaults"]), DeletedKeyStore | Unread)


async def test_keys_and_secrets_are_read(azure: LocalAzure) -> None:
    """The current key, one version of it and the latest secret arrive with state, times, type and their own addresses."""
    document = everything()
    document["resources"][1]["properties"]["attributes"] = {"enabled": True, "nbf": 1_700_000_000, "exp": 1_800_000_000}
    serve(azure, document)
    current = await ask(CASES["key"])
    assert current == KeyObject(
        uri=KeyUri.parse(f"https://kv1.vault.azure.net/keys/k1/{VERSION}"),
        not_before=datetime.fromtimestamp(1_700_000_000, UTC),
        expires=datetime.fromtimestamp(1_800_000_000, UTC),
        key_type="RSA",
        key_size=3072,
    )
    older = await ask(CASES["key version"])
    assert (older.enabled, older.uri) == (False, K1_OLDER.uri)
    latest = await ask(CASES["secret"])
    assert (latest.enabled, latest.uri.version) == (True, VERSION)


async def test_a_key_of_a_store_in_no_subscription_is_not_asked_for(azure: LocalAzure) -> None:
    """Without its key store's id there is nothing to ask, and that is unread."""
    async with readers() as found:
        read = await found.key_stores.key_object(StoreObject(uri=K1.uri))
    assert isinstance(read, Unread)
    assert (read.code, azure.requests) == ("KeyStoreNotSeen", [])


async def test_assignments_come_through_groups_from_above_and_from_keys(azure: LocalAzure) -> None:
    """One list holds the principal's own and its groups' assignments, above the store, on it and on its keys; no one else's."""
    group = "/providers/Microsoft.Management/managementGroups/mg1"
    scopes = [group, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/RG1", vault_id(), f"{vault_id()}/keys/k1"]
    mine = [role_assignment(n, scope, CRYPTO_USER, BACKUP_OBJECT_ID) for n, scope in enumerate(scopes, 1)]
    others = [
        role_assignment(20, vault_id(), CRYPTO_USER, IDENTITY_OBJECT_ID),
        role_assignment(21, vault_id("kv10"), CRYPTO_USER, BACKUP_OBJECT_ID),
        role_assignment(22, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg10", CRYPTO_USER, BACKUP_OBJECT_ID),
    ]
    document = everything(roleAssignments=[*mine, role_assignment(9, vault_id(), CRYPTO_USER, GROUP), *others])
    document["managementGroups"] = [{"id": group, "parent": None, "subscriptions": [SUBSCRIPTION]}]
    document["directory"]["groups"] = [{"id": GROUP, "displayName": "backup", "members": [BACKUP_OBJECT_ID]}]
    document["resources"].append(key_vault("kv10", rbac=True))
    serve(azure, document)
    listed = await ask(CASES["role assignments"])
    assert {(each.scope.key, each.principal_id, each.role_definition_id) for each in listed} == {
        *((scope.lower(), BACKUP_OBJECT_ID, CRYPTO_USER) for scope in scopes),
        (vault_id().lower(), GROUP, CRYPTO_USER),
    }
    assert len(listed) == 5


async def test_conditions_survive(azure: LocalAzure) -> None:
    """The conditions of assignments and of role definitions arrive: a typed client drops the latter."""
    conditional = role_assignment(1, vault_id(), guid(1), BACKUP_OBJECT_ID)
    conditional["properties"] |= {"condition": "@Resource[x] StringEquals 'a'", "conditionVersion": "2.0"}
    action = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
    block = {"dataActions": [action], "notDataActions": [], "condition": "@Resource[y] StringEquals 'b'"}
    serve(azure, everything(roleAssignments=[conditional], roleDefinitions=[role_definition(1, "Some", block)]))
    (assignment,) = await ask(CASES["role assignments"])
    assert assignment.condition == "@Resource[x] StringEquals 'a'"
    assert await ask(CASES["role definition"]) == RoleDefinition(
        id=guid(1),
        name="Some",
        permissions=(PermissionBlock(data_actions=(action,), condition="@Resource[y] StringEquals 'b'"),),
    )


async def test_deny_assignments_are_read_at_the_key_too(azure: LocalAzure) -> None:
    """Denies above the store, on it and on a key arrive with their principals, exclusions and reach."""
    everyone = {"id": guid(0), "type": "SystemDefined"}
    on_key = deny_assignment(
        3, f"{vault_id()}/keys/k1", ["Microsoft.KeyVault/vaults/keys/read"], [{"id": GROUP, "type": "Group"}]
    )
    on_key["properties"] |= {"doNotApplyToChildScopes": True, "excludePrincipals": [{"id": BACKUP_OBJECT_ID, "type": "User"}]}
    denies = [
        deny_assignment(1, f"/subscriptions/{SUBSCRIPTION}", ["*"], [everyone]),
        deny_assignment(2, vault_id(), ["*"], [everyone]),
        on_key,
        deny_assignment(4, vault_id("kv10"), ["*"], [everyone]),
    ]
    serve(azure, everything(denyAssignments=denies))
    found = {each.id.name: each for each in await ask(CASES["deny assignments"])}
    assert set(found) == {guid(1), guid(2), guid(3)}
    assert (found[guid(2)].principals, found[guid(2)].group_principals) == ({guid(0)}, frozenset())
    key_level = found[guid(3)]
    assert (key_level.group_principals, key_level.principals, key_level.excluded) == ({GROUP}, frozenset(), {BACKUP_OBJECT_ID})
    assert (key_level.applies_to_children, key_level.scope.name) == (False, "k1")


async def test_the_directory_is_read(azure: LocalAzure) -> None:
    """Service principals, nested groups and user-assigned identities arrive; who is not there is absent."""
    document = everything()
    document["directory"]["servicePrincipals"][0]["accountEnabled"] = False
    document["directory"]["groups"] = [
        {"id": GROUP, "displayName": "inner", "members": [BACKUP_OBJECT_ID]},
        {"id": guid(502), "displayName": "outer", "members": [GROUP]},
    ]
    serve(azure, document)
    assert await ask(CASES["service principal"]) == Principal(
        object_id=BACKUP_OBJECT_ID, app_id=BACKUP_APP_ID, name="Backup Management Service", enabled=False
    )
    assert await ask(CASES["groups"]) == {GROUP, guid(502)}
    assert await ask(CASES["user-assigned identity"]) == Principal(
        object_id=IDENTITY_OBJECT_ID, app_id=guid(77), name="id1", tenant_id=TENANT_ID
    )
    async with readers() as found:
        assert not isinstance(await found.directory.service_principal(guid(404)), Principal | Unread)


async def test_a_managed_hsm_is_read_scope_by_scope(azure: LocalAzure) -> None:
    """Keys with the size that the modulus tells, and local assignments of `/` and of one key, each at its own scope."""
    document = everything()
    plane = document["managedHsms"][hsm_id()]
    plane["keys"] = [{"name": "k1", "key": {"kty": "RSA-HSM", "n": "A" * 342}, "attributes": {"enabled": False}}]
    plane["roleAssignments"].append(hsm_role_assignment(2, "/keys/K1", HSM_CRYPTO_USER, IDENTITY_OBJECT_ID))
    serve(azure, document)
    found_key = await ask(CASES["hsm key"])
    assert (found_key.enabled, found_key.key_type, found_key.key_size) == (False, "RSA-HSM", 2048)
    assert found_key.uri.versionless == HSM_KEY
    on_key = await ask(CASES["hsm role assignments"])
    assert [(each.scope, each.principal_id, each.role_definition_id) for each in on_key] == [
        ("/keys/k1", IDENTITY_OBJECT_ID, HSM_CRYPTO_USER)
    ]
    async with readers() as found:
        everywhere = await found.managed_hsms.role_assignments(HSM_HOST, "/")
    assert isinstance(everywhere, tuple)
    assert [(each.scope, each.principal_id) for each in everywhere] == [("/", BACKUP_OBJECT_ID)]


# --- where requests go, and what they carry -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "hsm1.example.com",
        "hsm1.managedhsm.azure.net.example.com",
        "hsm1.evilmanagedhsm.azure.net",
        "managedhsm.azure.net",
        "hsm1.managedhsm.azure.cn",
        "kv1.vault.azure.net",
    ],
)
async def test_a_foreign_host_is_never_contacted(azure: LocalAzure, host: str) -> None:
    """A host outside the cloud's Managed HSM suffix gets no request, and no token is even asked for."""
    async with readers() as found:
        reads = (
            await found.managed_hsms.key(KeyUri.parse(f"https://{host}/keys/k1")),
            await found.managed_hsms.role_assignments(host, "/"),
            await found.managed_hsms.role_definitions(host),
        )
    assert [each.code for each in reads if isinstance(each, Unread)] == ["ForeignHost"] * 3
    assert azure.requests == []


async def test_key_vault_is_asked_with_the_version_that_does_not_retire(azure: LocalAzure) -> None:
    """Every request to Microsoft.KeyVault, of the readers and of the inventory, is of version 2026-02-01."""
    serve(azure, everything())
    async with reading() as composed:
        for case in CASES.values():
            await case.ask(composed.collector._readers)
        await composed.consumers.read([SUBSCRIPTION])
    resources = [each for each in asked(azure) if "/microsoft.keyvault/" in each.path.lower() and each.host.startswith("manage")]
    versions = {each.path: each.query["api-version"] for each in resources if ARM_AUTHORIZATION not in each.path}
    assert len(versions) >= 9
    assert set(versions.values()) == {"2026-02-01"} == {API_VERSION}


class RecordingTransport(ClockTransport):
    """The product's transport, which also notes who each request says it is from."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.agents: list[str] = []

    async def send(self, request: Any, **options: Any) -> Any:
        self.agents.append(request.headers["User-Agent"])
        return await super().send(request, **options)


async def test_every_request_says_that_it_is_keydrifts(azure: LocalAzure) -> None:
    """The user agent names product and version, for the SDK's client and for plain reads."""
    serve(azure, everything())
    transport, cloud = RecordingTransport(), cloud_named("AzureCloud")
    async with ManagedIdentityCredential() as identity:
        plain = JsonReader("https://graph.microsoft.com", "https://graph.microsoft.com", identity, transport, "any")
        await KeyVaultReader(cloud, identity, transport).key_store(VAULT)
        await ManagedHsmReader(cloud, identity, transport).key(HSM_KEY)
        await DirectoryReader(plain, plain).service_principal(BACKUP_APP_ID)
    await transport.shut()
    assert len(transport.agents) == 3
    assert [agent for agent in transport.agents if f"keydrift/{__version__}" not in agent] == []
