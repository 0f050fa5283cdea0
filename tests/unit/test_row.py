"""The alert row: its columns are the contract's, for every kind of alert, with times in UTC."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from keydrift.alerts.actor import Heard
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.row import CAPPED_AT, alert_row, stamp
from keydrift.drift import Alert, Moment, Via, compare, retire
from keydrift.facts import Facts
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice, Consumer, KeyBinding, ProtectedItem, Scenario, State, StoreObject, Verdict
from support.builders import (
    APP_OBJECT,
    MHSM,
    NOW,
    POLICY,
    RBAC,
    RECOVERY_VAULT,
    SUB,
    TENANT,
    VAULT,
    VM,
    binding,
    granting,
    judged,
    rid,
    unread,
    with_store,
    with_vault,
)

# Copied from the contract, with the two names that stand in for reserved ones (docs/adr/0006)
COLUMNS = [
    "TimeGenerated",
    "AlertId",
    "SchemaVersion",
    "Kind",
    "Severity",
    "Verdict",
    "PreviousVerdict",
    "BindingId",
    "Sequence",
    "Scenario",
    "Title",
    "AlertTitle",
    "Summary",
    "Change",
    "FindingCodes",
    "Findings",
    "Missing",
    "Remediation",
    "PermissionModel",
    "KeyStoreId",
    "KeyStoreName",
    "KeyUri",
    "SubscriptionId",
    "ResourceGroup",
    "PrincipalObjectId",
    "PrincipalName",
    "Consumers",
    "ConsumerCount",
    "DetectedVia",
    "EventId",
    "EventType",
    "OperationName",
    "CorrelationId",
    "ActorObjectId",
    "ActorName",
    "ActorAppId",
    "ActorIp",
    "ActorConfidence",
    "ActorLookup",
    "OccurredAt",
    "ReceivedAt",
    "ReadAt",
    "DetectedAt",
    "EffectiveBy",
    "OutageSeconds",
    "Reason",
    "ProtectedItemCount",
    "ProtectedItems",
    "LastRecoveryPointAt",
    "FirstBackupAtRiskAt",
    "RepairableUntil",
    "BlastRadius",
    "ConsumerOwner",
    "ConsumerEnvironment",
    "KeyStoreOwner",
    "KeyStoreEnvironment",
    "Exempted",
    "ExemptionReason",
    "CauseKey",
    "TenantId",
    "EntraTenantId",
    "MonitorVersion",
]  # as the contract lists them
TIMES = {name for name in COLUMNS if name.endswith("At") or name in ("TimeGenerated", "EffectiveBy", "RepairableUntil")}
ARRAYS = {"FindingCodes", "Findings", "Missing", "Consumers", "ProtectedItems", "BlastRadius"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

MINUTE = timedelta(minutes=1)
ITEM = ProtectedItem(id=rid(f"{RECOVERY_VAULT}/protectedItems/i1"), last_backup_at=NOW, last_recovery_point_at=NOW - MINUTE)
CVM = binding(Scenario.CVM_CMK, consumers=(Consumer(id=rid(VM), protected_items=(ITEM,)),))
EVENT = ChangeNotice(
    event_id="e1",
    event_type="Microsoft.Resources.ResourceDeleteSuccess",
    operation="Microsoft.KeyVault/vaults/accessPolicies/write",
    resource_id=rid(VAULT),
    occurred_at=NOW.astimezone(timezone(timedelta(hours=2))),
    actor=Actor(object_id="admin", name="admin@contoso.com", app_id="app", ip="10.0.0.1"),
    correlation_id="c1",
)
HEARD = Heard(notice=EVENT, received_at=NOW + MINUTE)


def alerts() -> dict[str, Alert]:
    """An alert of each kind and state."""
    full, none = granting(CVM, POLICY, ("keys/all",)), granting(CVM, POLICY, ())
    blind = with_store(full, store=unread())
    made: dict[str, Alert] = {}
    record = BindingRecord.created(CVM.id, NOW)
    story: list[tuple[str, Facts]] = [
        ("held", full), ("opened", none), ("at_risk", with_vault(full, purge_protection=False)),
        ("pending", blind), ("unknown", blind), ("resolved", full), ("opened again", none),
    ]  # fmt: skip
    for n, (name, facts) in enumerate(story):
        now = NOW + n * MINUTE
        verdict = judged(CVM, replace(facts, read_at=now))
        outcome = compare(record, verdict, Moment(now=now, via=Via.EVENT, heard=(HEARD,)))
        record = outcome.record
        if outcome.alert:
            made[name] = outcome.alert
    gone = Verdict(binding=CVM, state=State.HELD, read_at=NOW)
    retired = retire(record, gone, Moment(now=NOW, via=Via.SWEEP)).alert
    assert retired is not None
    return {**made, "retired": retired}


ALERTS = alerts()
ROWS = {name: alert_row(alert, TENANT) for name, alert in ALERTS.items()}


@pytest.mark.parametrize(
    ("name", "kind", "verdict", "previous", "severity"),
    [
        ("opened", "opened", "lost", "held", "High"),
        ("at_risk", "changed", "at_risk", "lost", "Low"),
        ("unknown", "changed", "unknown", "at_risk", "Medium"),
        ("resolved", "resolved", "held", "unknown", "Informational"),
        ("opened again", "opened", "lost", "held", "High"),
        ("retired", "resolved", "held", "lost", "Informational"),
    ],
)
def test_every_kind_has_every_column(name: str, kind: str, verdict: str, previous: str, severity: str) -> None:
    """Each row holds exactly the contract's columns and says its kind, verdict, previous verdict and severity."""
    row = ROWS[name]
    assert sorted(row) == sorted(COLUMNS)
    shown = (row["Kind"], row["Verdict"], row["PreviousVerdict"], row["Severity"])
    assert shown == (kind, verdict, previous, severity)
    assert json.loads(json.dumps(row)) == row
    assert row["Title"]
    assert row["Summary"]
    assert set(ROWS) == {"opened", "at_risk", "unknown", "resolved", "opened again", "retired"}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_times_and_arrays(name: str) -> None:
    """Times are RFC 3339 in UTC or null, arrays are arrays."""
    row = ROWS[name]
    for column in TIMES:
        assert row[column] is None or RFC3339.fullmatch(str(row[column])), column
    for column in ("TimeGenerated", "ReadAt", "DetectedAt", "EffectiveBy", "LastRecoveryPointAt"):
        assert row[column] is not None
    assert all(isinstance(row[column], list) for column in ARRAYS)


def test_what_an_opened_row_says() -> None:
    """The row names key, store, principal, consumers, findings, repair and the event that explains it."""
    row, alert = ROWS["opened"], ALERTS["opened"]
    expected = {
        "AlertId": alert.id,
        "SchemaVersion": "1",
        "BindingId": CVM.id,
        "Sequence": int(NOW.timestamp()) + 1,
        "Scenario": "cvm-cmk",
        "FindingCodes": ["access-policy-insufficient"],
        "Missing": ["keys/get", "keys/list", "keys/backup"],
        "Remediation": f"az keyvault set-policy --name kv1 --object-id {APP_OBJECT} --key-permissions get list backup",
        "PermissionModel": "access-policy",
        "KeyStoreId": VAULT,
        "KeyStoreName": "kv1",
        "KeyUri": "https://kv1.vault.azure.net/keys/k1",
        "SubscriptionId": SUB.rpartition("/")[2],
        "ResourceGroup": "rg1",
        "PrincipalObjectId": APP_OBJECT,
        "PrincipalName": "Backup Management Service",
        "Consumers": [VM],
        "ConsumerCount": 1,
        "DetectedVia": "event",
        "EventId": "e1",
        "EventType": EVENT.event_type,
        "OperationName": EVENT.operation,
        "CorrelationId": "c1",
        "ActorObjectId": "admin",
        "ActorName": "admin@contoso.com",
        "ActorAppId": "app",
        "ActorIp": "10.0.0.1",
        "ActorConfidence": "certain",
        "OccurredAt": "2026-03-01T12:00:00.000Z",
        "ReceivedAt": "2026-03-01T12:01:00.000Z",
        "ReadAt": "2026-03-01T12:01:00.000Z",
        "DetectedAt": "2026-03-01T12:01:00.000Z",
        "TimeGenerated": "2026-03-01T12:01:00.000Z",
        "EffectiveBy": "2026-03-01T12:00:00.000Z",
        "OutageSeconds": None,
        "Reason": None,
        "ProtectedItemCount": 1,
        "ProtectedItems": [str(ITEM.id)],
        "LastRecoveryPointAt": "2026-03-01T11:59:00.000Z",
        "Exempted": False,
        "CauseKey": alert.cause_key,
        "TenantId": TENANT,
        "EntraTenantId": TENANT,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["Title"] == "The access policy lacks required permissions: key k1 in kv1"
    findings = row["Findings"]
    assert isinstance(findings, list)
    assert set(findings[0]) == {"code", "level", "summary", "evidence", "remediation"}


def test_resolved_rows() -> None:
    """A resolved row says how long the key was lost; a retired one that nothing needs it."""
    # lost from the event at 12:00 to the read at 12:02 that found it at risk
    assert ROWS["resolved"]["OutageSeconds"] == 120
    assert ROWS["resolved"]["Title"] == "Azure Backup can use key k1 in kv1 again"
    assert ROWS["retired"]["Reason"] == "retired"
    assert ROWS["retired"]["Title"] == "Nothing needs key k1 in kv1 any more"
    assert "retired" in str(ROWS["retired"]["Summary"])
    assert ROWS["retired"]["OutageSeconds"] is None


def test_a_row_without_an_event_names_nobody() -> None:
    """Without an explaining event its columns are null and the confidence is none."""
    row = ROWS["opened again"]
    for name in (
        "EventId",
        "OperationName",
        "ActorObjectId",
        "ActorName",
        "ActorIp",
        "OccurredAt",
        "ReceivedAt",
        "CorrelationId",
    ):
        assert row[name] is None
    assert row["ActorConfidence"] == "none"


def opened(of: KeyBinding, facts: Facts) -> dict[str, object]:
    outcome = compare(BindingRecord.created(of.id, NOW), judged(of, facts), Moment(now=NOW, via=Via.SWEEP))
    assert outcome.alert is not None
    return alert_row(outcome.alert, None)


def test_azure_rbac_takes_ten_minutes_to_bite() -> None:
    """A loss of roles is effective ten minutes later at the latest, that of policies at once."""
    mine = binding(Scenario.CVM_CMK)
    assert opened(mine, granting(mine, RBAC, ()))["EffectiveBy"] == stamp(NOW + 10 * MINUTE)
    assert opened(mine, granting(mine, POLICY, ()))["EffectiveBy"] == stamp(NOW)
    hsm = binding(Scenario.CVM_CMK, MHSM)
    assert opened(hsm, granting(hsm, MHSM, ()))["PermissionModel"] == "managed-hsm"


def test_lists_are_capped_and_counted_in_full() -> None:
    """Consumers and items are cut at the cap, their numbers are not."""
    many = tuple(
        Consumer(id=rid(f"{VM}{n}"), protected_items=(ProtectedItem(id=rid(f"{VM}{n}/items/i")),)) for n in range(CAPPED_AT + 7)
    )
    mine = binding(Scenario.CVM_CMK, consumers=many)
    row = opened(mine, granting(mine, RBAC, ()))
    consumers, items = row["Consumers"], row["ProtectedItems"]
    assert isinstance(consumers, list)
    assert isinstance(items, list)
    assert (len(consumers), row["ConsumerCount"]) == (CAPPED_AT, CAPPED_AT + 7)
    assert (len(items), row["ProtectedItemCount"]) == (CAPPED_AT, CAPPED_AT + 7)
    assert row["LastRecoveryPointAt"] is None


def test_the_store_that_was_read_is_named() -> None:
    """A consumer that does not know where its key stands leaves no gap in the row; an unread store is named by its host."""
    mine = binding(Scenario.CVM_CMK, target=StoreObject(uri=KeyUri.parse("https://kv1.vault.azure.net/keys/k1")))
    placed = binding(Scenario.CVM_CMK)
    facts = granting(placed, POLICY, ())
    assert opened(mine, facts)["KeyStoreId"] == VAULT
    blind = compare(
        BindingRecord.created(mine.id, NOW),
        judged(mine, with_store(facts, store=unread())),
        Moment(now=NOW, via=Via.SWEEP, confirmed=True),
    ).alert
    assert blind is not None
    row = alert_row(blind, None)
    assert (row["KeyStoreId"], row["KeyStoreName"], row["SubscriptionId"]) == (None, "kv1", None)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000Z"),
        (None, None),
    ],
)
def test_stamp(at: datetime | None, expected: str | None) -> None:
    """Times are written in UTC with milliseconds, whatever zone they came in."""
    assert stamp(at) == expected
