"""Every public payload of a kind that keydrift reads passes that kind's decoder, and error bodies stay errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keydrift.adapters import arm_decode, inventory_decode
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, KeyVault, RoleAssignment, Unread
from keydrift.inventory import DiskEncryptionSet, EncryptedVault
from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId
from keydrift_local.local_azure import LocalAzure
from support.azure import readers, serve
from support.corpus import corpus
from support.tenants import key_vault, tenant, vault_id

ANY_KEY = KeyUri.parse("https://kv1.vault.azure.net/keys/any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One JSON object of the corpus that may be of a kind we read."""

    file: str
    value: dict[str, Any]
    kind: str | None


def _vm(body: Node) -> object:
    return (
        inventory_decode.vm_is_confidential(body),
        [disk["managedDisk"]["id"].optional_resource_id() for disk in inventory_decode.vm_disks(body)],
        inventory_decode.ade_of_vm(body),
    )


def _disk(body: Node) -> object:
    return inventory_decode.ade_of_disk(body), inventory_decode.secure_sets_of_disk(body)


_RSV = {"id": vault_id("any"), "location": "westeurope", "properties": {}}
DECODERS: dict[str, Callable[[Node], object]] = {
    "microsoft.keyvault/vaults": arm_decode.key_vault,
    "microsoft.keyvault/managedhsms": arm_decode.managed_hsm,
    "microsoft.keyvault/deletedvaults": arm_decode.deleted_key_store,
    "microsoft.keyvault/deletedmanagedhsms": arm_decode.deleted_key_store,
    "microsoft.keyvault/vaults/keys": lambda body: arm_decode.arm_object(body, ANY_KEY),
    "microsoft.keyvault/vaults/keys/versions": lambda body: arm_decode.arm_object(body, ANY_KEY),
    "microsoft.authorization/roleassignments": arm_decode.role_assignment,
    "microsoft.authorization/roledefinitions": arm_decode.role_definition,
    "microsoft.authorization/denyassignments": arm_decode.deny_assignment,
    "microsoft.dataprotection/backupvaults": inventory_decode.backup_vault,
    "microsoft.recoveryservices/vaults": inventory_decode.recovery_services_vault,
    "microsoft.recoveryservices/vaults/backupencryptionconfigs": lambda body: inventory_decode.legacy_encryption(
        Node(_RSV), body
    ),
    "microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems": inventory_decode.protected_vm,
    "microsoft.compute/virtualmachines": _vm,
    "microsoft.compute/disks": _disk,
    "microsoft.compute/diskencryptionsets": inventory_decode.disk_encryption_set,
    "microsoft.managedidentity/userassignedidentities": arm_decode.user_assigned_identity,
    "graph/serviceprincipals": arm_decode.service_principal,
    "graph/memberof": lambda body: body["id"].required(),
    "hsm/keys": lambda body: arm_decode.data_plane_key(body, ANY_KEY),
    "hsm/roleassignments": arm_decode.hsm_role_assignment,
    "hsm/roledefinitions": arm_decode.role_definition,
}

# Files that hold no response body of a kind we read, by the beginning of their names and why
NOTHING_OF_OURS = {
    "activitylog2015_": "activity log records",
    "authz2015_elevate_access": "no body",
    "authz2015_get_classic_administrators": "classic administrators",
    "authz2020p_role_assignments_validate": "validation results",
    "authz2020pim_": "schedule instances (the monitor reads none)",
    "authz2022_get_all_provider_operations": "provider operations",
    "authz2022_get_provider_operations_rp": "provider operations",
    "authz2022_get_permissions": "permissions of the caller",
    "authz2022_get_resource_permissions": "permissions of the caller",
    "des2023_disk_encryption_set_delete": "no body",
    "des2023_disk_encryption_set_list_associated_resources": "ids only",
    "des2023_disk_encryption_set_update": "a body without an id",
    "dp2024_check_backup_vaults_name_availability": "a name check",
    "dp2024_delete_backup_vault": "no body",
    "dp2024_get_backup_instance": "backup instances",
    "dp2024_list_backup_instances": "backup instances",
    "eventgrid2022_": "event subscriptions",
    "graph2022_": "Resource Graph, which is not read",
    "kv2016_update_access_policies_add": "access policies apart from their vault",
    "kv2018p_update_access_policies_add": "access policies apart from their vault",
    "kv2019_update_access_policies_add": "access policies apart from their vault",
    "kv2020p_update_access_policies_add": "access policies apart from their vault",
    "kv2023_update_access_policies_add": "access policies apart from their vault",
    "kv2023_delete_vault": "no body",
    "kv2023_get_private_endpoint_connection": "private endpoints",
    "kv2023_list_operations": "operations",
    "kv2023_managed_hsm_get_key": "a Managed HSM's keys are read on its data plane",
    "kv2023_managed_hsm_list_keys": "a Managed HSM's keys are read on its data plane",
    "kv2024p_get_network_security_perimeter": "network security perimeters",
    "logsingestion2023_": "no body",
    "msi2023_identity_delete": "no body",
    "msi2023_system_assigned_identity_get": "a system-assigned identity as a resource of its own",
    "rec_c7n_eventgrid_subscriptions": "event subscriptions",
    "rec_sdk_activity_log_2016": "activity log records",
    "rec_sdk_permissions_2018": "permissions of the caller",
    "rec_sdk_resource_graph": "Resource Graph, which is not read",
    "rec_sdk_role_assignments_for_resource_2022": "an availability set",
    "rs2024_delete_vault": "no body",
    "rs2024_getvault_extended_info": "extended information",
    "rsb2024_backup_feature_validate": "a validation result",
    "rsb2024_backup_resource_encryption_config_put": "no body",
    "rsb2024_backup_resource_vault_configs_get": "vault configuration",
    "rsb2024_get_backup_status": "a backup status",
    "rsb2024_protected_item_operation_status": "an operation's status",
    "rsb2024_protection_intent_validate": "a validation result",
    "rsb2024_recovery_points": "recovery points",
    "vm2024_virtual_machine_get_instance_view": "an instance view",
    "dp75_decrypt": "a cryptographic result",
    "dp75_encrypt": "a cryptographic result",
    "dp75_unwrap_key": "a cryptographic result",
    "dp75_wrap_key": "a cryptographic result",
    "dp75_get_deleted_keys": "a list of names",
    "dp75_get_key_rotation_policy": "rotation policies",
    "dp75_get_key_versions": "a list of names",
    "dp75_get_keys": "a list of names",
    "dp75_get_secret": "a list of names",
    "dp75_list_settings": "settings",
    "get_member_groups": "the POST form of memberships, which is not used",
    "microsoft_first_party_apps_subset": "a table of application ids",
    "rec_aadgraph_": "the retired directory API",
}

# Files whose bodies name a kind we read and are refused: what is not told must not be taken for its default
REFUSED = {
    "kv2016_list_vault": "the generic resource list, which shows no properties",
    "kv2018p_list_vault": "the generic resource list, which shows no properties",
    "kv2019_list_vault": "the generic resource list, which shows no properties",
    "kv2020p_list_vault": "the generic resource list, which shows no properties",
    "kv2023_list_vault": "the generic resource list, which shows no properties",
    "vm2024_virtual_machine_list_all_maximum_set_gen": "generated: the secret's address is `aaaaaaaaa`",
    "vm2024_virtual_machine_list_all_minimum_set_gen": "generated: a machine without properties",
    "sp_transitive_member_of_filter": "asked without `id`, which we always select",
}


def _responses(document: Any) -> Iterator[tuple[str, Any]]:
    """Every successful response body with the path it was asked at (empty where the file does not tell)."""
    if isinstance(document, list):
        for exchange in document:
            if isinstance(exchange, dict) and "response" in exchange and str(exchange["response"]["status"]).startswith("2"):
                body = exchange["response"].get("body")
                parsed = json.loads(body) if isinstance(body, str) and body.startswith("{") else body
                yield exchange["request"]["uri"].partition("?")[0].lower(), parsed
    elif "responses" in document:
        for status, response in document["responses"].items():
            if str(status).startswith("2") and isinstance(response, dict):
                yield "", response.get("body")
    elif "response" not in document:
        yield "", document


def _kind(folder: str, file: str, path: str, value: dict[str, Any]) -> str | None:
    declared = str(value.get("type") or "").lower()
    if folder == "graph":
        member = "transitive_member_of" in file
        return "graph/memberof" if member else "graph/serviceprincipals" if file.startswith("sp_get") else None
    if folder == "keyvault" and declared.startswith("microsoft.authorization/"):
        return f"hsm/{declared.partition('/')[2]}"
    if "kty" in (value.get("key") or {}):
        return "hsm/keys"
    if path.endswith("/resources"):
        return None  # the generic list shows no properties
    if not declared and str(value.get("id")).startswith("/subscriptions/"):
        declared = ResourceId.parse(value["id"]).resource_type
    return declared if declared in DECODERS else None


def _bodies() -> list[Body]:
    found = []
    for folder in ("arm", "graph", "keyvault"):
        for file in sorted((corpus() / folder).glob("*.json")):
            for path, body in _responses(json.loads(file.read_text())):
                items = body["value"] if isinstance(body, dict) and isinstance(body.get("value"), list) else [body]
                found += [
                    Body(file=file.stem, value=item, kind=_kind(folder, file.stem, path, item))
                    for item in items
                    if isinstance(item, dict)
                ]
    return found


def _corpus_json(*path: str) -> Any:
    return json.loads(corpus().joinpath(*path).read_text())


def test_every_body_of_a_kind_we_read_passes_its_decoder() -> None:
    """No recorded or documented body of a kind that is read is refused, but for those in the table, and those are."""
    refused = {}
    for body in _bodies():
        if body.kind is not None:
            try:
                DECODERS[body.kind](Node(body.value))
            except DecodeError as error:
                refused[body.file] = f"{body.kind}: {error}"
    assert {file: why for file, why in refused.items() if file not in REFUSED} == {}
    assert set(refused) == set(REFUSED)


def test_every_kind_is_met_in_the_corpus() -> None:
    """Each decoder has met a payload that is not our own."""
    counts = Counter(body.kind for body in _bodies() if body.kind is not None)
    assert [kind for kind in DECODERS if counts[kind] == 0] == []
    assert counts["microsoft.keyvault/vaults"] >= 50
    assert counts["microsoft.authorization/roleassignments"] >= 50


def test_every_file_is_read_or_named_with_a_reason() -> None:
    """No file of the corpus is passed over without a reason that stands in the table, and no reason is stale."""
    files = {file.stem for folder in ("arm", "graph", "keyvault") for file in (corpus() / folder).glob("*.json")}
    read = {body.file for body in _bodies() if body.kind is not None}
    passed_over = {file for file in files - read if not file.startswith(tuple(NOTHING_OF_OURS))}
    stale = {start for start in NOTHING_OF_OURS if not any(file.startswith(start) for file in files - read)}
    assert (passed_over, stale) == (set(), set())


@pytest.mark.parametrize(
    ("name", "count"), [("built_in_roles.json", 928), ("built_in_roles_2024-08.json", 580), ("managed_hsm_local_roles.json", 9)]
)
def test_public_roles_decode(name: str, count: int) -> None:
    """Every public built-in role, Azure's and the Managed HSM's, decodes with all its data actions and conditions."""
    roles = _corpus_json("roles", name)
    assert len(roles) == count
    for role in roles:
        body = {"id": f"/providers/Microsoft.Authorization/roleDefinitions/{role['id']}", "name": role["id"]}
        properties = {"roleName": role["name"], "permissions": role["permissions"]}
        decoded = arm_decode.role_definition(Node({**body, "properties": properties}))
        assert (decoded.id, decoded.name) == (role["id"].lower(), role["name"])
        assert [block.data_actions for block in decoded.permissions] == [
            tuple(each.get("dataActions") or ()) for each in role["permissions"]
        ]
        assert [block.condition for block in decoded.permissions] == [
            each.get("condition") or None for each in role["permissions"]
        ]


def test_what_the_decoders_make_of_well_known_bodies() -> None:
    """A vault's policies, a backup vault's key and a disk encryption set's rotation error arrive as Azure wrote them."""
    files = {
        "kv2023_get_vault",
        "dp2024_get_backup_vault_with_cmk",
        "des2023_disk_encryption_set_get_with_auto_key_rotation_error",
        "authz_docs_root_scope_assignment",
    }
    decoded = {b.file: DECODERS[b.kind](Node(b.value)) for b in _bodies() if b.kind is not None and b.file in files}
    vault = decoded["kv2023_get_vault"]
    assert isinstance(vault, KeyVault)
    assert vault.access_policies[0].keys >= {"get", "list", "wrapkey", "backup"}
    backup = decoded["dp2024_get_backup_vault_with_cmk"]
    assert isinstance(backup, EncryptedVault)
    assert backup.identity.user_assigned is not None
    failing = decoded["des2023_disk_encryption_set_get_with_auto_key_rotation_error"]
    assert isinstance(failing, DiskEncryptionSet)
    assert failing.rotation_error
    root = decoded["authz_docs_root_scope_assignment"]
    assert isinstance(root, RoleAssignment)
    assert (root.scope.key, root.id.key) == ("/", f"/providers/microsoft.authorization/roleassignments/{root.id.name.lower()}")


def _errors() -> list[tuple[str, int, Any, str | None]]:
    found: list[tuple[str, int, Any, str | None]] = []
    for file in sorted((corpus() / "errors").glob("*.json")):
        document = json.loads(file.read_text())
        exchanges = document if isinstance(document, list) else [{"response": document}]
        for number, exchange in enumerate(exchanges):
            response = exchange["response"]
            body = response.get("body", response if "error" in response else None)
            status = response.get("statusCode") or (response.get("status") if isinstance(response.get("status"), int) else None)
            if isinstance(body, str) and body.startswith("{"):
                body = json.loads(body)
            shown = body.get("error", body) if isinstance(body, dict) else {}
            found.append((f"{file.stem}[{number}]", status or 403, body, shown.get("code")))
    return [each for each in found if each[2] is not None]


async def test_error_bodies_become_unread_with_their_status_and_code(azure: LocalAzure) -> None:
    """Every public error body but a 404 is unread, with the status and code that Azure gave; a 404 with a code is absence."""
    store = ResourceId.parse(vault_id())
    cases = _errors()
    wrong = []
    for name, status, body, code in cases:
        serve(azure, tenant(key_vault(rbac=True)))
        azure.fault({"match": "GET https://management.azure.com/*", "status": status, "body": body})
        async with readers() as each:
            for read in (await each.key_stores.key_store(store), await each.grants.role_definition(store, "any")):
                match read:
                    case Unread() if status != 404 and read.status == status and code in (read.code, None):
                        pass
                    case Absent() if status == 404:
                        pass
                    case _:
                        wrong.append((name, status, code, read))
    assert len(cases) >= 25
    assert wrong == []


def test_corpus_stays_outside() -> None:
    """The corpus is no part of the project's own folder."""
    assert not corpus().resolve().is_relative_to(Path(__file__).resolve().parents[2])
