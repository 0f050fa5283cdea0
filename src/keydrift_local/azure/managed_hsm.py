"""A Managed HSM's data plane: keys, and the local RBAC that is independent of Azure's (azure-facts 4.3).

The list of role assignments at `/` does not hold those at `/keys/{name}`; `/` and `/keys` are one scope.
"""

from __future__ import annotations

import re
from functools import partial

from keydrift_local.azure.messages import Answer, Call, error, page
from keydrift_local.documents import JsonObject, member, members, text
from keydrift_local.roles import managed_hsm_roles
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import MANAGED_HSM, Entry, Section
from keydrift_local.vault_objects import HSM_SUFFIX, invented_version

_ROLE = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions"
_PRINCIPAL = re.compile(r"principalId\s+eq\s+'([^']+)'", re.IGNORECASE)
_KEY_OPERATIONS = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]


def hsm_at(tenant: Tenant, host: str) -> Entry | None:
    """The HSM whose data plane a host name is, by `hsmUri` or by name."""
    for entry in tenant.index.of_type(MANAGED_HSM):
        stated = text(entry.body, "properties", "hsmUri")
        own = stated.split("//", 1)[-1].strip("/").split(":")[0] if stated else f"{entry.id.name}.{HSM_SUFFIX[tenant.cloud]}"
        if own.lower() == host.lower():
            return entry
    return None


def answer(call: Call, tenant: Tenant, hsm: Entry, page_size: int) -> Answer:
    """What the HSM answers; the token has been checked."""
    if call.method != "GET":
        return error(405, "MethodNotAllowed", f"The simulated tenant answers GET only, not {call.method}.")
    provider = next((index for index, segment in enumerate(call.segments) if segment == "providers"), None)
    if provider is not None and call.segments[provider + 1 : provider + 2] == ("microsoft.authorization",):
        return _roles(call, tenant, hsm, provider, page_size)
    if call.segments[:1] != ("keys",) or len(call.segments) > 3:
        return error(404, "ResourceNotFound", f"The path '{call.path}' is not simulated.")
    keys = tenant.data_plane(hsm.id, Section.HSM_KEYS)
    if len(call.segments) == 1:
        return page(call, keys, page_size, partial(_key_item, call), null_link=True)
    entry = next((each for each in keys if each.id.name.lower() == call.segments[1]), None)
    if entry is not None and call.segments[2:] == ("versions",):
        return page(call, [entry], page_size, partial(_key_item, call, with_version=True), null_link=True)
    if entry is None:
        return error(404, "KeyNotFound", f"Key not found: {call.parts[1]}")
    asked, stated = (call.parts[2] if len(call.parts) == 3 else None), _stated_version(entry)
    if asked is not None and stated is not None and asked.lower() != stated.lower():
        return error(404, "KeyNotFound", f"Key not found: {call.parts[1]}")
    # A tenant file that tells no version means that whichever version a consumer names is the key's own
    return Answer(body=_key_bundle(call, entry, stated or asked))


def _roles(call: Call, tenant: Tenant, hsm: Entry, provider: int, page_size: int) -> Answer:
    scope = normal_scope("/".join(call.segments[:provider]))
    kind = call.segments[provider + 2] if len(call.segments) > provider + 2 else ""
    name = call.segments[provider + 3] if len(call.segments) > provider + 3 else None
    match kind:
        case "roleassignments":
            wanted = _PRINCIPAL.search(call.options.get("$filter", ""))
            found = [
                entry
                for entry in tenant.data_plane(hsm.id, Section.HSM_ROLE_ASSIGNMENTS)
                if normal_scope(text(entry.body, "properties", "scope") or "/") == scope
                and (wanted is None or (text(entry.body, "properties", "principalId") or "").lower() == wanted[1].lower())
            ]
            shown = {entry.id.name.lower(): _assignment(entry) for entry in found}
        case "roledefinitions":
            shown = {guid: _built_in(role) for guid, role in managed_hsm_roles().items()}
            shown |= {
                entry.id.name.lower(): _definition(entry) for entry in tenant.data_plane(hsm.id, Section.HSM_ROLE_DEFINITIONS)
            }
        case _:
            return error(404, "ResourceNotFound", f"The path '{call.path}' is not simulated.")
    if name is None:
        return page(call, list(shown.values()), page_size, dict)
    if name not in shown:
        code = "RoleAssignmentNotFound" if kind == "roleassignments" else "RoleDefinitionNotFound"
        return error(404, code, f"Requested object not found: {call.parts[-1]}")
    return Answer(body=shown[name])


def normal_scope(scope: str) -> str:
    """`/` for the whole HSM (also `/keys`), `/keys/{name}` in lower case for one key."""
    parts = [part.lower() for part in scope.split("/") if part]
    return "/" if parts in ([], ["keys"]) else "/" + "/".join(parts[:2])


def _assignment(entry: Entry) -> JsonObject:
    given = members(entry.body, "properties")
    scope = text(given, "scope") or "/"
    role = (text(given, "roleDefinitionId") or "").strip("/")
    return {
        "id": f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{entry.id.name}",
        "name": entry.id.name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {**given, "scope": scope, "roleDefinitionId": role if "/" in role else f"{_ROLE}/{role}"},
    }


def _definition(entry: Entry) -> JsonObject:
    properties: JsonObject = {
        "roleName": entry.id.name,
        "type": "CustomRole",
        "assignableScopes": ["/"],
        **members(entry.body, "properties"),
    }
    return _role(entry.id.name, properties)


def _built_in(role: JsonObject) -> JsonObject:
    properties: JsonObject = {
        "roleName": role["roleName"],
        "type": "AKVBuiltInRole",
        "description": role["description"],
        "assignableScopes": ["/"],
        "permissions": role["permissions"],
    }
    return _role(str(role["id"]), properties)


def _role(name: str, properties: JsonObject) -> JsonObject:
    return {"id": f"{_ROLE}/{name}", "name": name, "type": "Microsoft.Authorization/roleDefinitions", "properties": properties}


def _stated_version(entry: Entry) -> str | None:
    kid = text(entry.body, "key", "kid") or text(entry.body, "properties", "keyUriWithVersion") or ""
    parts = [part for part in kid.split("/") if part]
    return parts[4] if len(parts) > 4 else None


def _attributes(entry: Entry) -> JsonObject:
    given = members(entry.body, "attributes") or members(entry.body, "properties", "attributes")
    return {"enabled": True, "recoveryLevel": "CustomizedRecoverable+Purgeable", **given}


def _key_item(call: Call, entry: Entry, *, with_version: bool = False) -> JsonObject:
    kid = f"https://{call.host}/keys/{entry.id.name}"
    version = _stated_version(entry) or invented_version(entry.id)
    return {"kid": f"{kid}/{version}" if with_version else kid, "attributes": _attributes(entry)}


def _key_bundle(call: Call, entry: Entry, version: str | None) -> JsonObject:
    kid = f"https://{call.host}/keys/{entry.id.name}" + (f"/{version}" if version else "")
    key: JsonObject = {
        "kty": text(entry.body, "properties", "kty") or "RSA-HSM",
        "key_ops": member(entry.body, "properties", "keyOps") or _KEY_OPERATIONS,
        **members(entry.body, "key"),
        "kid": kid,
    }
    bundle: JsonObject = {"key": key, "attributes": _attributes(entry)}
    for name in ("tags", "release_policy"):
        if name in entry.body:
            bundle[name] = entry.body[name]
    return bundle
