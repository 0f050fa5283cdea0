"""The events Azure raises for a change of the tenant: exactly those, and none where Azure raises none.

Who receives them is `event_delivery`. Sources: Event Grid's `event-schema-subscriptions` (ARM) and `event-schema-key-vault`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from keydrift.resource_id import ResourceId
from keydrift_local.azure.hosts import RESOURCE_MANAGER
from keydrift_local.documents import JsonObject, items, member
from keydrift_local.tenant import AppliedChange, Tenant
from keydrift_local.tenant_objects import VAULT, Section, full_type
from keydrift_local.vault_objects import key_version, object_uri

_NAMESPACE = uuid.UUID("8f0e5d0c-6d0f-5b2e-9a52-6f2b6f0c1d11")
_CLAIM = "http://schemas.microsoft.com/identity/claims/"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_API_VERSIONS = {"Microsoft.Authorization": "2022-04-01", "Microsoft.KeyVault": "2026-02-01"}

_KEY_VAULT_OBJECTS = {"microsoft.keyvault/vaults/keys": "Key", "microsoft.keyvault/vaults/secrets": "Secret"}
_VERSIONS = {f"{kind}/versions": name for kind, name in _KEY_VAULT_OBJECTS.items()}
_ARM_SECTIONS = (Section.RESOURCES, Section.ROLE_ASSIGNMENTS, Section.ROLE_DEFINITIONS, Section.DENY_ASSIGNMENTS)


class ChangeEvents:
    """Raises the events of one tenant's changes. Ids are deterministic: the same changes give the same events."""

    def __init__(self) -> None:
        self._count = 0

    def raised_by(self, change: AppliedChange, tenant: Tenant, actor: Mapping[str, str] | None, at: datetime) -> list[JsonObject]:
        """The raw events, Event Grid schema, in the order in which Azure delivers them. `at` is aware."""
        self._count += 1
        kind = change.id.resource_type
        if change.address.section not in _ARM_SECTIONS or change.id.subscription_id is None:
            return []
        if kind in _KEY_VAULT_OBJECTS or kind in _VERSIONS:
            return self._new_version(change, tenant, at)
        if change.address.section is Section.DENY_ASSIGNMENTS and _is_system_protected(change):
            return []
        events = [self._arm(change, tenant, actor, at)]
        if (
            kind == VAULT
            and change.before is not None
            and change.after is not None
            and _policy_changed(change.before, change.after)
        ):
            events.append(
                self._key_vault(change.id, "VaultAccessPolicyChanged", _policy_data(change, tenant), change.id.name, at)
            )
        return events

    def _identifier(self, what: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{what}/{self._count}"))

    def _arm(self, change: AppliedChange, tenant: Tenant, actor: Mapping[str, str] | None, at: datetime) -> JsonObject:
        resource_type = full_type(change.id)
        word = "delete" if change.verb == "delete" else "write"
        operation = f"{resource_type}/{word}"
        subscription = change.id.parts[1]
        data: JsonObject = {
            "authorization": {
                "scope": str(change.id),
                "action": operation,
                "evidence": _evidence(actor, subscription),
            },
            "claims": _claims(tenant, actor),
            "correlationId": self._identifier("correlation"),
        }
        # ARM tells the request only when it updates an existing resource or deletes one.
        if change.before is not None or change.verb == "delete":
            version = _API_VERSIONS.get(resource_type.split("/", 1)[0], "2024-04-01")
            data["httpRequest"] = {
                "clientRequestId": self._identifier("request"),
                "clientIpAddress": (actor or {}).get("ip", "203.0.113.1"),
                "method": {"delete": "DELETE", "merge": "PATCH", "put": "PUT"}[change.verb],
                "url": f"https://{RESOURCE_MANAGER[tenant.cloud]}{change.id}?api-version={version}",
            }
        data |= {
            "resourceProvider": resource_type.split("/", 1)[0],
            "resourceUri": str(change.id),
            "operationName": operation,
            "status": "Succeeded",
            "subscriptionId": subscription,
            "tenantId": tenant.tenant_id,
        }
        return {
            "id": self._identifier("arm"),
            "topic": f"/subscriptions/{subscription}",
            "subject": str(change.id),
            "eventType": f"Microsoft.Resources.Resource{word.capitalize()}Success",
            "eventTime": _event_time(at),
            "data": data,
            "dataVersion": "2",
            "metadataVersion": "1",
        }

    def _new_version(self, change: AppliedChange, tenant: Tenant, at: datetime) -> list[JsonObject]:
        """Data-plane operations: only a new version is told; attributes, disabling and deletion are not (azure-facts 3.2)."""
        if change.after is None:
            return []
        kind = change.id.resource_type
        if kind in _VERSIONS:
            if change.before is not None:
                return []
            subject, version = change.id.parts[-3], change.id.name
        else:
            subject, version = change.id.name, key_version(tenant, change.id, change.after)
            if change.before is not None and key_version(tenant, change.id, change.before) == version:
                return []
        vault = change.id.up_to(VAULT)
        assert vault is not None
        object_type = _KEY_VAULT_OBJECTS.get(kind) or _VERSIONS[kind]
        data: JsonObject = {
            "Id": f"{object_uri(tenant, vault, 'keys' if object_type == 'Key' else 'secrets', subject)}/{version}",
            "VaultName": vault.name,
            "ObjectType": object_type,
            "ObjectName": subject,
            "Version": version,
            "NBF": member(change.after, "properties", "attributes", "nbf"),
            "EXP": member(change.after, "properties", "attributes", "exp"),
        }
        return [self._key_vault(vault, f"{object_type}NewVersionCreated", data, subject, at)]

    def _key_vault(self, vault: ResourceId, event: str, data: JsonObject, subject: str, at: datetime) -> JsonObject:
        return {
            "id": self._identifier("keyvault"),
            "topic": str(vault),
            "subject": subject,
            "eventType": f"Microsoft.KeyVault.{event}",
            "eventTime": _event_time(at),
            "data": data,
            "dataVersion": "1",
            "metadataVersion": "1",
        }


def _policy_data(change: AppliedChange, tenant: Tenant) -> JsonObject:
    return {
        "Id": object_uri(tenant, change.id),
        "VaultName": change.id.name,
        "ObjectType": "Vault",
        "ObjectName": change.id.name,
        "Version": "",
        "NBF": None,
        "EXP": None,
    }


def _policy_changed(before: JsonObject, after: JsonObject) -> bool:
    def model(vault: JsonObject) -> bool:
        return member(vault, "properties", "enableRbacAuthorization") is True

    return model(before) != model(after) or items(before, "properties", "accessPolicies") != items(
        after, "properties", "accessPolicies"
    )


def _is_system_protected(change: AppliedChange) -> bool:
    return any(member(body, "properties", "isSystemProtected") is True for body in (change.before, change.after))


def _claims(tenant: Tenant, actor: Mapping[str, str] | None) -> JsonObject:
    claims: JsonObject = {
        "aud": "https://management.core.windows.net/",
        "iss": f"https://sts.windows.net/{tenant.tenant_id}/",
        f"{_CLAIM}tenantid": tenant.tenant_id,
    }
    given = actor or {}
    named = {
        f"{_CLAIM}objectidentifier": given.get("objectId"),
        f"{_SOAP}upn": given.get("upn"),
        f"{_SOAP}name": given.get("upn"),
        "name": given.get("upn"),
        "appid": given.get("appId"),
        "ipaddr": given.get("ip"),
    }
    return claims | {name: value for name, value in named.items() if value}


def _evidence(actor: Mapping[str, str] | None, subscription: str) -> JsonObject:
    """The caller's own role, not the changed assignment (azure-facts 3.4)."""
    evidence: JsonObject = {"role": "Owner", "roleAssignmentScope": f"/subscriptions/{subscription}"}
    if actor and actor.get("objectId"):
        evidence["principalId"] = actor["objectId"]
        evidence["principalType"] = "User" if actor.get("upn") else "ServicePrincipal"
    return evidence


def _event_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
