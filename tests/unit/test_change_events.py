"""Which events Azure raises for a change, and which it does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keydrift.errors import ConfigError
from keydrift_local.documents import JsonObject, member
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
SUB = f"/subscriptions/{SUBSCRIPTION}"
RG = f"{SUB}/resourceGroups/rg1"
KV1 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv1"
HSM = f"{RG}/providers/Microsoft.KeyVault/managedHSMs/hsm1"
MG = "/providers/Microsoft.Management/managementGroups/mg1"
TOPICS = f"{SUB}/resourceGroups/events/providers/Microsoft.EventGrid/systemTopics"
ACTOR = {"objectId": "actor-oid", "upn": "admin@contoso.com", "appId": "app", "ip": "203.0.113.5"}
WRITE, DELETE = "Microsoft.Resources.ResourceWriteSuccess", "Microsoft.Resources.ResourceDeleteSuccess"
POLICY, NEW_KEY = "Microsoft.KeyVault.VaultAccessPolicyChanged", "Microsoft.KeyVault.KeyNewVersionCreated"


def role(scope: str) -> JsonObject:
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/r1",
        "properties": {"principalId": "p1", "roleDefinitionId": "d1", "scope": scope},
    }


def azure(*more: JsonObject) -> LocalAzure:
    document: JsonObject = {
        "tenantId": "t",
        "resources": [
            {"id": KV1, "location": "westeurope", "properties": {"accessPolicies": [], "enableRbacAuthorization": False}},
            {"id": f"{KV1}/keys/k1", "properties": {"keyUriWithVersion": "https://kv1.vault.azure.net/keys/k1/v1"}},
            {"id": HSM},
            *more,
        ],
        "managementGroups": [{"id": MG, "subscriptions": [SUBSCRIPTION]}],
        "roleAssignments": [role(KV1), role(MG), role("/")],
        "denyAssignments": [
            {"id": f"{KV1}/providers/Microsoft.Authorization/denyAssignments/d1", "properties": {"isSystemProtected": True}},
            {"id": f"{KV1}/providers/Microsoft.Authorization/denyAssignments/d2", "properties": {}},
        ],
        "directory": {"servicePrincipals": [{"id": "sp"}], "groups": [{"id": "g", "members": ["sp"]}]},
        "managedHsms": {HSM: {"keys": [{"name": "k1"}]}},
    }
    return LocalAzure(parse_tenant(document, "test"), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            {"delete": role(KV1)["id"]}, [(DELETE, "Microsoft.Authorization/roleAssignments/delete")], id="role deleted"
        ),
        pytest.param(
            {"put": role(f"{KV1}/keys/k1")}, [(WRITE, "Microsoft.Authorization/roleAssignments/write")], id="role on a key"
        ),
        pytest.param(
            {"put": role(SUB)}, [(WRITE, "Microsoft.Authorization/roleAssignments/write")], id="role on the subscription"
        ),
        pytest.param({"delete": role(MG)["id"]}, [], id="role at a management group"),
        pytest.param({"delete": role("/")["id"]}, [], id="role at the root"),
        pytest.param(
            {"merge": {"id": KV1, "properties": {"enableRbacAuthorization": True}}},
            [(WRITE, "Microsoft.KeyVault/vaults/write"), (POLICY, None)],
            id="permission model",
        ),
        pytest.param(
            {"merge": {"id": KV1, "properties": {"accessPolicies": [{"objectId": "o", "permissions": {}}]}}},
            [(WRITE, "Microsoft.KeyVault/vaults/write"), (POLICY, None)],
            id="access policy",
        ),
        pytest.param(
            {"merge": {"id": KV1, "properties": {"publicNetworkAccess": "Disabled", "enableRbacAuthorization": None}}},
            [(WRITE, "Microsoft.KeyVault/vaults/write")],
            id="firewall alone; false and absent are one model",
        ),
        pytest.param({"delete": KV1}, [(DELETE, "Microsoft.KeyVault/vaults/delete")], id="vault with all in it"),
        pytest.param({"delete": RG}, [(DELETE, "Microsoft.Resources/subscriptions/resourceGroups/delete")], id="resource group"),
        pytest.param(
            {"delete": HSM.lower()}, [(DELETE, "Microsoft.KeyVault/managedHSMs/delete")], id="HSM, spelled in lower case"
        ),
        pytest.param({"put": {"id": f"{KV1}/keys/k2"}}, [(NEW_KEY, None)], id="new key"),
        pytest.param({"put": {"id": f"{KV1}/keys/k1/versions/v2"}}, [(NEW_KEY, None)], id="new version"),
        pytest.param(
            {"put": {"id": f"{KV1}/secrets/s1"}}, [("Microsoft.KeyVault.SecretNewVersionCreated", None)], id="new secret"
        ),
        pytest.param(
            {"merge": {"id": f"{KV1}/keys/k1", "properties": {"keyUriWithVersion": "https://kv1.vault.azure.net/keys/k1/v2"}}},
            [(NEW_KEY, None)],
            id="rotated key",
        ),
        pytest.param(
            {"merge": {"id": f"{KV1}/keys/k1", "properties": {"attributes": {"enabled": False}}}}, [], id="key disabled"
        ),
        pytest.param({"delete": f"{KV1}/keys/k1"}, [], id="key deleted"),
        pytest.param({"delete": f"{HSM}/keys/k1"}, [], id="HSM key"),
        pytest.param(
            {"put": {"id": f"{HSM}/roleAssignments/a", "properties": {"principalId": "p", "roleDefinitionId": "r"}}},
            [],
            id="HSM role",
        ),
        pytest.param({"delete": "directory/servicePrincipals/sp"}, [], id="service principal"),
        pytest.param({"merge": {"id": "directory/groups/g", "members": []}}, [], id="group"),
        pytest.param({"merge": {"id": MG, "subscriptions": []}}, [], id="management group"),
        pytest.param({"delete": f"{KV1}/providers/Microsoft.Authorization/denyAssignments/d1"}, [], id="system deny assignment"),
        pytest.param(
            {"delete": f"{KV1}/providers/Microsoft.Authorization/denyAssignments/d2"},
            [(DELETE, "Microsoft.Authorization/denyAssignments/delete")],
            id="deny assignment",
        ),
    ],
)
def test_a_change_raises_exactly_azures_events(change: JsonObject, expected: list[tuple[str, str | None]]) -> None:
    """The event types and operations of a change, in order of delivery, and nothing more."""
    raised = azure().change(change)
    assert [(each["eventType"], member(each, "data", "operationName")) for each in raised] == expected


def test_an_arm_event_has_azures_shape() -> None:
    """Topic, subject, claims and request stand where Azure puts them."""
    (event,) = azure().change({"delete": role(KV1)["id"]}, ACTOR)
    assert (event["topic"], event["subject"], event["dataVersion"]) == (SUB, role(KV1)["id"], "2")
    assert event["eventTime"] == "2026-01-01T00:00:00.0000000Z"
    assert member(event, "data", "resourceUri") == event["subject"] == member(event, "data", "authorization", "scope")
    claims = member(event, "data", "claims")
    assert isinstance(claims, dict)
    assert claims["http://schemas.microsoft.com/identity/claims/objectidentifier"] == "actor-oid"
    assert claims["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"] == claims["name"] == "admin@contoso.com"
    assert (claims["appid"], claims["ipaddr"]) == ("app", "203.0.113.5")
    assert member(event, "data", "httpRequest", "method") == "DELETE"


def test_an_event_without_an_actor_still_has_claims() -> None:
    """Claims are an object that names the token's issuer even where nobody is named."""
    (event,) = azure().change({"put": role(SUB)})
    claims = member(event, "data", "claims")
    assert isinstance(claims, dict)
    assert sorted(claims) == ["aud", "http://schemas.microsoft.com/identity/claims/tenantid", "iss"]
    assert member(event, "data", "httpRequest") is None


def test_a_policy_event_names_nobody() -> None:
    """VaultAccessPolicyChanged has the vault as its topic and no claims at all."""
    _, event = azure().change({"merge": {"id": KV1, "properties": {"enableRbacAuthorization": True}}}, ACTOR)
    assert (event["topic"], event["subject"], event["dataVersion"]) == (KV1, "kv1", "1")
    assert event["data"] == {
        "Id": "https://kv1.vault.azure.net",
        "VaultName": "kv1",
        "ObjectType": "Vault",
        "ObjectName": "kv1",
        "Version": "",
        "NBF": None,
        "EXP": None,
    }


def test_a_new_version_names_key_and_version() -> None:
    """KeyNewVersionCreated carries the address of the version."""
    (event,) = azure().change({"put": {"id": f"{KV1}/keys/k1/versions/v2", "properties": {"attributes": {"exp": 9}}}})
    data = event["data"]
    assert isinstance(data, dict)
    assert (data["Id"], data["ObjectName"], data["Version"], data["EXP"]) == (
        "https://kv1.vault.azure.net/keys/k1/v2",
        "k1",
        "v2",
        9,
    )


def test_the_same_changes_give_the_same_events() -> None:
    """Event and correlation ids are deterministic and differ from one another."""
    changes: list[JsonObject] = [{"put": role(SUB)}, {"delete": role(SUB)["id"]}, {"delete": KV1}]
    one, other = azure(), azure()
    first = [event for change in changes for event in one.change(change)]
    assert first == [event for change in changes for event in other.change(change)]
    assert len({event["id"] for event in first}) == len({str(member(event, "data", "correlationId")) for event in first}) == 3


def test_silent_withholds_the_events_and_not_the_change() -> None:
    """A silent change is applied."""
    simulated = azure()
    assert simulated.change({"delete": KV1}, silent=True) == []
    with pytest.raises(ConfigError):
        simulated.change({"delete": KV1})


def topic(name: str, source: str, **properties: object) -> tuple[JsonObject, JsonObject]:
    return (
        {"id": f"{TOPICS}/{name}", "properties": {"source": source}},
        {"id": f"{TOPICS}/{name}/eventSubscriptions/s", "properties": properties},
    )


def operation(operator: str, *values: str) -> JsonObject:
    return {"advancedFilters": [{"operatorType": operator, "key": "data.operationName", "values": list(values)}]}


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        pytest.param({}, True, id="no filter"),
        pytest.param({"includedEventTypes": [WRITE.upper()]}, True, id="event type, any case"),
        pytest.param({"includedEventTypes": [DELETE]}, False, id="another event type"),
        pytest.param({"subjectBeginsWith": RG.upper()}, True, id="subject begins"),
        pytest.param({"subjectBeginsWith": RG.upper(), "isSubjectCaseSensitive": True}, False, id="subject begins, by case"),
        pytest.param({"subjectEndsWith": "/kv"}, False, id="subject ends"),
        pytest.param(operation("StringIn", "microsoft.keyvault/vaults/write"), True, id="in"),
        pytest.param(operation("StringIn", "Microsoft.KeyVault/vaults"), False, id="in is whole"),
        pytest.param(operation("StringBeginsWith", "Microsoft.Compute/", "Microsoft.KeyVault/"), True, id="begins with one of"),
        pytest.param(operation("StringEndsWith", "/delete"), False, id="ends with"),
        pytest.param(operation("StringContains", "VAULTS"), True, id="contains"),
        pytest.param(operation("StringNotIn", "Microsoft.KeyVault/vaults/write"), False, id="not in"),
        pytest.param(
            {"advancedFilters": [{"operatorType": "StringNotIn", "key": "data.none", "values": ["x"]}]},
            True,
            id="key missing, not in",
        ),
        pytest.param(
            {"advancedFilters": [{"operatorType": "StringIn", "key": "data.none", "values": ["x"]}]}, False, id="key missing, in"
        ),
    ],
)
def test_event_subscriptions_filter(rules: JsonObject, *, passes: bool) -> None:
    """A subscription lets through what Event Grid's filters let through."""
    simulated = azure(*topic("sub", SUB.upper(), filter=rules))
    raised = simulated.change({"merge": {"id": KV1, "tags": {"a": "b"}}})
    assert len(raised) == (1 if passes else 0)


def test_only_subscribed_topics_deliver() -> None:
    """With any system topic there, an event reaches those subscribed to its own topic, each in its own schema."""
    simulated = azure(
        *topic("kv1", KV1, eventDeliverySchema="CloudEventSchemaV1_0"), *topic("other", KV1 + "0"), topic("unheard", SUB)[0]
    )
    (event,) = simulated.change({"merge": {"id": KV1, "properties": {"enableRbacAuthorization": True}}})
    assert (event["type"], event["source"], event["specversion"]) == (POLICY, KV1, "1.0")
    assert "eventType" not in event


def test_a_deleted_topic_falls_silent() -> None:
    """A tenant whose last system topic is deleted is not fully subscribed again."""
    simulated = azure(*topic("sub", SUB))
    assert len(simulated.change({"put": role(SUB)})) == 1
    simulated.change({"delete": f"{TOPICS}/sub"})
    assert simulated.change({"delete": role(SUB)["id"]}) == []


def test_a_deleted_vault_no_longer_speaks() -> None:
    """A vault's own topic goes with it; the subscription's tells of the deletion."""
    simulated = azure(*topic("kv1", KV1), *topic("sub", SUB))
    assert [event["eventType"] for event in simulated.change({"delete": KV1})] == [DELETE]
    simulated.change({"put": {"id": KV1, "location": "westeurope"}})
    changed = simulated.change({"merge": {"id": KV1, "properties": {"enableRbacAuthorization": True}}})
    assert [event["eventType"] for event in changed] == [WRITE]
