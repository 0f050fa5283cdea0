"""Changes of the simulated tenant: what each does, and what Azure deletes with an object."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keydrift.errors import ConfigError
from keydrift.resource_id import ResourceId
from keydrift_local.documents import member
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import parse_tenant
from keydrift_local.tenant_objects import Section

SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
RG = f"{SUB}/resourceGroups/rg1"
KV1 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv1"
KV10 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv10"
HSM = f"{RG}/providers/Microsoft.KeyVault/managedHSMs/hsm1"
UAMI = f"{RG}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
TOPIC = f"{SUB}/resourceGroups/events/providers/Microsoft.EventGrid/systemTopics/kv1-topic"


def role(scope: str, name: str = "r1") -> dict[str, object]:
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "properties": {"principalId": "p1", "roleDefinitionId": "d1", "scope": scope},
    }


@pytest.fixture
def tenant() -> Tenant:
    document: dict[str, object] = {
        "tenantId": "t",
        "resources": [
            {"id": KV1, "location": "westeurope", "properties": {"softDeleteRetentionInDays": 7, "enablePurgeProtection": True}},
            {"id": f"{KV1}/keys/k1", "properties": {"attributes": {"enabled": True, "exp": 5}}},
            {"id": f"{KV1}/secrets/s1"},
            {"id": KV10, "location": "westeurope", "properties": {"enableSoftDelete": False}},
            {"id": f"{KV10}/keys/k1"},
            {"id": HSM, "location": "uksouth"},
            {"id": UAMI, "properties": {"principalId": "MI-1"}},
            {"id": TOPIC, "properties": {"source": KV1.upper()}},
            {"id": f"{TOPIC}/eventSubscriptions/s"},
        ],
        "roleAssignments": [role(SUB), role(KV1), role(f"{KV1}/keys/k1"), role(KV10)],
        "directory": {
            "servicePrincipals": [{"id": "mi-1"}, {"id": "sp-1"}],
            "groups": [{"id": "g1", "members": ["MI-1", "sp-1"]}, {"id": "g2", "members": ["G1"]}],
        },
        "managedHsms": {
            HSM: {
                "keys": [{"name": "k1"}],
                "roleAssignments": [{"name": "a1", "properties": {"principalId": "p", "roleDefinitionId": "r"}}],
            }
        },
    }
    tenant = parse_tenant(document, "test")
    tenant.clock = lambda: datetime(2026, 1, 1, tzinfo=UTC)
    return tenant


def ids(tenant: Tenant, section: Section) -> set[str]:
    return {str(entry.id) for entry in tenant.every(section)}


def test_a_vault_takes_its_own_with_it_and_nothing_of_its_namesake(tenant: Tenant) -> None:
    """Keys, secrets, role assignments and system topic go with `kv1`; `kv10` keeps everything."""
    applied = tenant.apply({"delete": KV1.upper()})
    assert applied.before is not None
    assert ids(tenant, Section.RESOURCES) == {KV10, f"{KV10}/keys/k1", HSM, UAMI}
    assert {str(entry.id).split("/providers/Microsoft.Authorization")[0] for entry in tenant.every(Section.ROLE_ASSIGNMENTS)} == {
        SUB,
        KV10,
    }
    deleted = tenant.every(Section.DELETED_VAULTS)[0].body
    assert member(deleted, "properties", "vaultId") == KV1
    assert member(deleted, "properties", "scheduledPurgeDate") == "2026-01-08T00:00:00Z"
    assert member(deleted, "properties", "purgeProtectionEnabled") is True


def test_a_vault_without_soft_delete_is_gone(tenant: Tenant) -> None:
    """`enableSoftDelete: false` leaves no deleted vault behind."""
    tenant.apply({"delete": KV10})
    assert ids(tenant, Section.DELETED_VAULTS) == set()


def test_a_recovered_vault_has_no_role_assignments(tenant: Tenant) -> None:
    """Putting a soft-deleted vault again takes it off the deleted ones and restores no grant."""
    tenant.apply({"delete": KV1})
    tenant.apply({"put": {"id": KV1, "location": "westeurope"}})
    assert ids(tenant, Section.DELETED_VAULTS) == set()
    assert ids(tenant, Section.ROLE_ASSIGNMENTS) == {str(role(each)["id"]) for each in (SUB, KV10)}


def test_a_resource_group_takes_everything_in_it(tenant: Tenant) -> None:
    """Deleting a resource group soft-deletes its key stores and leaves other groups alone."""
    tenant.apply({"delete": RG.lower()})
    assert ids(tenant, Section.RESOURCES) == set()
    assert {entry.id.name for entry in tenant.every(Section.DELETED_VAULTS)} == {"kv1"}
    assert {entry.id.name for entry in tenant.every(Section.DELETED_HSMS)} == {"hsm1"}
    assert ids(tenant, Section.HSM_KEYS) == ids(tenant, Section.HSM_ROLE_ASSIGNMENTS) == set()
    assert {str(entry.id) for entry in tenant.every(Section.ROLE_ASSIGNMENTS)} == {str(role(SUB)["id"])}
    with pytest.raises(ConfigError, match="nothing has the id"):
        tenant.apply({"delete": RG})


def test_a_key_leaves_the_assignments_on_it_behind(tenant: Tenant) -> None:
    """Deleting a key removes the key only."""
    tenant.apply({"delete": f"{KV1}/keys/K1"})
    assert f"{KV1}/keys/k1" not in ids(tenant, Section.RESOURCES)
    assert len(tenant.every(Section.ROLE_ASSIGNMENTS)) == 4


def test_an_identity_takes_its_service_principal_with_it(tenant: Tenant) -> None:
    """A deleted user-assigned identity leaves the directory and its groups."""
    tenant.apply({"delete": UAMI})
    assert {entry.id.name for entry in tenant.every(Section.SERVICE_PRINCIPALS)} == {"sp-1"}
    assert member(tenant.every(Section.GROUPS)[0].body, "members") == ["sp-1"]


def test_a_deleted_group_leaves_the_groups_it_was_in(tenant: Tenant) -> None:
    """Deleting a group removes it from memberships."""
    tenant.apply({"delete": "directory/groups/G1"})
    assert [entry.body for entry in tenant.every(Section.GROUPS)] == [{"id": "g2", "members": []}]


def test_merge_is_rfc_7396(tenant: Tenant) -> None:
    """A merge keeps what it does not name, null removes, the id keeps its spelling."""
    change = {"id": f"{KV1}/KEYS/K1", "properties": {"attributes": {"enabled": False, "exp": None}}}
    applied = tenant.apply({"merge": change})
    assert applied.after == {"id": f"{KV1}/keys/k1", "properties": {"attributes": {"enabled": False}}}
    assert applied.before == {"id": f"{KV1}/keys/k1", "properties": {"attributes": {"enabled": True, "exp": 5}}}


@pytest.mark.parametrize(
    ("identifier", "section"),
    [
        pytest.param("directory/servicePrincipals/new", Section.SERVICE_PRINCIPALS, id="service principal"),
        pytest.param("directory/groups/new", Section.GROUPS, id="group"),
        pytest.param(f"{HSM}/keys/new", Section.HSM_KEYS, id="HSM key"),
        pytest.param(f"{HSM}/roleDefinitions/new", Section.HSM_ROLE_DEFINITIONS, id="HSM role"),
        pytest.param(f"{HSM}/roleAssignments/new", Section.HSM_ROLE_ASSIGNMENTS, id="HSM assignment"),
        pytest.param(
            f"{HSM}/providers/Microsoft.Authorization/roleAssignments/new", Section.ROLE_ASSIGNMENTS, id="role on the HSM"
        ),
        pytest.param("/providers/Microsoft.Authorization/roleDefinitions/new", Section.ROLE_DEFINITIONS, id="custom role"),
        pytest.param("/providers/Microsoft.Management/managementGroups/new", Section.MANAGEMENT_GROUPS, id="management group"),
        pytest.param(f"{KV1}/providers/Microsoft.Authorization/denyAssignments/new", Section.DENY_ASSIGNMENTS, id="deny"),
        pytest.param(f"{KV1}/keys/k1/versions/v2", Section.RESOURCES, id="key version"),
    ],
)
def test_every_kind_of_object_can_be_put_and_deleted(tenant: Tenant, identifier: str, section: Section) -> None:
    """A change addresses any object of the tenant by its id."""
    tenant.apply({"put": {"id": identifier, "properties": {"principalId": "p", "roleDefinitionId": "r"}}})
    found = tenant.find(section, ResourceId.parse("/" + identifier.lstrip("/")))
    assert found is not None
    tenant.apply({"delete": identifier.upper() if identifier.startswith("/") else identifier})
    assert tenant.find(section, found.id) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({}, "exactly one of", id="nothing"),
        pytest.param({"delete": KV1, "put": {"id": KV1}}, "exactly one of", id="two"),
        pytest.param({"delete": KV1 + "0x"}, "nothing has the id `.*kv10x`", id="absent"),
        pytest.param({"delete": "directory/groups/none"}, "nothing has the id `directory/groups/none`", id="absent group"),
        pytest.param({"merge": {"id": f"{KV1}/keys/k10"}}, "nothing has the id `.*k10`", id="merge onto nothing"),
        pytest.param({"put": {"name": "x"}}, "change.put.id: expected", id="put without id"),
        pytest.param({"delete": "directory/users/u"}, "no directory object", id="users are not kept"),
        pytest.param({"delete": f"{KV1}/keys"}, "no id of a resource", id="half an id"),
        pytest.param({"put": {"id": KV1, "properties": []}}, "change.put.properties: expected an object", id="malformed"),
    ],
)
def test_a_wrong_change_is_refused(tenant: Tenant, change: dict[str, object], message: str) -> None:
    """A change that names nothing, or is malformed, says so and changes nothing."""
    before = {section: [entry.body for entry in tenant.every(section)] for section in Section}
    with pytest.raises(ConfigError, match=message):
        tenant.apply(change)
    assert before == {section: [entry.body for entry in tenant.every(section)] for section in Section}
