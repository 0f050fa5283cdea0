"""Changes of a healthy tenant's document, in place: each takes something away, or only looks as if it did (`near_*`).

What a change stands for, and where it applies, is `matrix`.
"""

from __future__ import annotations

import re
from typing import Any

from keydrift.model import PermissionModel, Scenario
from keydrift.requirement import REQUIREMENTS
from support.tenants import (
    ALL_KEYS,
    BACKUP_OBJECT_ID,
    CRYPTO_SERVICE_ENCRYPTION_USER,
    CRYPTO_USER,
    HSM_CRYPTO_SERVICE_ENCRYPTION_USER,
    IDENTITY_OBJECT_ID,
    SECRETS_OFFICER,
    SUBSCRIPTION,
    TENANT_ID,
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
    user_assigned_identity,
    user_identity,
    vault_id,
)

POLICY, RBAC, HSM = PermissionModel.ACCESS_POLICY, PermissionModel.RBAC, PermissionModel.MANAGED_HSM
ADE = frozenset({Scenario.ADE_BEK, Scenario.ADE_KEK})
BY_BACKUP = ADE | {Scenario.CVM_CMK}
NOW = 1767225600  # 2026-01-01T00:00:00Z, the tenants' time
DAY = 86400
EVERYONE = "00000000-0000-0000-0000-000000000000"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
KEY_VAULT_READER = "21090545-7ca7-4776-b22c-e363652d74d2"
HSM_BACKUP = "7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8"
GROUP = "64000000-0000-0000-0000-000000000001"
IDENTITY = arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", "id1")


# --- what a document holds -----------------------------------------------------------------------------------------------


def principal_of(scenario: Scenario) -> str:
    """The object id of the principal that the scenario's binding is about."""
    return BACKUP_OBJECT_ID if scenario in BY_BACKUP else IDENTITY_OBJECT_ID


def resource(tenant: Document, kind: str) -> Document:
    """The only resource of a kind."""
    # The last `providers` segment, kind and one name: not a child such as a vault's key
    pattern = re.compile(rf".*/providers/{kind}/[^/]+", re.IGNORECASE)
    (found,) = [each for each in tenant["resources"] if pattern.fullmatch(each["id"])]
    return dict_of(found)


def dict_of(value: Any) -> Document:
    assert isinstance(value, dict)
    return value


def store(tenant: Document, model: PermissionModel) -> Document:
    """The properties of the key store."""
    return dict_of(resource(tenant, f"Microsoft.KeyVault/{'managedHSMs' if model is HSM else 'vaults'}")["properties"])


def _named(tenant: Document, identifier: str) -> Document:
    (found,) = [each for each in tenant["resources"] if each["id"] == identifier]
    return dict_of(found)


def key_of(tenant: Document, model: PermissionModel) -> Document:
    """Where the key's `attributes` stand."""
    if model is HSM:
        return dict_of(tenant["managedHsms"][hsm_id()]["keys"][0])
    return dict_of(_named(tenant, f"{vault_id()}/keys/k1")["properties"])


def secret_of(tenant: Document) -> Document:
    return dict_of(_named(tenant, f"{vault_id()}/secrets/s1")["properties"])


def consumer(tenant: Document, scenario: Scenario) -> Document:
    """The resource whose managed identity uses the key."""
    kinds = {
        Scenario.BACKUP_VAULT_CMK: "Microsoft.DataProtection/backupVaults",
        Scenario.RSV_CMK: "Microsoft.RecoveryServices/vaults",
        Scenario.CVM_DES: "Microsoft.Compute/diskEncryptionSets",
    }
    return resource(tenant, kinds[scenario])


def policies(tenant: Document, scenario: Scenario) -> list[Document]:
    """The access policies of the scenario's principal."""
    return [each for each in store(tenant, POLICY)["accessPolicies"] if each["objectId"] == principal_of(scenario)]


def assignments(tenant: Document, scenario: Scenario, model: PermissionModel = RBAC) -> list[Document]:
    """The role assignments (Azure's or local ones) of the scenario's principal."""
    listed = tenant["managedHsms"][hsm_id()]["roleAssignments"] if model is HSM else tenant["roleAssignments"]
    return [each for each in listed if each["properties"]["principalId"] == principal_of(scenario)]


def required(scenario: Scenario, model: PermissionModel) -> list[str]:
    return [each.name for each in REQUIREMENTS[scenario, model].permissions if not each.advisory]


# --- access policies -----------------------------------------------------------------------------------------------------


def drop_policy(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    entries = store(tenant, model)["accessPolicies"]
    entries[:] = [each for each in entries if each["objectId"] != principal_of(scenario)]


def near_policy_of_group(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    for entry in policies(tenant, scenario):
        entry["objectId"] = GROUP
    tenant["directory"]["groups"] = [{"id": GROUP, "displayName": "key users", "members": [principal_of(scenario)]}]


_WORD = {Scenario.ADE_BEK: ("secrets", "backup"), Scenario.ADE_KEK: ("keys", "backup"), Scenario.CVM_CMK: ("keys", "backup")}


def drop_required_word(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    kind, word = _WORD.get(scenario, ("keys", "unwrapKey"))
    for entry in policies(tenant, scenario):
        entry["permissions"][kind].remove(word)


def near_drop_unneeded_words(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    for entry in policies(tenant, scenario):
        if scenario in ADE:
            entry["permissions"]["keys"] = ["GET", "List", "backup"] if scenario is Scenario.ADE_KEK else []
        else:
            entry["permissions"]["secrets"] = []


def make_compound(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    for entry in policies(tenant, scenario):
        entry["applicationId"] = guid(66)


def near_compound_beside(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    store(tenant, model)["accessPolicies"].append({**access_policy(principal_of(scenario)), "applicationId": guid(66)})


def drop_advisory_word(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    kind, word = ("secrets", "backup") if scenario is Scenario.ADE_KEK else ("keys", "list")
    for entry in policies(tenant, scenario):
        entry["permissions"][kind].remove(word)


def switch_model(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    store(tenant, model)["enableRbacAuthorization"] = model is POLICY


def near_switch_with_grants_of_both(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    store(tenant, model)["enableRbacAuthorization"] = model is POLICY
    store(tenant, model)["accessPolicies"] = [access_policy(BACKUP_OBJECT_ID), access_policy(IDENTITY_OBJECT_ID)]
    tenant["roleAssignments"] = [
        role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID),
        role_assignment(2, vault_id(), SECRETS_OFFICER, BACKUP_OBJECT_ID),
        role_assignment(3, vault_id(), CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID),
    ]


# --- roles ---------------------------------------------------------------------------------------------------------------


def drop_assignments(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    gone = assignments(tenant, scenario, model)
    listed = tenant["managedHsms"][hsm_id()]["roleAssignments"] if model is HSM else tenant["roleAssignments"]
    listed[:] = [each for each in listed if each not in gone]


def near_assign_above(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    above = "/" if model is HSM else f"/subscriptions/{SUBSCRIPTION}/resourceGroups/RG1"
    for each in assignments(tenant, scenario, model):
        each["properties"]["scope"] = above
        if model is RBAC:
            each["id"] = f"{above}/providers/Microsoft.Authorization/roleAssignments/{each['id'].rsplit('/', 1)[-1]}"


def lesser_role(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    """The role that the documents or people mistake for enough (azure-facts 1.1)."""
    who = principal_of(scenario)
    if model is HSM:
        role = HSM_CRYPTO_SERVICE_ENCRYPTION_USER if scenario is Scenario.CVM_CMK else HSM_BACKUP
        drop_assignments(tenant, scenario, model)
        tenant["managedHsms"][hsm_id()]["roleAssignments"].append(hsm_role_assignment(9, "/", role, who))
        return
    kept = {Scenario.ADE_BEK: [CRYPTO_USER, SECRETS_USER], Scenario.ADE_KEK: [CRYPTO_USER, SECRETS_USER]}
    kept[Scenario.CVM_CMK] = [CRYPTO_SERVICE_ENCRYPTION_USER, SECRETS_OFFICER]
    drop_assignments(tenant, scenario, model)
    for number, role in enumerate(kept.get(scenario, [KEY_VAULT_READER]), 11):
        tenant["roleAssignments"].append(role_assignment(number, vault_id(), role, who))


def near_exact_custom_role(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    who, block = principal_of(scenario), {"dataActions": required(scenario, model), "notDataActions": []}
    drop_assignments(tenant, scenario, model)
    if model is HSM:
        plane = tenant["managedHsms"][hsm_id()]
        plane["roleDefinitions"] = [{"name": guid(50), "properties": {"roleName": "exact", "permissions": [block]}}]
        plane["roleAssignments"].append(hsm_role_assignment(9, "/keys/k1", guid(50), who))
        return
    tenant["roleDefinitions"] = [role_definition(50, "exact", block)]
    tenant["roleAssignments"].append(role_assignment(9, vault_id(), guid(50), who))


def deny(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    named = [{"id": principal_of(scenario), "type": "ServicePrincipal"}]
    tenant["denyAssignments"] = [deny_assignment(1, vault_id(), required(scenario, model)[-1:], named)]


def near_deny_that_excludes(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    everyone = [{"id": EVERYONE, "type": "SystemDefined"}]
    made = deny_assignment(1, vault_id(), required(scenario, model), everyone)
    excluded = [{"id": each, "type": "ServicePrincipal"} for each in (BACKUP_OBJECT_ID, IDENTITY_OBJECT_ID)]
    made["properties"]["excludePrincipals"] = excluded
    tenant["denyAssignments"] = [made]


def put_under_condition(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    for each in assignments(tenant, scenario):
        if each["properties"]["roleDefinitionId"].endswith(SECRETS_OFFICER):
            each["properties"] |= {
                "condition": "@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 's1'",
                "conditionVersion": "2.0",
            }


def near_condition_beside(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    put_under_condition(tenant, scenario, model)
    plain = role_assignment(12, f"/subscriptions/{SUBSCRIPTION}", SECRETS_OFFICER, principal_of(scenario))
    tenant["roleAssignments"].append(plain)


def end_grants(tenant: Document, scenario: Scenario, end: str) -> None:
    """Let every role assignment of the principal be one that Privileged Identity Management made for a time."""
    tenant["roleAssignmentScheduleInstances"] = [
        {
            "id": each["id"].replace("/roleAssignments/", "/roleAssignmentScheduleInstances/"),
            "properties": {
                **each["properties"],
                "originRoleAssignmentId": each["id"],
                "assignmentType": "Assigned",
                "status": "Provisioned",
                "startDateTime": "2025-12-01T00:00:00Z",
                "endDateTime": end,
            },
        }
        for each in assignments(tenant, scenario)
    ]


# --- identities ----------------------------------------------------------------------------------------------------------


def drop_identity(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    consumer(tenant, scenario)["identity"] = {"type": "None"}


def near_identity_of_both_kinds(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    used = consumer(tenant, scenario)
    used["identity"] = {**user_identity(IDENTITY, guid(88)), **used["identity"], "type": "SystemAssigned, UserAssigned"}
    tenant["resources"].append(user_assigned_identity(object_id=guid(88)))


def _use_user_identity(tenant: Document, scenario: Scenario, identity: str = IDENTITY) -> None:
    used = consumer(tenant, scenario)
    used["identity"] = user_identity(IDENTITY)
    match scenario:
        case Scenario.BACKUP_VAULT_CMK:
            settings = used["properties"]["securitySettings"]["encryptionSettings"]
            settings["kekIdentity"] = {"identityType": "UserAssigned", "identityId": identity}
        case Scenario.RSV_CMK:
            chosen = {"useSystemAssignedIdentity": False, "userAssignedIdentity": identity}
            used["properties"]["encryption"]["kekIdentity"] = chosen


def delete_user_identity(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    near_user_identity(tenant, scenario, model)
    tenant["resources"] = [each for each in tenant["resources"] if each["id"] != IDENTITY]


def near_user_identity(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    _use_user_identity(tenant, scenario, IDENTITY.replace("resourceGroups/rg1", "resourcegroups/RG1"))
    tenant["resources"].append(user_assigned_identity())


def detach_identity(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    near_user_identity(tenant, scenario, model)
    system = {"type": "SystemAssigned", "principalId": guid(88), "tenantId": TENANT_ID}
    consumer(tenant, scenario)["identity"] = system


def restrict_with_user_identity(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    near_user_identity(tenant, scenario, model)
    store(tenant, model)["networkAcls"] = {"defaultAction": "Deny", "bypass": "AzureServices"}


# --- keys, secrets, key stores -------------------------------------------------------------------------------------------


def drop_object(tenant: Document, model: PermissionModel, kind: str) -> None:
    if model is HSM:
        tenant["managedHsms"][hsm_id()]["keys"] = []
        return
    name = f"{vault_id()}/{kind}"
    tenant["resources"] = [each for each in tenant["resources"] if not each["id"].startswith(name)]


def near_new_version(tenant: Document, model: PermissionModel) -> None:
    newer = "33333333333333333333333333333333"
    if model is HSM:
        key_of(tenant, model)["key"] = {"kty": "RSA-HSM", "kid": f"https://hsm1.managedhsm.azure.net/keys/k1/{newer}"}
    else:
        key_of(tenant, model)["keyUriWithVersion"] = f"https://kv1.vault.azure.net/keys/k1/{newer}"


def near_other_object_disabled(tenant: Document, model: PermissionModel, kind: str) -> None:
    """A key (or secret) whose name begins with ours is disabled."""
    off = {"attributes": {"enabled": False}}
    if model is HSM:
        tenant["managedHsms"][hsm_id()]["keys"].append({"name": "k10", **off})
        return
    other = key("k10") if kind == "keys" else secret("s10")
    other["properties"] |= off
    tenant["resources"].append(other)


def near_spelled_otherwise(tenant: Document, kind: str) -> None:
    each = _named(tenant, f"{vault_id()}/{kind}/{'k1' if kind == 'keys' else 's1'}")
    each["id"] = each["id"].upper().replace("/SUBSCRIPTIONS", "/subscriptions")


def make_elliptic(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    """A key changes its type by a new version only."""
    near_new_version(tenant, model)
    if model is HSM:
        key_of(tenant, model)["key"] |= {"kty": "EC-HSM", "crv": "P-256"}
    else:
        key_of(tenant, model).update(kty="EC", curveName="P-256", keySize=None)


def near_other_rsa(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    near_new_version(tenant, model)
    if model is HSM:
        key_of(tenant, model)["key"] |= {"kty": "RSA-HSM", "n": "A" * 683}  # base64url of 512 bytes
    else:
        key_of(tenant, model).update(kty="RSA-HSM", keySize=4096)


def give_versions(tenant: Document, model: PermissionModel, count: int) -> None:
    """Let the key have that many versions; a simulated Managed HSM's key has one, so there the list itself is served."""
    names = [f"{number:032x}" for number in range(1, count)]
    if model is HSM:
        listed = [{"kid": f"https://hsm1.managedhsm.azure.net/keys/k1/{name}", "attributes": {}} for name in [*names, "f" * 32]]
        fault = {"match": "GET https://hsm1.managedhsm.azure.net/keys/k1/versions*", "status": 200, "body": {"value": listed}}
        tenant["faults"] = [fault]
        return
    tenant["resources"] += [{"id": f"{vault_id()}/keys/k1/versions/{name}", "properties": {}} for name in names]


def delete_store(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    identifier = hsm_id() if model is HSM else vault_id()
    tenant["resources"] = [each for each in tenant["resources"] if not each["id"].startswith(identifier)]
    tenant.pop("managedHsms", None)
    tenant["roleAssignments"] = []
    _list_deleted(tenant, model, identifier)


def near_other_store_deleted(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    _list_deleted(tenant, model, hsm_id("hsm10") if model is HSM else vault_id("kv10"))


def _list_deleted(tenant: Document, model: PermissionModel, identifier: str) -> None:
    section, plural, member = ("deletedVaults", "deletedVaults", "vaultId")
    if model is HSM:
        section, plural, member = ("deletedManagedHsms", "deletedManagedHSMs", "mhsmId")
    at = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/westeurope/{plural}"
    dates = {"deletionDate": "2025-12-31T00:00:00Z", "scheduledPurgeDate": "2026-03-01T00:00:00Z"}
    tenant[section] = [{"id": f"{at}/{identifier.rsplit('/', 1)[-1]}", "properties": {member: identifier, **dates}}]


def refuse_object(tenant: Document, scenario: Scenario, model: PermissionModel, status: int, times: int | None) -> None:
    """Let the read of the key (for `ade-bek` the secret) fail, for good or a few times."""
    own = "secrets" if scenario is Scenario.ADE_BEK else "keys"
    match = "hsm1.managedhsm.azure.net/keys/k1*" if model is HSM else f"management.azure.com*/vaults/kv1/{own}*"
    fault = {"match": f"GET https://{match}", "status": status}
    tenant["faults"] = [fault | ({} if times is None else {"times": times})]


def _point_at(tenant: Document, uri: str) -> None:
    encryption = consumer(tenant, Scenario.RSV_CMK)["properties"]["encryption"]
    encryption["keyVaultProperties"] = {"keyUri": uri}


def move_to_hsm(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    tenant["resources"].append(managed_hsm())
    grants = [hsm_role_assignment(2, "/keys", HSM_CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID)]
    tenant["managedHsms"] = {hsm_id(): {"keys": [{"name": "k1"}], "roleAssignments": grants}}
    _point_at(tenant, "https://hsm1.managedhsm.azure.net/keys/k1")


def other_vault(tenant: Document) -> Document:
    """The key vault that the consumer was moved to."""
    return _named(tenant, vault_id("kv2"))


def near_move_to_other_vault(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
    named = [access_policy(IDENTITY_OBJECT_ID, keys=ALL_KEYS)] if model is POLICY else []
    tenant["resources"] += [key_vault("kv2", rbac=model is RBAC, policies=named), key(vault="kv2")]
    if model is RBAC:
        grant = role_assignment(5, vault_id("kv2"), CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID)
        tenant["roleAssignments"].append(grant)
    _point_at(tenant, "https://kv2.vault.azure.net/keys/k1")
