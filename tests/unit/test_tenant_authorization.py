"""Role assignments, role definitions and deny assignments: which of them a list holds."""

from __future__ import annotations

import pytest

from keydrift_local.azure import arm
from keydrift_local.azure.messages import Answer, Call
from keydrift_local.documents import JsonObject, items, member, text
from keydrift_local.roles import azure_roles, managed_hsm_roles
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import parse_tenant

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
SUB = f"/subscriptions/{SUBSCRIPTION}"
RG = f"{SUB}/resourceGroups/rg1"
KV1 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv1"
KEY = f"{KV1}/keys/k1"
MG = "/providers/Microsoft.Management/managementGroups"
CUSTOM = "aaaaaaaa-0000-0000-0000-000000000001"
CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"


def role(name: str, scope: str, principal: str) -> JsonObject:
    return {
        "id": f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "properties": {"principalId": principal, "roleDefinitionId": "d1", "scope": scope},
    }


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return parse_tenant(
        {
            "tenantId": "t",
            "resources": [{"id": KV1}, {"id": KEY}, {"id": f"{KV1}0"}],
            "managementGroups": [
                {"id": f"{MG}/top", "parent": None, "subscriptions": []},
                {"id": f"{MG}/mid", "parent": f"{MG}/TOP", "subscriptions": [SUBSCRIPTION]},
                {"id": f"{MG}/other", "parent": "top", "subscriptions": ["another"]},
            ],
            "roleAssignments": [
                role("root", "/", "sp"),
                role("top", f"{MG}/top", "g-outer"),
                role("mid", f"{MG}/mid", "sp"),
                role("other", f"{MG}/other", "sp"),
                role("sub", SUB, "someone"),
                role("rg", RG, "g-inner"),
                role("rg10", f"{RG}0", "sp"),
                role("vault", KV1.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), "SP"),
                role("vault10", f"{KV1}0", "sp"),
                role("key", KEY, "sp"),
                role("key10", f"{KEY}0", "sp"),
            ],
            "roleDefinitions": [
                {
                    "id": f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}",
                    "properties": {"roleName": "Ours", "assignableScopes": [RG], "permissions": [{"dataActions": ["x"]}]},
                }
            ],
            "denyAssignments": [
                {
                    "id": f"{scope}/providers/Microsoft.Authorization/denyAssignments/{name}",
                    "properties": {"scope": scope, "principals": [{"id": principal, "type": "ServicePrincipal"}]},
                }
                for name, scope, principal in [("d-sub", SUB, "sp"), ("d-key", KEY, "someone")]
            ],
            "directory": {"groups": [{"id": "g-inner", "members": ["SP"]}, {"id": "g-outer", "members": ["g-inner", "g-outer"]}]},
        },
        "test",
    )


def get(tenant: Tenant, path: str, query: dict[str, str] | None = None, *, page_size: int = 100) -> Answer:
    call = Call(method="GET", host="management.azure.com", path=path, query={"api-version": "2022-04-01", **(query or {})})
    return arm.answer(call, tenant, page_size)


def names(answer: Answer) -> set[str]:
    assert answer.status == 200
    return {text(each, "name") or "" for each in items(answer.body, "value")}


ABOVE = {"root", "top", "mid", "sub", "rg"}


@pytest.mark.parametrize(
    ("scope", "expression", "expected"),
    [
        pytest.param(KEY, "atScope()", {*ABOVE, "vault", "key"}, id="key: it and all above"),
        pytest.param(KEY.upper(), "atScope()", {*ABOVE, "vault", "key"}, id="letter case"),
        pytest.param(KV1, "atScope()", {*ABOVE, "vault"}, id="vault: not its keys"),
        pytest.param(KV1, "", {*ABOVE, "vault", "key", "key10"}, id="vault without a filter: its keys too"),
        pytest.param(f"{KV1}0", "", {*ABOVE, "vault10"}, id="kv10 is not kv1"),
        pytest.param(RG, "atScope()", ABOVE, id="resource group"),
        pytest.param(f"{RG}0", "atScope()", ABOVE - {"rg"} | {"rg10"}, id="rg10 is not rg1"),
        pytest.param(SUB, "", {*ABOVE, "rg10", "vault", "vault10", "key", "key10"}, id="subscription: all"),
        pytest.param(f"{MG}/mid", "atScope()", {"root", "top", "mid"}, id="management group"),
        pytest.param(f"{MG}/other", "", {"root", "top", "other"}, id="management group without subscriptions of ours"),
        pytest.param(
            f"{MG}/top", "", {*ABOVE, "other", "rg10", "vault", "vault10", "key", "key10"}, id="everything below the top"
        ),
        pytest.param("", "atScope()", {"root"}, id="root"),
        pytest.param(KEY, "principalId eq 'SP'", {"root", "mid", "vault", "key"}, id="direct only"),
        pytest.param(KV1, "principalId eq 'sp'", {"root", "mid", "vault", "key", "key10"}, id="direct, above and below"),
        pytest.param(KEY, "assignedTo('sp')", {"root", "top", "mid", "rg", "vault", "key"}, id="through groups, transitively"),
        pytest.param(KV1, "atScope() and assignedTo('SP')", {"root", "top", "mid", "rg", "vault"}, id="at scope and assigned"),
        pytest.param(KV1, "assignedTo('g-inner')", {"top", "rg"}, id="a group's own"),
        pytest.param(KV1, "assignedTo('nobody')", set(), id="nobody"),
    ],
)
def test_role_assignments_at_a_scope(tenant: Tenant, scope: str, expression: str, expected: set[str]) -> None:
    """A list holds what Azure's filters leave: at or above, below, direct or through groups."""
    query = {"$filter": expression} if expression else {}
    assert names(get(tenant, f"{scope}/providers/Microsoft.Authorization/roleAssignments", query)) == expected


def test_an_unknown_filter_is_refused(tenant: Tenant) -> None:
    """A filter that is not understood is an error, never ignored."""
    path = f"{KV1}/providers/Microsoft.Authorization/roleAssignments"
    assert get(tenant, path, {"$filter": "atScope() or principalId eq 'sp'"}).status == 400


def test_lists_are_paged(tenant: Tenant) -> None:
    """Following the links of a small page size gives the whole list, filter kept."""
    path = f"{SUB}/providers/Microsoft.Authorization/roleAssignments"
    found: list[str] = []
    query = {"$filter": "principalId eq 'sp'"}
    while True:
        answer = get(tenant, path, query, page_size=2)
        found += [text(each, "name") or "" for each in items(answer.body, "value")]
        link = text(answer.body, "nextLink")
        if link is None:
            break
        assert link.startswith(f"https://management.azure.com{path}?api-version=2022-04-01&$filter=principalId%20eq%20%27sp%27&")
        query["$skiptoken"] = link.rsplit("=", 1)[1]
    assert found == ["root", "mid", "rg10", "vault", "vault10", "key", "key10"]


def test_one_assignment_is_read_by_its_id(tenant: Tenant) -> None:
    """An assignment is found by its whole id, any letter case, with what ARM always adds."""
    answer = get(tenant, str(role("key", KEY, "")["id"]).upper())
    assert member(answer.body, "name") == "key"
    assert member(answer.body, "type") == "Microsoft.Authorization/roleAssignments"
    assert member(answer.body, "properties", "principalType") == "ServicePrincipal"
    missing = get(tenant, f"{KV1}/providers/Microsoft.Authorization/roleAssignments/key")
    assert (missing.status, member(missing.body, "error", "code")) == (404, "RoleAssignmentNotFound")


@pytest.mark.parametrize("scope", ["", SUB, KEY, f"{MG}/mid"])
def test_a_role_definition_is_read_at_any_scope(tenant: Tenant, scope: str) -> None:
    """Built-in and custom roles are found by their guid wherever one asks."""
    path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions"
    built_in, custom = get(tenant, f"{path}/{CRYPTO_USER.upper()}"), get(tenant, f"{path}/{CUSTOM}")
    assert member(built_in.body, "properties", "roleName") == "Key Vault Crypto User"
    assert member(built_in.body, "properties", "type") == "BuiltInRole"
    assert member(custom.body, "properties", "type") == "CustomRole"
    assert get(tenant, f"{path}/{CUSTOM[:-1]}2").status == 404


def test_role_definitions_at_a_scope(tenant: Tenant) -> None:
    """A list holds the built-in roles and the custom ones that are assignable there."""
    path = "providers/Microsoft.Authorization/roleDefinitions"
    assert CUSTOM in names(get(tenant, f"{KV1}/{path}"))
    assert CUSTOM not in names(get(tenant, f"{RG}0/{path}"))
    assert CUSTOM not in names(get(tenant, f"{SUB}/{path}"))
    assert CUSTOM in names(get(tenant, f"{SUB}/{path}", {"$filter": "atScopeAndBelow()"}))
    assert names(get(tenant, f"{KV1}/{path}", {"$filter": "type eq 'CustomRole'"})) == {CUSTOM}
    assert names(get(tenant, f"{SUB}/{path}")) == set(azure_roles())


@pytest.mark.parametrize(
    ("scope", "expression", "expected"),
    [
        pytest.param(KEY, "atScope()", {"d-sub", "d-key"}, id="at or above the key"),
        pytest.param(KV1, "atScope()", {"d-sub"}, id="at or above the vault"),
        pytest.param(KV1, "", {"d-sub", "d-key"}, id="below too"),
        pytest.param(KEY, "principalId eq 'sp'", {"d-sub"}, id="by principal"),
    ],
)
def test_deny_assignments_at_a_scope(tenant: Tenant, scope: str, expression: str, expected: set[str]) -> None:
    """Deny assignments are listed by the same rule of scopes."""
    query = {"$filter": expression} if expression else {}
    assert names(get(tenant, f"{scope}/providers/Microsoft.Authorization/denyAssignments", query)) == expected


def test_schedule_instances_follow_groups() -> None:
    """An active assignment with an end is listed for the principal through its groups."""
    instance = role("i1", RG, "g")
    instance["id"] = str(instance["id"]).replace("roleAssignments", "roleAssignmentScheduleInstances")
    document: JsonObject = {
        "tenantId": "t",
        "roleAssignmentScheduleInstances": [instance],
        "directory": {"groups": [{"id": "g", "members": ["sp"]}]},
    }
    path = f"{KV1}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances"
    simulated = parse_tenant(document, "test")
    assert names(get(simulated, path, {"$filter": "atScope() and assignedTo('sp')"})) == {"i1"}
    assert names(get(simulated, path, {"$filter": "atScope() and assignedTo('other')"})) == set()


def test_management_groups_tell_what_is_in_them(tenant: Tenant) -> None:
    """A management group's descendants are its groups and subscriptions, transitively."""
    assert names(get(tenant, f"{MG}/top/descendants")) == {"mid", "other", "another", SUBSCRIPTION}
    assert names(get(tenant, f"{MG}/mid/descendants")) == {SUBSCRIPTION}
    assert member(get(tenant, f"{MG}/mid").body, "properties", "details", "parent", "name") == "TOP"


@pytest.mark.parametrize(
    ("guid", "data_actions"),
    [
        pytest.param("00482a5a-887f-4fb3-b363-3b7fe8e74483", {"Microsoft.KeyVault/vaults/*"}, id="Administrator"),
        pytest.param(
            "e147488a-f6f5-4113-8e2d-b22465e65bf6",
            {f"Microsoft.KeyVault/vaults/keys/{each}" for each in ("read", "wrap/action", "unwrap/action")},
            id="Crypto Service Encryption User",
        ),
        pytest.param("f25e0fa2-a7c8-4377-a976-54943a77a395", set(), id="Key Vault Contributor"),
        pytest.param("acdd72a7-3385-48ef-bd42-f606fba81ae7", set(), id="Reader"),
        pytest.param("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", set(), id="Owner"),
    ],
)
def test_built_in_roles_grant_what_azures_do(guid: str, data_actions: set[str]) -> None:
    """The data actions of the roles that decide most verdicts are Azure's."""
    assert set(items(items(azure_roles()[guid], "permissions")[0], "dataActions")) == data_actions


def test_the_hsms_backup_role_cannot_read() -> None:
    """Managed HSM Backup backs keys up without reading them, and Crypto User differs from Release User by one digit."""
    backup = items(items(managed_hsm_roles()["7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8"], "permissions")[0], "dataActions")
    assert "Microsoft.KeyVault/managedHsm/keys/backup/action" in backup
    assert "Microsoft.KeyVault/managedHsm/keys/read/action" not in backup
    roles = {guid: text(role, "roleName") for guid, role in managed_hsm_roles().items()}
    assert roles["21dbd100-6940-42c2-9190-5d6cb909625b"] == "Managed HSM Crypto User"
    assert roles["21dbd100-6940-42c2-9190-5d6cb909625c"] == "Managed HSM Crypto Service Release User"
