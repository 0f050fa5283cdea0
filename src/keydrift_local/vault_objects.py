"""Key Vault's derived values: addresses and versions of keys and secrets that a tenant file leaves out."""

from __future__ import annotations

import uuid

from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import Entry, Section

VAULT_SUFFIX = {
    "AzureCloud": "vault.azure.net",
    "AzureUSGovernment": "vault.usgovcloudapi.net",
    "AzureChinaCloud": "vault.azure.cn",
}
HSM_SUFFIX = {
    "AzureCloud": "managedhsm.azure.net",
    "AzureUSGovernment": "managedhsm.usgovcloudapi.net",
    "AzureChinaCloud": "managedhsm.azure.cn",
}


def vault_uri(tenant: Tenant, vault: ResourceId) -> str:
    """The vault's address with its trailing slash, as given or as its name makes it."""
    entry = tenant.find(Section.RESOURCES, vault)
    stated = text(entry.body, "properties", "vaultUri") if entry else None
    return stated or f"https://{vault.name.lower()}.{VAULT_SUFFIX[tenant.cloud]}/"


def object_uri(tenant: Tenant, vault: ResourceId, *path: str) -> str:
    """The address of something in the vault, without a trailing slash; of the vault itself where no path is given."""
    return "/".join((vault_uri(tenant, vault).rstrip("/"), *path))


def versions_of(tenant: Tenant, key: ResourceId) -> list[Entry]:
    """The versions of a key or secret that the tenant file lists."""
    return tenant.index.resources_in(key, f"{key.resource_type}/versions")


def stated_version(tenant: Tenant, key: ResourceId, body: JsonObject) -> str | None:
    """The current version of a key or secret: the one its address states, else the last listed, else none is known."""
    stated = text(body, "properties", "keyUriWithVersion") or text(body, "properties", "secretUriWithVersion")
    if stated is not None:
        return stated.rstrip("/").rsplit("/", 1)[-1]
    listed = versions_of(tenant, key)
    return listed[-1].id.name if listed else None


def key_version(tenant: Tenant, key: ResourceId, body: JsonObject) -> str:
    """The current version as an event tells it: where the file tells none, an invented stable one."""
    return stated_version(tenant, key, body) or invented_version(key)


def invented_version(key: ResourceId) -> str:
    """32 hex digits that are always the same for one id."""
    return uuid.uuid5(uuid.NAMESPACE_URL, key.key).hex
