"""Azure Resource Manager: subscriptions, resources and their lists, soft-deleted key stores, backup's own lists.

Any api-version will do, none will not. Objects are answered verbatim; only what ARM always adds is filled in.
"""

from __future__ import annotations

import re
from functools import partial

from keydrift.resource_id import MANAGEMENT_GROUP, ResourceId
from keydrift_local.azure import authorization
from keydrift_local.azure.event_grid import counted_in
from keydrift_local.azure.messages import Answer, Call, error, page
from keydrift_local.azure.resources import current_version, served
from keydrift_local.documents import JsonObject, text
from keydrift_local.tenant import Tenant, management_group_subscriptions
from keydrift_local.tenant_objects import Entry, Section, full_type, is_resource_group
from keydrift_local.vault_objects import invented_version

_RECOVERY_VAULT = "microsoft.recoveryservices/vaults"
_VERSIONED = ("microsoft.keyvault/vaults/keys", "microsoft.keyvault/vaults/secrets")
_DELETED = {"deletedvaults": (Section.DELETED_VAULTS, "vaultId"), "deletedmanagedhsms": (Section.DELETED_HSMS, "mhsmId")}
_MANAGEMENT_TYPE = re.compile(r"backupManagementType\s+eq\s+'([^']*)'", re.IGNORECASE)


def answer(call: Call, tenant: Tenant, page_size: int) -> Answer:
    """What ARM answers; the token has been checked."""
    if not call.options.get("api-version"):
        return error(
            400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."
        )
    if call.method != "GET":
        return error(405, "MethodNotAllowed", f"The simulated tenant answers GET only here, not {call.method}.")
    asked = ResourceId.parse(call.path)
    if authorization.is_asked(call):
        return authorization.answer(call, tenant, page_size)
    if call.segments[:1] == ("subscriptions",):
        return _subscriptions(call, tenant, page_size, asked)
    if call.segments[:3] == ("providers", *MANAGEMENT_GROUP.split("/")):
        return _management_groups(call, tenant, page_size)
    return error(404, "InvalidResourceType", f"The path '{call.path}' is not simulated.")


def _subscriptions(call: Call, tenant: Tenant, page_size: int, asked: ResourceId) -> Answer:
    known = {each.lower(): each for each in tenant.subscriptions}
    if len(call.segments) == 1:
        return page(call, list(known.values()), page_size, partial(_subscription, tenant))
    spelled = known.get(call.segments[1])
    if spelled is None:
        return error(404, "SubscriptionNotFound", f"The subscription '{call.parts[1]}' could not be found.")
    if len(call.segments) == 2:
        return Answer(body=_subscription(tenant, spelled))
    if is_resource_group(asked):
        return _resource_group(tenant, asked)
    if call.segments[2] == "providers" and len(call.segments) == 4:
        return Answer(body=_provider(call, tenant))
    if call.segments[2:4] == ("providers", "microsoft.keyvault") and len(call.segments) in (5, 8):
        deleted = _deleted(call, tenant, page_size)
        if deleted is not None:
            return deleted
    return _resources(call, tenant, page_size, asked)


def _provider(call: Call, tenant: Tenant) -> JsonObject:
    """A resource provider, as clients ask for it that look up API versions; its types are those that the tenant has."""
    kinds = {each.id.resource_type for each in tenant.every(Section.RESOURCES)}
    mine = sorted(each.partition("/")[2] for each in kinds if each.partition("/")[0] == call.segments[3])
    types: list[object] = [{"resourceType": each, "apiVersions": ["2023-07-01"], "locations": []} for each in mine]
    return {"id": call.path, "namespace": call.parts[3], "registrationState": "Registered", "resourceTypes": types}


def _resources(call: Call, tenant: Tenant, page_size: int, asked: ResourceId) -> Answer:
    segments = call.segments
    provider = max((index for index, segment in enumerate(segments) if segment == "providers"), default=None)
    if provider is None or len(segments) < provider + 3:
        return error(404, "InvalidResourceType", f"The path '{call.path}' is not simulated.")
    if (len(segments) - provider) % 2 == 0:
        return _resource(tenant, asked)
    parent = ResourceId.parse("/" + "/".join(call.parts[:-1]))
    if len(segments) == provider + 3:
        scope = ResourceId.parse("/" + "/".join(call.parts[:provider]))
        if is_resource_group(scope) and not tenant.resource_group_exists(scope):
            return _no_group(scope)
        kind = "/".join(segments[provider + 1 :])
        found = tenant.index.resources_in(scope, kind) or counted_in(tenant, scope, kind)
        return page(call, found, page_size, partial(served, tenant))
    return _children(call, tenant, page_size, parent)


def _children(call: Call, tenant: Tenant, page_size: int, parent: ResourceId) -> Answer:
    owner = tenant.find(Section.RESOURCES, parent)
    kind = call.segments[-1]
    if owner is None:
        subscribed = counted_in(tenant, parent, f"{parent.resource_type}/{kind}")
        return page(call, subscribed, page_size, partial(served, tenant)) if subscribed else _not_found(tenant, parent)
    if kind == "backupprotecteditems" and parent.resource_type == _RECOVERY_VAULT:
        return page(call, _protected_items(call, tenant, parent), page_size, partial(served, tenant))
    found = tenant.index.resources_in(parent, f"{parent.resource_type}/{kind}")
    if kind == "versions" and parent.resource_type in _VERSIONED:
        shown = [served(tenant, entry) for entry in found]
        # A key always has a version; one that the file does not tell gets a name of ours here
        own = current_version(tenant, owner, invented_version(owner.id))
        if own is not None and all(entry.id.name.lower() != text(own, "name") for entry in found):
            shown.append(own)
        return page(call, shown, page_size, dict)
    return page(call, found, page_size, partial(served, tenant))


def _resource(tenant: Tenant, asked: ResourceId) -> Answer:
    entry = tenant.find(Section.RESOURCES, asked)
    if entry is not None:
        return Answer(body=served(tenant, entry))
    parent = ResourceId.parse("/" + "/".join(asked.parts[:-2]))
    owner = tenant.find(Section.RESOURCES, parent)
    if owner is not None and asked.segments[-2] == "versions" and parent.resource_type in _VERSIONED:
        own = current_version(tenant, owner, asked.name)
        if own is not None and text(own, "name") == asked.name.lower():
            return Answer(body=own)
    if owner is not None and asked.segments[-2:] == ("backupencryptionconfigs", "backupresourceencryptionconfig"):
        body: JsonObject = {
            "id": str(asked),
            "name": asked.name,
            "type": full_type(asked),
            "properties": {"encryptionAtRestType": "MicrosoftManaged"},
        }
        return Answer(body=body)
    return _not_found(tenant, asked)


def _protected_items(call: Call, tenant: Tenant, vault: ResourceId) -> list[Entry]:
    wanted = _MANAGEMENT_TYPE.search(call.options.get("$filter", ""))
    found = []
    for entry in tenant.index.tree(vault):
        if not entry.id.resource_type.endswith("/protecteditems"):
            continue
        managed_by = text(entry.body, "properties", "backupManagementType")
        if wanted is None or managed_by is None or managed_by.lower() == wanted[1].lower():
            found.append(entry)
    return found


def _deleted(call: Call, tenant: Tenant, page_size: int) -> Answer | None:
    tail = call.segments[4:]
    kind = tail[0] if len(tail) == 1 else tail[2]
    if kind not in _DELETED or (len(tail) == 4 and tail[0] != "locations"):
        return None
    section, reference = _DELETED[kind]

    def is_in_subscription(entry: Entry) -> bool:
        stated = ResourceId.parse(text(entry.body, "properties", reference) or "/").subscription_id
        return (stated or entry.id.subscription_id) == call.segments[1]

    found = [entry for entry in tenant.every(section) if is_in_subscription(entry)]
    if len(tail) == 1:
        return page(call, found, page_size, partial(served, tenant))
    for entry in found:
        location = text(entry.body, "properties", "location") or entry.id.parts[-3]
        name = text(entry.body, "name") or entry.id.name
        if (location.lower().replace(" ", ""), name.lower()) == (tail[1], tail[3]):
            return Answer(body=served(tenant, entry))
    code = "DeletedVaultNotFound" if section is Section.DELETED_VAULTS else "DeletedManagedHsmNotFound"
    return error(404, code, f"The specified deleted resource '{call.parts[-1]}' does not exist.")


def _management_groups(call: Call, tenant: Tenant, page_size: int) -> Answer:
    groups = tenant.every(Section.MANAGEMENT_GROUPS)
    if len(call.segments) == 3:
        return page(call, groups, page_size, partial(_management_group, tenant))
    asked = ResourceId.parse("/" + "/".join(call.parts[:4]))
    found = tenant.find(Section.MANAGEMENT_GROUPS, asked)
    if found is None:
        return error(404, "NotFound", f"The management group '{call.parts[3]}' cannot be found.")
    if len(call.segments) == 4:
        return Answer(body=_management_group(tenant, found))
    if call.segments[4:] != ("descendants",):
        return error(404, "InvalidResourceType", f"The path '{call.path}' is not simulated.")
    below: list[JsonObject] = []
    for entry in groups:
        if found.id.key in authorization.management_groups_above(tenant, entry.id) - {entry.id.key}:
            below.append(_descendant(str(entry.id), f"{full_type(entry.id)}", authorization.parent_of(entry)))
        if found.id.key in authorization.management_groups_above(tenant, entry.id):
            kind = "Microsoft.Management/managementGroups/subscriptions"
            below += [
                _descendant(f"/subscriptions/{each}", kind, entry.id) for each in management_group_subscriptions(entry.body)
            ]
    return page(call, below, page_size, dict)


def _management_group(tenant: Tenant, entry: Entry) -> JsonObject:
    parent = authorization.parent_of(entry)
    details: JsonObject = {"parent": {"id": str(parent), "name": parent.name} if parent else None}
    return {
        "id": str(entry.id),
        "type": full_type(entry.id),
        "name": entry.id.name,
        "properties": {"tenantId": tenant.tenant_id, "displayName": entry.id.name, "details": details},
    }


def _descendant(identifier: str, kind: str, parent: ResourceId | None) -> JsonObject:
    name = identifier.rsplit("/", 1)[-1]
    properties: JsonObject = {"displayName": name, "parent": {"id": str(parent) if parent else None}}
    return {"id": identifier, "type": kind, "name": name, "properties": properties}


def _subscription(tenant: Tenant, identifier: str) -> JsonObject:
    return {
        "id": f"/subscriptions/{identifier}",
        "subscriptionId": identifier,
        "tenantId": tenant.tenant_id,
        "displayName": identifier,
        "state": "Enabled",
    }


def _resource_group(tenant: Tenant, group: ResourceId) -> Answer:
    entry = tenant.find(Section.RESOURCES, group)
    if entry is not None:
        return Answer(body={"type": "Microsoft.Resources/resourceGroups", "name": group.name, **entry.body})
    if not tenant.resource_group_exists(group):
        return _no_group(group)
    body: JsonObject = {"id": str(group), "name": group.name, "type": "Microsoft.Resources/resourceGroups", "properties": {}}
    return Answer(body=body)


def _not_found(tenant: Tenant, asked: ResourceId) -> Answer:
    group = ResourceId.parse("/" + "/".join(asked.parts[:4]))
    if is_resource_group(group) and not tenant.resource_group_exists(group):
        return _no_group(group)
    provider = max(index for index, segment in enumerate(asked.segments) if segment == "providers")
    resource = "/".join(asked.parts[provider + 1 :])
    return error(
        404,
        "ResourceNotFound",
        f"The Resource '{resource}' under resource group '{asked.resource_group or '<null>'}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def _no_group(group: ResourceId) -> Answer:
    return error(404, "ResourceGroupNotFound", f"Resource group '{group.name}' could not be found.")
