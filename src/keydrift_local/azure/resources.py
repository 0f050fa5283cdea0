"""How ARM shows a resource: the tenant file's object, with the members that ARM always adds filled in where they are missing."""

from __future__ import annotations

from collections.abc import Callable

from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, members, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import VAULT, Entry, full_type
from keydrift_local.vault_objects import object_uri, stated_version, vault_uri


def served(tenant: Tenant, entry: Entry) -> JsonObject:
    """The resource as ARM answers it. What the tenant file says is never changed."""
    body: JsonObject = {"id": str(entry.id), "name": entry.id.name, "type": full_type(entry.id), **entry.body}
    fill = _FILLS.get(entry.id.resource_type)
    if fill is not None:
        body["properties"] = fill(tenant, entry.id, entry.body)
    return body


def current_version(tenant: Tenant, key: Entry, asked: str | None = None) -> JsonObject | None:
    """A key's (or secret's) own version as a version resource, named by it in lower case.

    A tenant file that tells no version means that whichever version a consumer names is the key's own: then `asked` is it. None
    where nothing tells a version.
    """
    stated = stated_version(tenant, key.id, key.body) or asked
    if stated is None:
        return None
    version = stated.lower()
    whole = served(tenant, key)
    return {
        **whole,
        "id": f"{key.id}/versions/{version}",
        "name": version,
        "type": f"{full_type(key.id)}/versions",
    }


def _vault(tenant: Tenant, vault: ResourceId, body: JsonObject) -> JsonObject:
    return {"vaultUri": vault_uri(tenant, vault), "tenantId": tenant.tenant_id, **members(body, "properties")}


def _key(tenant: Tenant, key: ResourceId, body: JsonObject) -> JsonObject:
    return _key_properties(tenant, key, body, stated_version(tenant, key, body))


def _key_of_version(tenant: Tenant, version: ResourceId, body: JsonObject) -> JsonObject:
    key = ResourceId.parse("/" + "/".join(version.parts[:-2]))
    return _key_properties(tenant, key, body, version.name)


def _key_properties(tenant: Tenant, key: ResourceId, body: JsonObject, version: str | None) -> JsonObject:
    given = members(body, "properties")
    uri = text(given, "keyUri") or object_uri(tenant, _vault_of(key), "keys", key.name)
    defaults: JsonObject = {"kty": "RSA", "keyUri": uri}
    if version is not None:
        defaults["keyUriWithVersion"] = f"{uri}/{version}"
    if str(given.get("kty", "RSA")).upper().startswith("RSA"):
        defaults["keySize"] = 2048
    return {**defaults, **given, "attributes": {"enabled": True, **members(given, "attributes")}}


def _secret(tenant: Tenant, secret: ResourceId, body: JsonObject) -> JsonObject:
    return _secret_properties(tenant, secret, body, stated_version(tenant, secret, body))


def _secret_of_version(tenant: Tenant, version: ResourceId, body: JsonObject) -> JsonObject:
    return _secret_properties(tenant, ResourceId.parse("/" + "/".join(version.parts[:-2])), body, version.name)


def _secret_properties(tenant: Tenant, secret: ResourceId, body: JsonObject, version: str | None) -> JsonObject:
    given = members(body, "properties")
    uri = text(given, "secretUri") or object_uri(tenant, _vault_of(secret), "secrets", secret.name)
    defaults: JsonObject = {"secretUri": uri}
    if version is not None:
        defaults["secretUriWithVersion"] = f"{uri}/{version}"
    return {**defaults, **given, "attributes": {"enabled": True, **members(given, "attributes")}}


def _vault_of(key: ResourceId) -> ResourceId:
    vault = key.up_to(VAULT)
    assert vault is not None
    return vault


_FILLS: dict[str, Callable[[Tenant, ResourceId, JsonObject], JsonObject]] = {
    VAULT: _vault,
    f"{VAULT}/keys": _key,
    f"{VAULT}/keys/versions": _key_of_version,
    f"{VAULT}/secrets": _secret,
    f"{VAULT}/secrets/versions": _secret_of_version,
}
