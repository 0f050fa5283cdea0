"""What ARM answers for resources: lists by scope, filled-in members, versions, backup's lists, errors."""

from __future__ import annotations

import pytest

from keydrift_local.azure import arm
from keydrift_local.azure.messages import Answer, Call
from keydrift_local.documents import items, member, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import parse_tenant

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
SUB = f"/subscriptions/{SUBSCRIPTION}"
OTHER = "/subscriptions/00000000-0000-0000-0000-000000000002"
RG = f"{SUB}/resourceGroups/rg1"
KV1 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv1"
RSV = f"{RG}/providers/Microsoft.RecoveryServices/vaults/rsv1"
ITEM = f"{RSV}/backupFabrics/Azure/protectionContainers/iaasvmcontainer;c;rg1;vm1/protectedItems/vm;c;rg1;vm1"
HOST = "management.azure.com"


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return parse_tenant(
        {
            "tenantId": "t",
            "resources": [
                {"id": KV1, "location": "westeurope", "properties": {"enableSoftDelete": None}, "zone": "kept"},
                {"id": f"{KV1}/keys/k1", "properties": {"kty": "RSA-HSM", "keySize": 4096, "attributes": {"exp": 5}}},
                {"id": f"{KV1}/keys/k10", "properties": {"keyUriWithVersion": "https://kv1.vault.azure.net/keys/k10/CURRENT"}},
                {"id": f"{KV1}/keys/k10/versions/old"},
                {"id": f"{KV1}/secrets/s1", "properties": {"attributes": {"enabled": False}}},
                {"id": f"{RG}0/providers/Microsoft.KeyVault/vaults/kv2"},
                {"id": f"{OTHER}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv3"},
                {"id": RSV},
                {"id": ITEM, "properties": {"backupManagementType": "AzureIaasVM"}},
                {"id": f"{ITEM}2", "properties": {"backupManagementType": "AzureWorkload"}},
                {"id": f"{ITEM}/recoveryPoints/1"},
                {"id": f"{RSV}2"},
                {
                    "id": f"{RSV}2/backupEncryptionConfigs/backupResourceEncryptionConfig",
                    "properties": {"encryptionAtRestType": "CustomerManaged"},
                },
            ],
            "deletedVaults": [
                {
                    "id": f"{SUB}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/gone",
                    "properties": {"vaultId": f"{RG}/providers/Microsoft.KeyVault/vaults/gone", "location": "westeurope"},
                },
                {
                    "id": f"{OTHER}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/gone2",
                    "properties": {"vaultId": f"{OTHER}/resourceGroups/g/providers/Microsoft.KeyVault/vaults/gone2"},
                },
            ],
        },
        "test",
    )


def get(tenant: Tenant, path: str, **query: str) -> Answer:
    call = Call(method="GET", host=HOST, path=path, query={"api-version": "2026-02-01", **query})
    return arm.answer(call, tenant, 100)


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [text(each, "name") or "" for each in items(answer.body, "value")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/subscriptions", None, id="subscriptions"),
        pytest.param(f"{SUB}/providers/Microsoft.KeyVault/vaults", ["kv1", "kv2"], id="subscription"),
        pytest.param(f"{RG}/providers/microsoft.keyvault/VAULTS", ["kv1"], id="resource group, any case"),
        pytest.param(f"{RG}0/providers/Microsoft.KeyVault/vaults", ["kv2"], id="rg10 is not rg1"),
        pytest.param(f"{RG}/providers/Microsoft.Compute/disks", [], id="none of a type"),
        pytest.param(f"{KV1}/keys", ["k1", "k10"], id="keys without versions"),
        pytest.param(f"{KV1}/secrets", ["s1"], id="secrets"),
        pytest.param(f"{KV1}/keys/k10/versions", ["old", "current"], id="listed versions and the own one"),
        pytest.param(f"{RSV}/backupProtectedItems", ["vm;c;rg1;vm1", "vm;c;rg1;vm12"], id="protected items"),
        pytest.param(f"{ITEM}/recoveryPoints", ["1"], id="recovery points"),
        pytest.param(f"{SUB}/providers/Microsoft.KeyVault/deletedVaults", ["gone"], id="deleted vaults of this subscription"),
        pytest.param(f"{SUB}/providers/Microsoft.KeyVault/deletedManagedHSMs", [], id="deleted HSMs"),
    ],
)
def test_lists(tenant: Tenant, path: str, expected: list[str] | None) -> None:
    """A list holds what lives exactly there."""
    answer = get(tenant, path)
    if expected is None:
        assert [text(each, "subscriptionId") for each in items(answer.body, "value")] == [SUB.split("/")[2], OTHER.split("/")[2]]
    else:
        assert names(answer) == expected


def test_protected_items_by_management_type(tenant: Tenant) -> None:
    """The filter by backup management type is honoured."""
    expression = "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'"
    assert names(get(tenant, f"{RSV}/backupProtectedItems", **{"$filter": expression})) == ["vm;c;rg1;vm1"]


def test_a_vault_keeps_what_it_says(tenant: Tenant) -> None:
    """Defaults fill what is missing; null, unknown and given members stay."""
    assert get(tenant, KV1.upper().replace("/SUBSCRIPTIONS", "/subscriptions")).body == {
        "id": KV1,
        "name": "kv1",
        "type": "Microsoft.KeyVault/vaults",
        "location": "westeurope",
        "zone": "kept",
        "properties": {"vaultUri": "https://kv1.vault.azure.net/", "tenantId": "t", "enableSoftDelete": None},
    }


def test_a_key_is_completed(tenant: Tenant) -> None:
    """A key gets its address and `enabled`, type and size only where they are missing, and no version that was not told."""
    properties = member(get(tenant, f"{KV1}/keys/k1").body, "properties")
    assert properties == {
        "kty": "RSA-HSM",
        "keySize": 4096,
        "keyUri": "https://kv1.vault.azure.net/keys/k1",
        "attributes": {"enabled": True, "exp": 5},
    }
    bare = member(get(tenant, f"{KV1}/keys/k10").body, "properties")
    assert (text(bare, "kty"), member(bare, "keySize"), member(bare, "attributes")) == ("RSA", 2048, {"enabled": True})
    secret = member(get(tenant, f"{KV1}/secrets/s1").body, "properties")
    assert (text(secret, "secretUri"), member(secret, "attributes", "enabled")) == (
        "https://kv1.vault.azure.net/secrets/s1",
        False,
    )


def test_a_key_of_no_told_version_has_the_one_that_is_asked_for(tenant: Tenant) -> None:
    """Where the tenant file tells no version, whichever a consumer names is the key's own."""
    body = get(tenant, f"{KV1}/keys/k1/versions/0123").body
    assert (text(body, "name"), member(body, "properties", "attributes", "enabled")) == ("0123", True)


def test_versions_are_read_by_name(tenant: Tenant) -> None:
    """A listed version and the key's own are there, another is not."""
    old = get(tenant, f"{KV1}/keys/k10/versions/old").body
    assert member(old, "properties", "keyUriWithVersion") == "https://kv1.vault.azure.net/keys/k10/old"
    own = get(tenant, f"{KV1}/keys/k10/versions/Current").body
    assert member(own, "type") == "Microsoft.KeyVault/vaults/keys/versions"
    assert get(tenant, f"{KV1}/keys/k10/versions/none").status == 404


def test_a_recovery_vault_is_microsoft_managed_by_default(tenant: Tenant) -> None:
    """The legacy encryption configuration answers for every existing vault, and for no other."""
    path = "backupEncryptionConfigs/backupResourceEncryptionConfig"
    assert member(get(tenant, f"{RSV}/{path}").body, "properties", "encryptionAtRestType") == "MicrosoftManaged"
    assert member(get(tenant, f"{RSV}2/{path}").body, "properties", "encryptionAtRestType") == "CustomerManaged"
    assert get(tenant, f"{RSV}3/{path}").status == 404


def test_a_deleted_vault_is_read_at_its_location(tenant: Tenant) -> None:
    """A deleted vault is found at its own location and subscription only."""
    where = "providers/Microsoft.KeyVault/locations"
    assert member(get(tenant, f"{SUB}/{where}/WestEurope/deletedVaults/GONE").body, "name") == "gone"
    assert get(tenant, f"{SUB}/{where}/northeurope/deletedVaults/gone").status == 404
    assert get(tenant, f"{OTHER}/{where}/westeurope/deletedVaults/gone").status == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param(f"{KV1}0", 404, "ResourceNotFound", id="kv10"),
        pytest.param(f"{KV1}/keys/k2", 404, "ResourceNotFound", id="key"),
        pytest.param(f"{KV1}0/keys", 404, "ResourceNotFound", id="keys of no vault"),
        pytest.param(KV1.replace("rg1", "rg2"), 404, "ResourceGroupNotFound", id="no such group"),
        pytest.param(f"{RG}2/providers/Microsoft.KeyVault/vaults", 404, "ResourceGroupNotFound", id="list in no group"),
        pytest.param(
            "/subscriptions/none/providers/Microsoft.KeyVault/vaults", 404, "SubscriptionNotFound", id="no subscription"
        ),
    ],
)
def test_what_is_not_there(tenant: Tenant, path: str, status: int, code: str) -> None:
    """ARM's own status and code for what does not exist."""
    answer = get(tenant, path)
    assert (answer.status, member(answer.body, "error", "code")) == (status, code)


def test_a_call_without_api_version_is_refused(tenant: Tenant) -> None:
    """ARM answers nothing without an api-version."""
    answer = arm.answer(Call(method="GET", host=HOST, path=KV1), tenant, 100)
    assert (answer.status, member(answer.body, "error", "code")) == (400, "MissingApiVersionParameter")
