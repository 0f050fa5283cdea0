"""Events as Azure would send them, built for tests; the shapes are those that Microsoft documents, the values are ours."""

from __future__ import annotations

from collections.abc import Mapping

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg1"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv1"
KEY = f"{VAULT}/keys/key1"
SECRET = f"{VAULT}/secrets/secret1"
ASSIGNMENT = "providers/Microsoft.Authorization/roleAssignments/11111111-1111-1111-1111-111111111111"
TIME = "2026-01-01T00:00:00.1234567Z"

OBJECT_ID_CLAIM = "http://schemas.microsoft.com/identity/claims/objectidentifier"
UPN_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"

CLAIMS: Mapping[str, object] = {
    "aud": "https://management.core.windows.net/",
    "appid": "44444444-4444-4444-4444-444444444444",
    "ipaddr": "203.0.113.5",
    "name": "Key admin",
    OBJECT_ID_CLAIM: "55555555-5555-5555-5555-555555555555",
    UPN_CLAIM: "admin@contoso.com",
}

type Event = dict[str, object]


def event_grid(event_type: str, data: object, *, topic: object, subject: object, **changes: object) -> Event:
    """An event in Event Grid's schema; `changes` replaces members of the envelope."""
    return {
        "id": "00000000-0000-0000-0000-0000000000e1",
        "topic": topic,
        "subject": subject,
        "eventType": event_type,
        "eventTime": TIME,
        "data": data,
        "dataVersion": "1",
        "metadataVersion": "1",
        **changes,
    }


def key_vault_event(kind: str, *, object_type: object = "Key", object_name: object = "key1", **changes: object) -> Event:
    """A `Microsoft.KeyVault.{kind}` event of the vault `kv1`."""
    data = {
        "Id": "https://kv1.vault.azure.net/keys/key1/ee059b2bb5bc48398a53b168c6cdcb10",
        "VaultName": "kv1",
        "ObjectType": object_type,
        "ObjectName": object_name,
        "Version": "ee059b2bb5bc48398a53b168c6cdcb10",
        "NBF": "1559081980",
        "EXP": "1559082102",
    }
    members: dict[str, object] = {"data": data, "topic": VAULT, "subject": "key1", **changes}
    return event_grid(f"Microsoft.KeyVault.{kind}", **members)


def resource_event(operation: str, resource: str, kind: str = "WriteSuccess", **data: object) -> Event:
    """A `Microsoft.Resources.Resource{kind}` event; `data` replaces members of its data."""
    full = {
        "authorization": {"scope": resource, "action": operation, "evidence": {"role": "Owner"}},
        "claims": dict(CLAIMS),
        "correlationId": "66666666-6666-6666-6666-666666666666",
        "httpRequest": {"clientIpAddress": "203.0.113.9", "method": "PUT"},
        "resourceProvider": operation.partition("/")[0],
        "resourceUri": resource,
        "operationName": operation,
        "status": "Succeeded",
        "subscriptionId": SUBSCRIPTION.rpartition("/")[2],
        **data,
    }
    return event_grid(f"Microsoft.Resources.Resource{kind}", full, topic=SUBSCRIPTION, subject=resource)


def as_cloud_event(event: Mapping[str, object]) -> Event:
    """The same event as CloudEvents 1.0 delivers it: no dataVersion, no metadataVersion."""
    names = {"topic": "source", "eventType": "type", "eventTime": "time", "id": "id", "subject": "subject", "data": "data"}
    return {"specversion": "1.0", **{names[name]: value for name, value in event.items() if name in names}}
