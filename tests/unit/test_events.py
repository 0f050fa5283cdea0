"""Which events become notices, about what and by whom; which are not ours; and what is said of those that cannot be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from keydrift.errors import DecodeError
from keydrift.events import MOST_EVENTS, Canary, Decoded, NotOurs, Undecodable, decode, decode_one
from keydrift.model import Actor, ChangeNotice
from keydrift.resource_id import ResourceId
from support.events import (
    ASSIGNMENT,
    CLAIMS,
    GROUP,
    KEY,
    OBJECT_ID_CLAIM,
    SECRET,
    SUBSCRIPTION,
    UPN_CLAIM,
    VAULT,
    Event,
    as_cloud_event,
    event_grid,
    key_vault_event,
    resource_event,
)


def notice(event: object) -> ChangeNotice:
    decoded = decode_one(event)
    assert isinstance(decoded, ChangeNotice)
    return decoded


def sole(payload: object) -> Decoded:
    (decoded,) = decode(payload)
    return decoded


def refusal(event: object) -> str:
    """The JSON path of what is wrong with an event."""
    with pytest.raises(DecodeError) as caught:
        decode_one(event)
    return caught.value.path


def without(event: Event, *names: str) -> Event:
    return {name: value for name, value in event.items() if name not in names}


# --- Key Vault's own events ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "object_type", "object_name", "expected"),
    [
        ("VaultAccessPolicyChanged", "", "", VAULT),
        ("VaultAccessPolicyChanged", None, None, VAULT),
        ("VaultAccessPolicyChanged", "Vault", "kv1", VAULT),
        ("VaultAccessPolicyChanged", "Key", "key1", VAULT),
        ("KeyNewVersionCreated", "Key", "key1", KEY),
        ("KeyNearExpiry", "Key", "key1", KEY),
        ("KeyExpired", "Key", "key1", KEY),
        ("KeyExpired", " key ", " key1 ", KEY),
        ("KeyExpired", "Key", None, KEY),  # the address says it
        ("KeyExpired", None, "key1", KEY),
        ("KeyExpired", 7, ["key1"], KEY),
        ("KeyExpired", "Key", "key1/../../kv2", VAULT),  # no name of a key: the vault is still certain
        ("KeyExpired", "Key", "key1?x", VAULT),
        ("SecretNewVersionCreated", "Secret", "secret1", SECRET),
        ("SecretNearExpiry", "SECRET", "secret1", SECRET),
        ("SecretExpired", "Secret", "secret1", SECRET),
    ],
)
def test_a_key_vault_event_is_about_its_vault_or_object(
    kind: str, object_type: object, object_name: object, expected: str
) -> None:
    """Each of the seven Key Vault events names the vault of its topic, and the object where it says one."""
    found = notice(key_vault_event(kind, object_type=object_type, object_name=object_name))
    assert (found.event_type, found.operation) == (f"Microsoft.KeyVault.{kind}",) * 2
    assert str(found.resource_id) == expected
    assert found.actor is None


@pytest.mark.parametrize(
    "kind",
    ["CertificateNewVersionCreated", "CertificateNearExpiry", "CertificateExpired", "VaultAccessPolicyChangedX", "KeyRotated"],
)
def test_other_key_vault_events_are_not_ours(kind: str) -> None:
    """Certificates, and types whose name only begins like one of ours, raise no recheck."""
    assert isinstance(decode_one(key_vault_event(kind)), NotOurs)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, VAULT),
        ("", VAULT),
        ("no object", VAULT),
        ([], VAULT),
        ({}, VAULT),
        ({"Id": "https://kv1.vault.azure.net/secrets/secret1"}, SECRET),
        ({"Id": "https://kv1.vault.azure.net/certificates/cert1"}, VAULT),
        ({"Id": "not an address"}, VAULT),
        ({"ObjectName ": "secret1", "objecttype": "Secret", "Version": " ee05", "NBF": None}, SECRET),
        ({" OBJECTNAME": "secret1", "ObjectType\t": "secret", "NBF": 1559081980, "EXP": "soon"}, SECRET),
        ({"ObjectName": None, "ObjectName ": "secret1", "ObjectType": "Secret"}, SECRET),
        ({"ObjectName": "", "ObjectName ": "secret1", "ObjectType": "Secret"}, SECRET),
        ({"ObjectName": "secret1", "ObjectName ": "other", "ObjectType": "Secret"}, SECRET),
        ({"ObjectName": "secret1", "ObjectType": "Secret", "NBF": {}, "EXP": [1e400]}, SECRET),
        ('{"ObjectName ": "secret1", "ObjectType": "Secret"}', SECRET),
    ],
)
def test_loosely_spelled_data_loses_no_key_vault_event(data: object, expected: str) -> None:
    """Member names with blanks, numbers as strings, and no data at all still leave the vault, and the object where it is said."""
    assert str(notice(key_vault_event("SecretNearExpiry", data=data)).resource_id) == expected


@pytest.mark.parametrize(
    ("topic", "subject", "expected"),
    [
        (VAULT.upper(), "key1", f"{VAULT.upper()}/keys/key1"),
        (f" {VAULT}/ ", "key1", KEY),
        (f"{VAULT}/keys/other", "key1", KEY),  # the vault part of it
        (None, VAULT, KEY),
        ("  ", KEY, KEY),
    ],
)
def test_the_vault_stands_in_the_topic_else_in_the_subject(topic: object, subject: str, expected: str) -> None:
    """The topic's ARM id is the key, in any letter case; where there is none, a subject that names a vault will do."""
    assert str(notice(key_vault_event("KeyExpired", topic=topic, subject=subject)).resource_id) == expected


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        (f"{GROUP}/providers/Microsoft.EventGrid/topics/custom", "key1"),
        (f"{GROUP}/providers/Microsoft.EventGrid/topics/custom", VAULT),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaultsX/kv1", "key1"),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults", "key1"),
        (f"{GROUP}/providers/Microsoft.KeyVault/kv1", "key1"),
        (SUBSCRIPTION, "key1"),
        (None, "kv1/keys/key1"),
        (None, None),
        (["list"], VAULT),
        ("https://kv1.vault.azure.net", "key1"),
    ],
)
def test_a_key_vault_event_without_a_vault_names_the_topic(topic: object, subject: object) -> None:
    """A topic that is no vault (an event sent again through a custom topic) is an error at `$.topic`, or `$.source`."""
    event = key_vault_event("KeyExpired", topic=topic, subject=subject)
    assert refusal(event) == "$.topic"
    assert refusal(as_cloud_event(event)) == "$.source"


# --- resource events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.Authorization/roleAssignments/delete",
        "MICROSOFT.AUTHORIZATION/ROLEASSIGNMENTS/DELETE",
        " microsoft.authorization/roleassignments/write ",
        "Microsoft.Authorization/roleDefinitions/write",
        "Microsoft.Authorization/denyAssignments/delete",
        "Microsoft.KeyVault/vaults/write",
        "Microsoft.KeyVault/vaults/delete",
        "Microsoft.KeyVault/vaults/accessPolicies/write",
        "Microsoft.KeyVault/vaults/keys/write",
        "Microsoft.KeyVault/managedHSMs/delete",
        "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
        "Microsoft.DataProtection/backupVaults/write",
        "Microsoft.RecoveryServices/vaults/delete",
        "Microsoft.RecoveryServices/vaults/backupEncryptionConfigs/write",
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/delete",
        "Microsoft.Compute/diskEncryptionSets/write",
        "Microsoft.Compute/virtualMachines/write",
        "Microsoft.Compute/virtualMachines/extensions/write",
        "Microsoft.Compute/disks/delete",
        "Microsoft.Resources/subscriptions/resourceGroups/delete",
        "Microsoft.Resources/subscriptions/resourceGroups/moveResources/action",
    ],
)
def test_operations_that_can_take_a_key_away_are_noticed(operation: str) -> None:
    """Each operation of the table is noticed, in any letter case, with its name as it was spelled."""
    found = notice(resource_event(operation, VAULT))
    assert (found.operation, str(found.resource_id)) == (operation.strip(), VAULT)


@pytest.mark.parametrize(
    "operation",
    [
        "Microsoft.Authorization/locks/write",
        "Microsoft.Authorization/elevateAccess/action",
        "Microsoft.Authorization/roleAssignmentsX/write",
        "Microsoft.Authorization/roleAssignments/read",
        "XMicrosoft.Authorization/roleAssignments/write",
        "Microsoft.Authorization/policyAssignments/roleAssignments/write",
        "Microsoft.KeyVault/vaultsX/write",
        "Microsoft.KeyVaultX/vaults/write",
        "Microsoft.KeyVault/write",
        "Microsoft.KeyVault/vaults",
        "Microsoft.KeyVault/vaults/deploy/action",
        "Microsoft.KeyVault/vaults/writeX",
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/backup/action",
        "Microsoft.Compute/virtualMachines/start/action",
        "Microsoft.Compute/virtualMachines/deallocate/action",
        "Microsoft.Compute/virtualMachineScaleSets/write",
        "Microsoft.Compute/disks/beginGetAccess/action",
        "Microsoft.Resources/subscriptions/resourceGroups/write",
        "Microsoft.Resources/subscriptions/resourceGroups/deployments/delete",
        "Microsoft.Resources/subscriptions/resourceGroups/validateMoveResources/action",
        "Microsoft.Storage/storageAccounts/Microsoft.KeyVault/vaults/write",
    ],
)
def test_other_operations_are_not_ours(operation: str) -> None:
    """Operations are matched segment by segment, and only where they change something."""
    assert isinstance(decode_one(resource_event(operation, VAULT)), NotOurs)


@pytest.mark.parametrize("outcome", ["Failure", "Cancel"])
@pytest.mark.parametrize("kind", ["Write", "Delete", "Action"])
def test_what_did_not_happen_is_not_ours(kind: str, outcome: str) -> None:
    """A failed or cancelled operation changed nothing, whatever its status says."""
    assert isinstance(decode_one(resource_event("Microsoft.KeyVault/vaults/write", VAULT, kind + outcome)), NotOurs)


@pytest.mark.parametrize("kind", ["WriteSuccess", "DeleteSuccess", "ActionSuccess"])
def test_the_three_successes_are_noticed(kind: str) -> None:
    """Write, delete and action events carry the same data."""
    assert (
        notice(resource_event("Microsoft.KeyVault/vaults/write", VAULT, kind)).event_type == f"Microsoft.Resources.Resource{kind}"
    )


@pytest.mark.parametrize("scope", ["", SUBSCRIPTION, GROUP, VAULT, KEY, "/providers/Microsoft.Management/managementGroups/mg1"])
def test_a_role_assignment_event_is_about_the_assignment(scope: str) -> None:
    """The notice keeps the assignment's id; the caller's own grant in the evidence is never taken for it."""
    own = {"role": "Owner", "roleAssignmentScope": "/", "roleAssignmentId": "77777777777777777777777777777777"}
    event = resource_event(
        "Microsoft.Authorization/roleAssignments/delete",
        f"{scope}/{ASSIGNMENT}",
        "DeleteSuccess",
        authorization={"evidence": own},
    )
    assert str(notice(event).resource_id) == f"{scope}/{ASSIGNMENT}"


@pytest.mark.parametrize(
    "authorization",
    [
        {"action": "Microsoft.KeyVault/vaults/delete"},
        {"Action ": " Microsoft.KeyVault/vaults/delete "},
        '{"action": "Microsoft.KeyVault/vaults/delete"}',
    ],
)
@pytest.mark.parametrize("operation", [None, "", " ", 7])
def test_the_operation_may_stand_in_the_authorization(authorization: object, operation: object) -> None:
    """Where operationName is missing, the authorization's action tells it, be it an object or a string of one."""
    event = resource_event("x", VAULT, authorization=authorization, operationName=operation)
    assert notice(event).operation == "Microsoft.KeyVault/vaults/delete"


def test_the_operation_outweighs_the_authorization() -> None:
    """The authorization's action is what was asked of the caller, which may be wider than what was done."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, authorization={"action": "Microsoft.KeyVault/vaults/delete"})
    assert notice(event).operation == "Microsoft.KeyVault/vaults/write"


def test_claims_in_a_key_vault_event_name_nobody() -> None:
    """Key Vault's own events carry no caller, so one that does is not believed: the ARM event of the change names him."""
    assert notice(key_vault_event("KeyExpired", data={"claims": dict(CLAIMS)})).actor is None


@pytest.mark.parametrize("authorization", [None, "", "{azure_resource_manager_authorizations}", [], 3, {"action": None}])
def test_an_unreadable_authorization_loses_no_notice(authorization: object) -> None:
    """Only where nothing tells the operation is the event refused."""
    assert notice(resource_event("Microsoft.KeyVault/vaults/write", VAULT, authorization=authorization))
    nameless = resource_event("Microsoft.KeyVault/vaults/write", VAULT, authorization=authorization, operationName=None)
    assert refusal(nameless) == "$.data.operationName"


@pytest.mark.parametrize(
    ("uri", "subject", "expected"),
    [
        (VAULT, KEY, VAULT),
        (f" {VAULT}/", KEY, VAULT),
        (None, VAULT, VAULT),
        ("", VAULT, VAULT),
        ("https://management.azure.com/x", VAULT, VAULT),
        ("/", VAULT, VAULT),
        (VAULT.upper(), None, VAULT.upper()),
    ],
)
def test_the_resource_stands_in_the_data_else_in_the_subject(uri: object, subject: object, expected: str) -> None:
    """The subject stands in for a resourceUri that is missing or no ARM id."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, resourceUri=uri) | {"subject": subject}
    assert str(notice(event).resource_id) == expected


@pytest.mark.parametrize("subject", [None, "", "kv1", "/", "/blobServices/default", "/subscriptions", {}])
def test_a_resource_event_without_a_resource_names_the_path(subject: object) -> None:
    """Where neither resourceUri nor subject is an ARM id, the error says where one was expected."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, resourceUri=None) | {"subject": subject}
    assert refusal(event) == "$.data.resourceUri"


@pytest.mark.parametrize("data", [None, "", "x", [], 1])
def test_a_resource_event_without_data_names_the_path(data: object) -> None:
    """Without data nothing tells the operation, and the subject is left as the hint."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT) | {"data": data}
    assert refusal(event) == "$.data"
    decoded = sole(event)
    assert isinstance(decoded, Undecodable)
    assert str(decoded.hint) == VAULT


# --- who ----------------------------------------------------------------------------------------------------------------

CALLER = Actor(
    object_id="55555555-5555-5555-5555-555555555555",
    name="admin@contoso.com",
    app_id="44444444-4444-4444-4444-444444444444",
    ip="203.0.113.5",
)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (CLAIMS, CALLER),
        (json.dumps(CLAIMS), CALLER),
        ({f" {name.upper()} ": value for name, value in CLAIMS.items()}, CALLER),
        ({name: value for name, value in CLAIMS.items() if name != UPN_CLAIM}, Actor(
            object_id=CALLER.object_id, app_id=CALLER.app_id, ip=CALLER.ip
        )),
        ({OBJECT_ID_CLAIM: "o1", "appid": "a1"}, Actor(object_id="o1", app_id="a1", ip="203.0.113.9")),
        ({UPN_CLAIM: "  ", "name": " Key admin "}, Actor(ip="203.0.113.9")),
        ({"name": 7, "appid": None, OBJECT_ID_CLAIM: []}, Actor(ip="203.0.113.9")),
        ({"aud": "https://management.core.windows.net/"}, Actor(ip="203.0.113.9")),
        ({"xname": "Alex", "http://example.com/identity/claims/objectidentifier": "o1"}, Actor(ip="203.0.113.9")),
        (None, None),
        ("", None),
        (" ", None),
        ({}, None),
        ("{}", None),
        ("{azure_resource_manager_claims}", None),
        ("[" * 100_000, None),
        ([], None),
        (7, None),
    ],
)  # fmt: skip
def test_the_claims_name_the_actor(claims: object, expected: Actor | None) -> None:
    """Claims may be an object or a string of one; None means that there are none, and claims nobody can read lose no notice."""
    assert notice(resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims=claims)).actor == expected


def test_claims_that_name_nobody_are_still_claims() -> None:
    """An actor without a name is not the same as an event without claims: nobody will come later to name him."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims={"ver": "1.0"}, httpRequest=None)
    assert notice(event).actor == Actor()
    assert not Actor().is_named


@pytest.mark.parametrize(
    ("request_", "ip"),
    [
        ({"clientIpAddress": "203.0.113.9"}, "203.0.113.9"),
        ('{"ClientIPAddress ": "203.0.113.9"}', "203.0.113.9"),
        (None, None),
        ("", None),
        ({"clientIpAddress": None}, None),
        ("{azure", None),
    ],
)
def test_the_request_tells_the_address_where_the_claims_do_not(request_: object, ip: str | None) -> None:
    """httpRequest is there only for some operations, as an object or a string of one."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims={"appid": "a1"}, httpRequest=request_)
    assert notice(event).actor == Actor(app_id="a1", ip=ip)


@pytest.mark.parametrize(("value", "expected"), [("c1", "c1"), (" c1 ", "c1"), ("", None), (None, None), (7, None)])
def test_the_correlation_id_is_kept(value: object, expected: str | None) -> None:
    """The correlation id joins an event with the activity log, and is None where there is none."""
    assert notice(resource_event("Microsoft.KeyVault/vaults/write", VAULT, correlationId=value)).correlation_id == expected


# --- when and which -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00.1234567Z", datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC)),
        ("2026-01-01T00:00:00.9999999999999Z", datetime(2026, 1, 1, microsecond=999999, tzinfo=UTC)),
        ("2026-01-01T00:00:00.5Z", datetime(2026, 1, 1, microsecond=500000, tzinfo=UTC)),
        (" 2026-01-01t00:00:00z\n", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00+00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T01:30:00.1234567+02:00", datetime(2025, 12, 31, 23, 30, microsecond=123456, tzinfo=UTC)),
        ("2025-12-31T14:15:00-09:45", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-01-01T00:00:00+99:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("٢٠٢٦-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1767225600, None),
    ],
)
def test_times_are_utc_or_unknown_and_never_lose_a_notice(spelled: object, expected: datetime | None) -> None:
    """Seven digits, any offset and blanks are read; a time nobody can read is None, and the notice stands."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT) | {"eventTime": spelled}
    found = notice(event).occurred_at
    assert (found, found and found.tzinfo) == (expected, expected and UTC)
    assert notice(as_cloud_event(event)).occurred_at == expected


@pytest.mark.parametrize("missing", [None, "", "  ", 7])
def test_an_event_without_id_gets_one_of_its_content(missing: object) -> None:
    """The made-up id is the same for the same event, whatever the order of its members, and another for another event."""
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT) | {"id": missing}
    reordered = dict(reversed(event.items()))
    other = resource_event("Microsoft.KeyVault/vaults/delete", VAULT) | {"id": missing}
    made = notice(event).event_id
    assert len(made) == 64
    assert notice(reordered).event_id == made
    assert notice(other).event_id != made


def test_an_event_that_is_not_ours_needs_no_id() -> None:
    """Nothing is dead-lettered for the sake of an event that concerns nobody."""
    decoded = decode_one(without(event_grid("Microsoft.Storage.BlobCreated", {}, topic=SUBSCRIPTION, subject="x"), "id"))
    assert isinstance(decoded, NotOurs)
    assert (decoded.event_id, decoded.event_type) == (None, "Microsoft.Storage.BlobCreated")


def test_text_that_utf8_cannot_spell_is_made_storable() -> None:
    """Half a surrogate pair, which JSON can spell, neither fails nor reaches whoever stores the id."""
    decoded = sole(json.dumps(key_vault_event("KeyExpired", id="x\ud800", object_name="key1\udc00")))
    assert isinstance(decoded, ChangeNotice)
    assert decoded.event_id == "x?"
    str(decoded).encode("utf-8")


# --- envelopes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "reason"),
    [
        ("Microsoft.KeyVault.CertificateExpired", "certificates"),
        ("Microsoft.Resources.ResourceWriteFailure", "failed or was cancelled"),
        ("Microsoft.ResourceNotifications.Resources.CreatedOrUpdated", "resource notifications"),
        ("Microsoft.ResourceNotifications.Resources.Deleted", "resource notifications"),
        ("Microsoft.EventGrid.SubscriptionDeletedEvent", "subscription was deleted"),
        ("Microsoft.EventGrid.SubscriptionValidationEvent", "handshake"),
        ("Microsoft.Storage.BlobCreated", "no event type"),
        ("Microsoft.KeyVault", "no event type"),
        ("Contoso.Microsoft.KeyVault.KeyExpired", "no event type"),
    ],
)
def test_a_well_formed_event_of_another_kind_is_not_ours_with_a_reason(event_type: str, reason: str) -> None:
    """Whoever reads the log learns why an event was put aside."""
    event = event_grid(event_type, {"data_base64": "?"}, topic=VAULT, subject="x")
    for each in (event, as_cloud_event(event)):
        decoded = decode_one(each)
        assert isinstance(decoded, NotOurs)
        assert reason in decoded.reason


GOOD = key_vault_event("KeyExpired")
GOOD_CLOUD = as_cloud_event(GOOD)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (None, "$"),
        (7, "$"),
        ("", "$"),
        ("text", "$"),
        ([], "$"),
        ([GOOD], "$"),
        ({}, "$.eventType"),
        (without(GOOD, "eventType"), "$.eventType"),
        (GOOD | {"eventType": None}, "$.eventType"),
        (GOOD | {"eventType": " "}, "$.eventType"),
        (GOOD | {"eventType": 7}, "$.eventType"),
        (without(GOOD_CLOUD, "specversion"), "$.specversion"),
        (GOOD_CLOUD | {"specversion": "0.3"}, "$.specversion"),
        (GOOD_CLOUD | {"specversion": "1.0.1"}, "$.specversion"),
        (GOOD_CLOUD | {"specversion": None}, "$.specversion"),
        (without(GOOD_CLOUD, "type"), "$.type"),
        (GOOD_CLOUD | {"type": {}}, "$.type"),
        (without(GOOD_CLOUD, "source"), "$.source"),
        (GOOD_CLOUD | {"source": ""}, "$.source"),
    ],
)
def test_an_envelope_nobody_knows_names_the_path(event: object, path: str) -> None:
    """An event in neither schema is refused with the JSON path of what is missing or wrong."""
    assert refusal(event) == path


def test_cloud_events_may_carry_their_data_in_base64() -> None:
    """`data_base64` is read as JSON; where it is none, a Key Vault event still names its vault."""
    data = resource_event("Microsoft.KeyVault/vaults/delete", VAULT)["data"]
    cloud = as_cloud_event(resource_event("Microsoft.KeyVault/vaults/delete", VAULT))
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    assert decode_one(without(cloud, "data") | {"data_base64": encoded}) == decode_one(cloud)
    for broken in ("samplebinarydata", "%%%", "", 7, None):
        assert refusal(without(cloud, "data") | {"data_base64": broken}) == "$.data"
        assert str(notice(without(GOOD_CLOUD, "data") | {"data_base64": broken}).resource_id) == VAULT


def test_both_schemas_tell_the_same() -> None:
    """One event gives one notice, whichever schema its subscription was made with."""
    for event in (GOOD, resource_event("Microsoft.KeyVault/vaults/write", VAULT)):
        assert decode_one(as_cloud_event(event)) == decode_one(event)


# --- deliveries ---------------------------------------------------------------------------------------------------------


def test_a_delivery_is_one_event_or_a_batch_in_any_wrapping() -> None:
    """Parsed, text, bytes, with a byte order mark, in base64 as on a storage queue: the same notices in the same order."""
    batch = [GOOD, resource_event("Microsoft.KeyVault/vaults/write", VAULT), GOOD]
    for document in (GOOD, [], [GOOD], batch):
        expected = tuple(decode_one(each) for each in (document if isinstance(document, list) else [document]))
        plain = json.dumps(document)
        wrapped = base64.b64encode(plain.encode())
        for payload in (document, plain, f"\ufeff {plain}\n", plain.encode(), plain.encode("utf-8-sig"), plain.encode("utf-16")):
            assert decode(payload) == expected
        for payload in (wrapped, wrapped.decode(), f"  {wrapped.decode()}\n", base64.b64encode(plain.encode("utf-8-sig"))):
            assert decode(payload) == expected


def test_one_bad_event_does_not_spoil_a_batch() -> None:
    """Each event of a batch is decoded on its own, and in order."""
    decoded = decode([GOOD, None, without(GOOD, "eventType"), {"eventType": "Contoso.X"}, GOOD])
    assert [type(each).__name__ for each in decoded] == ["ChangeNotice", "Undecodable", "Undecodable", "NotOurs", "ChangeNotice"]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "   ",
        b"",
        "{",
        "nonsense",
        '{"eventType": "x",}',
        "NaN",
        '{"eventType": "Microsoft.KeyVault.KeyExpired", "data": {"EXP": NaN}}',
        "[Infinity]",
        "9" * 10_000,
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "x" * 1_000_000,
        "A" * 1_000_000,
        "\x00" * 1_000_000,
        b"\xff\xfe\xfa" * 300_000,
        bytes(range(256)) * 4_000,
        base64.b64encode(b"[" * 100_000).decode(),
        "null",
        "7",
        '"text"',
        "[" + "0," * 100_000 + "0]",
        pytest.param(object(), id="an object that is no JSON"),
        {1, 2},
        float("nan"),
    ],
    ids=lambda payload: repr(payload)[:24],
)
def test_noise_is_one_undecodable_at_the_root(payload: object) -> None:
    """Whatever arrives, decoding answers: noise is one undecodable event that might concern anything."""
    decoded = sole(payload)
    assert isinstance(decoded, Undecodable)
    assert (decoded.error.path, decoded.event_id, decoded.hint) == ("$", None, None)
    assert len(str(decoded.error)) < 400


def test_the_largest_batch_is_decoded_and_a_larger_is_noise() -> None:
    """Event Grid delivers at most 5,000 events at once; more would be as many rows of rubbish."""
    assert len(decode([None] * MOST_EVENTS)) == MOST_EVENTS
    assert len(decode([None] * (MOST_EVENTS + 1))) == 1


def test_data_nested_deeper_than_the_stack_is_refused_not_raised() -> None:
    """An id cannot be made of an event that no JSON writer can write; with an id of its own the event is read."""
    deep: list[object] = []
    for _ in range(200_000):
        deep = [deep]
    event = GOOD | {"extra": deep}
    assert isinstance(sole(event), ChangeNotice)
    nameless = sole(without(event, "id"))
    assert isinstance(nameless, Undecodable)
    assert nameless.error.path == "$"


CUSTOM_TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/topics/custom"


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ({"data": {"resourceUri": VAULT}, "subject": KEY, "topic": SUBSCRIPTION}, VAULT),
        ({"data": json.dumps({"ResourceURI ": VAULT})}, VAULT),
        ({"resourceUri": VAULT}, VAULT),
        ({"data": {"resourceUri": "kv1"}, "subject": KEY, "topic": SUBSCRIPTION}, KEY),
        ({"subject": "key1", "topic": VAULT}, VAULT),
        ({"SUBJECT ": "key1", " Source": VAULT}, VAULT),
        ({"specversion": "0.3", "type": "x", "source": VAULT}, VAULT),
        (key_vault_event("KeyExpired", topic=CUSTOM_TOPIC), None),
        (key_vault_event("KeyExpired", topic=CUSTOM_TOPIC, subject=VAULT), VAULT),
        ({"subject": "/blobServices/default", "topic": "/"}, None),
        ({"subject": ["x"], "topic": {"a": 1}, "data": [VAULT]}, None),
    ],
)
def test_the_hint_is_the_nearest_id_the_event_still_names(event: Mapping[str, object], hint: str | None) -> None:
    """What cannot be decoded still narrows the sweep, and never to the topic that merely passed the event on."""
    decoded = sole(event)
    assert isinstance(decoded, Undecodable)
    assert decoded.hint == (None if hint is None else ResourceId.parse(hint))


def test_an_undecodable_event_keeps_its_id() -> None:
    """The dead letter can be found by the event's id."""
    decoded = sole({"ID ": " e1 ", "subject": VAULT})
    assert isinstance(decoded, Undecodable)
    assert decoded.event_id == "e1"


def test_what_is_only_shown_is_cut() -> None:
    """Names that fill the whole event do not outgrow the entity that keeps the notice; the resource is never cut."""
    long = "\u00e9" * 500_000
    claims = {OBJECT_ID_CLAIM: long, UPN_CLAIM: long, "appid": long, "ipaddr": long}
    event = resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims=claims, correlationId=long)
    (notice,) = decode({**event, "id": long})
    assert isinstance(notice, ChangeNotice)
    assert notice.actor is not None
    kept = (
        notice.event_id,
        notice.correlation_id,
        notice.actor.object_id,
        notice.actor.name,
        notice.actor.app_id,
        notice.actor.ip,
    )
    assert [len(each or "") for each in kept] == [1024] * 6
    (cut,) = decode(resource_event("Microsoft.KeyVault/vaults/write", f"{VAULT}/{long}"))
    assert isinstance(cut, Undecodable)


def test_a_canary_is_known_by_its_type() -> None:
    """In either schema and any case; without an id it is none of ours, and so is a type that only begins alike."""
    event = event_grid("keydrift.CANARY", None, topic="/t", subject="canary", id="c1")
    cloud = {"specversion": "1.0", "type": "Keydrift.Canary", "source": "keydrift", "id": "c1"}
    assert [sole(event), sole(cloud)] == [Canary(event_id="c1")] * 2
    for other in (without(event, "id"), {**cloud, "type": "Keydrift.CanaryX"}, {**cloud, "type": "Keydrift.KeyBinding.Opened"}):
        assert isinstance(sole(other), NotOurs)
