"""The rules and the hunting queries, executed on the rows of rehearsals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keydrift.health import HealthCheck, HealthStatus
from keydrift.model import PermissionModel, Scenario
from keydrift.tables import ALERTS
from keydrift_local.scenario_file import load_scenario
from support import tenants
from support.kusto import texts
from support.rehearsals import SWEEP, advance
from support.workspaces import Played, Row, Workspace, checked, hold_health, play, played, workspace

RULES, HUNTING = texts("rules"), texts("hunting")
STORY = "story.backup-vault-cmk.rbac"
START = datetime(2026, 1, 1, tzinfo=UTC)
VAULT = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/rg1/providers/microsoft.keyvault/vaults/kv1"


def at(minutes: float) -> datetime:
    """A moment of a rehearsal, half a second late so that what happens on the minute has happened."""
    return START + timedelta(minutes=minutes, milliseconds=500)


def only(rows: list[Row], *names: str) -> list[tuple[object, ...]]:
    """Some columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]


def holding(rows: list[Row], now: datetime) -> Workspace:
    """A workspace that was sent these alerts, each twice."""
    made = Workspace(now)
    made.hold(ALERTS, [*rows, *rows])
    return made


async def _two_vaults(folder: Path, *steps: dict[str, object]) -> Played:
    """One assignment at the resource group gives the same identity the keys of two vaults."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg1"
    tenant["resources"] += [
        tenants.key_vault("kv2", rbac=True),
        tenants.key(vault="kv2"),
        tenants.recovery_vault("rsv1", "https://kv2.vault.azure.net/keys/k1", tenants.system_identity()),
    ]
    role, identity = tenants.CRYPTO_SERVICE_ENCRYPTION_USER, tenants.IDENTITY_OBJECT_ID
    tenant["roleAssignments"] = [tenants.role_assignment(9, group, role, identity)]
    path = folder / "scenario.json"
    path.write_text(json.dumps({"tenant": tenant, "settings": {}, "steps": [SWEEP, advance("PT1M"), *steps]}))
    return await played(load_scenario(path))


def _change(kind: str, of: object) -> dict[str, object]:
    actor = {"objectId": "00000000-0000-0000-0000-000000000501", "upn": "iam-admin@contoso.com", "ip": "203.0.113.7"}
    return {"change": {kind: of}, "actor": actor}


def _assignment() -> dict[str, object]:
    group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg1"
    return tenants.role_assignment(9, group, tenants.CRYPTO_SERVICE_ENCRYPTION_USER, tenants.IDENTITY_OBJECT_ID)


async def test_a_loss_is_one_row_with_who_and_what() -> None:
    """The rule on losses says what was lost, by whom and from where, what is endangered and what repairs it, once."""
    (row,) = workspace(await play(STORY)).ask(RULES["lost"])
    assert (row["Code"], row["KeyBindings"], row["KeyStores"]) == ("role-assignment-absent", 1, ["kv1"])
    assert (row["ActorName"], row["ActorIp"], row["ActorConfidence"]) == ("iam-admin@contoso.com", "203.0.113.7", "certain")
    assert row["Headline"] == row["AlertTitle"]
    assert row["EffectiveBy"] == "2026-01-01T00:11:00Z"
    assert row["Remediation"].startswith("az role assignment create ")
    assert row["KeyStoreId"].endswith("/vaults/kv1")
    assert row["Consumer"].endswith("/backupVaults/bv1")


async def test_one_cause_is_one_row(tmp_path: Path) -> None:
    """One deletion that costs the keys of two vaults is one row of the rule, and one of the hunting query for many vaults."""
    lost = await _two_vaults(tmp_path, _change("delete", _assignment()["id"]), advance("PT20M"))
    made = workspace(lost)
    (row,) = made.ask(RULES["lost"])
    assert (row["KeyBindings"], sorted(row["KeyStores"])) == (2, ["kv1", "kv2"])
    assert row["Headline"] == f"{row['AlertTitle']} and 1 more"
    (cause,) = made.ask(HUNTING["one-cause-many-vaults"])
    assert (cause["CauseKey"], cause["KeyStores"], cause["KeyBindings"]) == (row["CauseKey"], 2, 2)
    assert cause["Actors"] == ["iam-admin@contoso.com"]
    assert workspace(await play(STORY)).ask(HUNTING["one-cause-many-vaults"]) == []


async def test_keys_that_come_and_go_are_found(tmp_path: Path) -> None:
    """A key binding that is lost twice is flapping, one that was lost once is not."""
    twice = [_change("delete", _assignment()["id"]), advance("PT20M"), _change("put", _assignment()), advance("PT20M")] * 2
    rows = workspace(await _two_vaults(tmp_path, *twice)).ask(HUNTING["flapping"])
    assert only(rows, "Losses", "Repairs") == [(2, 2), (2, 2)]
    assert {row["KeyStoreName"] for row in rows} == {"kv1", "kv2"}
    for once in (STORY, "actor.comes-later"):
        assert workspace(await play(once)).ask(HUNTING["flapping"]) == []


async def test_the_actor_joins_the_incident() -> None:
    """A later row that names the actor raises the rule again with the CauseKey of the first, so that both are one incident."""
    opened, changed = (await play("actor.comes-later")).alerts
    (first,) = holding([opened], at(2)).ask(RULES["lost"])
    (second,) = holding([changed], at(2)).ask(RULES["lost"])
    (both,) = holding([opened, changed], at(2)).ask(RULES["lost"])
    assert first["CauseKey"] == second["CauseKey"] == both["CauseKey"]
    assert both["KeyBindings"] == 1
    assert [row["ActorName"] for row in (first, second, both)] == [None, "iam-admin@contoso.com", "iam-admin@contoso.com"]


async def test_what_is_known_raises_nothing() -> None:
    """A reminder, an exempted loss and a resolution raise no rule; the loss itself does."""
    opened, resolved = (await play(STORY)).alerts
    reminder = {**opened, "Kind": "changed", "PreviousVerdict": "lost", "Reason": "reminder"}
    raised = {
        name: len(holding([row], at(2)).ask(RULES["lost"]))
        for name, row in {
            "loss": opened, "reminder": reminder, "exempted": {**opened, "Exempted": True}, "resolution": resolved,
            "lapsed": {**reminder, "Reason": "exemption-lapsed"}, "no word on exemption": {**opened, "Exempted": None},
        }.items()
    }  # fmt: skip
    assert raised == {"loss": 1, "reminder": 0, "exempted": 0, "resolution": 0, "lapsed": 1, "no word on exemption": 1}


async def test_what_is_lost_by_itself_is_told() -> None:
    """The rule on keys that will be lost tells of what ends or is stuck, not of what is merely not as it should be."""
    (row,) = workspace(await play("encryption.inconsistent")).ask(RULES["at-risk"])
    assert (row["Code"], row["Severity"], row["KeyBindings"]) == ("encryption-inconsistent", "Medium", 1)
    assert workspace(await play("region.mismatch")).ask(RULES["at-risk"]) == []
    assert workspace(await play(STORY)).ask(RULES["at-risk"]) == []
    (opened,) = (await play("encryption.inconsistent")).alerts
    reminder = {**opened, "Kind": "changed", "Reason": "reminder"}
    assert holding([reminder], at(5)).ask(RULES["at-risk"]) == []


async def test_an_unknown_that_lasts_is_told_once() -> None:
    """An unknown verdict is told in the second hour after it began, once, and not where it has cleared."""
    opened, resolved = (await play("unreadable.assignments-403")).alerts
    assert opened["DetectedAt"].startswith("2026-01-01T00:16:00")
    told = [len(holding([opened], at(minutes)).ask(RULES["unknown"])) for minutes in (20, 75, 76, 135, 136)]
    assert told == [0, 0, 1, 1, 0]
    assert holding([opened, resolved], at(80)).ask(RULES["unknown"]) == []
    reminder = {**opened, "Kind": "changed", "PreviousVerdict": "unknown", "Reason": "reminder"}
    reminder |= {"AlertId": "00000000-0000-0000-0000-00000000feed", "Sequence": opened["Sequence"] + 1}
    reminder |= {"DetectedAt": "2026-01-01T01:00:00Z", "TimeGenerated": "2026-01-01T01:00:00Z"}
    (row,) = holding([opened, reminder], at(80)).ask(RULES["unknown"])
    assert (row["UnknownSince"], row["Code"]) == ("2026-01-01T00:16:00Z", "facts-unreadable")


async def test_another_key_is_told_as_such() -> None:
    """A consumer that names another key raises the rule on that, once a cause; a loss beside it raises its own."""
    held = workspace(await play("key-changed.found-by-a-sweep"))
    (row,) = held.ask(RULES["key-changed"])
    assert (row["Verdict"], row["Severity"], row["KeyUri"]) == ("held", "Medium", "https://kv1.vault.azure.net/keys/k2")
    assert [held.ask(RULES[name]) for name in ("lost", "at-risk", "unknown")] == [[], [], []]
    assert held.ask("KeyDriftOpenAlerts()") == []
    lost = workspace(await play("consumer.points-at-a-key-that-it-may-not-use"))
    assert only(lost.ask(RULES["key-changed"]), "Verdict", "ActorName") == [("lost", "iam-admin@contoso.com")]
    assert only(lost.ask(RULES["lost"]), "Severity", "KeyBindings", "Code") == [("High", 1, "role-assignment-absent")]
    assert [lost.ask(HUNTING[name]) for name in ("flapping", "losses-without-actor-in-activity")] == [[], []]
    assert workspace(await play(STORY)).ask(RULES["key-changed"]) == []


async def test_a_notice_of_another_key_is_no_verdict() -> None:
    """A notice about a key that is at risk, unknown or lost raises no rule on these: they have an alert of their own."""
    (notice,) = (await play("key-changed.found-by-a-sweep")).alerts
    for verdict, rule in (("lost", "lost"), ("at_risk", "at-risk"), ("unknown", "unknown")):
        made = holding([{**notice, "Verdict": verdict}], at(80))
        assert (made.ask(RULES[rule]), len(made.ask(RULES["key-changed"]))) == ([], 1)


def test_silence_is_told() -> None:
    """No heartbeat within the hour raises the rule, even where there has never been one; one within it does not."""
    query = RULES["monitor-silent"]
    silent, alive, never = Workspace(at(120)), Workspace(at(120)), Workspace(at(120))
    hold_health(
        silent, checked(HealthCheck.HEARTBEAT, HealthStatus.OK, at(59)), checked(HealthCheck.SWEEP, HealthStatus.OK, at(119))
    )
    hold_health(alive, checked(HealthCheck.HEARTBEAT, HealthStatus.OK, at(61)))
    assert only(silent.ask(query), "Severity", "LastHeartbeatAt") == [("High", "2026-01-01T00:59:00.500000Z")]
    assert alive.ask(query) == []
    assert only(never.ask(query), "Severity", "LastHeartbeatAt") == [("High", None)]


def test_blindness_is_told() -> None:
    """A check that failed or could not be made is a row; a warning, a repaired one and the heartbeat are none."""
    made = Workspace(at(60))
    topic = "/subscriptions/s1/resourceGroups/rg1/providers/Microsoft.EventGrid/systemTopics/t1"
    hold_health(
        made,
        checked(HealthCheck.WATCHLIST, HealthStatus.FAILED, at(50)),
        checked(HealthCheck.EVENT_SUBSCRIPTION, HealthStatus.FAILED, at(50), topic),
        checked(HealthCheck.UNREAD_SOURCE, HealthStatus.FAILED, at(50), "Microsoft Graph"),
        checked(HealthCheck.CANARY, HealthStatus.UNKNOWN, at(50)),
        checked(HealthCheck.DELIVERIES, HealthStatus.FAILED, at(40)),
        checked(HealthCheck.DELIVERIES, HealthStatus.OK, at(50)),
        checked(HealthCheck.DEAD_LETTERS, HealthStatus.WARNING, at(50)),
        checked(HealthCheck.HEARTBEAT, HealthStatus.FAILED, at(50)),
    )
    assert set(only(made.ask(RULES["monitor-blind"]), "Check", "Severity", "ResourceId")) == {
        ("watchlist", "High", ""),
        ("event-subscription", "High", topic),
        ("unread-source", "Medium", ""),
        ("canary", "Medium", ""),
    }


async def test_who_took_most_away(tmp_path: Path) -> None:
    """Actors are counted by the key bindings that were lost by what they did; who gave back and who is unknown are none."""
    lost = await _two_vaults(tmp_path, _change("delete", _assignment()["id"]), advance("PT20M"))
    rows = workspace(lost).ask(HUNTING["actors-by-loss"])
    assert only(rows, "Actor", "KeyBindings", "KeyStores", "Causes", "Addresses") == [
        ("iam-admin@contoso.com", 2, 2, 1, ["203.0.113.7"])
    ]
    assert [row["Actor"] for row in workspace(await play(STORY)).ask(HUNTING["actors-by-loss"])] == ["iam-admin@contoso.com"]
    assert workspace(await play("silent.event-lost-found-by-sweep")).ask(HUNTING["actors-by-loss"]) == []


def _activity(
    minute: float, resource: str, operation: str = "Microsoft.Authorization/roleAssignments/delete", **more: str
) -> Row:
    row = {"TimeGenerated": at(minute).isoformat(), "_ResourceId": resource, "OperationNameValue": operation.upper()}
    row |= {"ActivityStatusValue": "Success", "Caller": "iam-admin@contoso.com", "CallerIpAddress": "203.0.113.7"}
    return row | {"SubscriptionId": "00000000-0000-0000-0000-000000000001", "CorrelationId": "c1"} | more


async def test_the_activity_log_names_who_a_sweep_could_not() -> None:
    """A change to the key store, or to grants at or above it, between last proof and finding is shown; its neighbours are not."""
    made = workspace(await play("silent.event-lost-found-by-sweep"), at(20))
    group = VAULT.partition("/providers/")[0]
    assignment = "/providers/microsoft.authorization/roleassignments/a1"
    wanted = [
        _activity(5, VAULT + assignment),
        _activity(6, group + assignment),
        _activity(7, VAULT, "Microsoft.KeyVault/vaults/accessPolicies/write"),
    ]
    others = [
        _activity(5, VAULT + "0" + assignment),
        _activity(5, group + "0" + assignment),
        _activity(5, group[:-1] + assignment),
        _activity(5, VAULT + assignment, ActivityStatusValue="Failure"),
        _activity(16, VAULT + assignment),
        _activity(-60 * 30, VAULT + assignment),
        _activity(5, VAULT, "Microsoft.Insights/diagnosticSettings/write"),
    ]
    empty = made.ask(HUNTING["losses-without-actor-in-activity"])
    assert only(empty, "Caller", "AlertTitle") == [(None, "No role assignment reaches the backup identity: key k1 in kv1")]
    made.hold("AzureActivity", [*wanted, *others])
    found = made.ask(HUNTING["losses-without-actor-in-activity"])
    assert only(found, "Changed", "Caller") == [(row["_ResourceId"], "iam-admin@contoso.com") for row in wanted]


async def test_a_loss_with_an_actor_needs_no_search() -> None:
    """A loss whose actor was named, at once or later, is no row of the searches for one."""
    for case in (STORY, "actor.comes-later"):
        made = workspace(await play(case))
        for name in ("losses-without-actor-in-activity", "losses-without-actor-in-vault-audit"):
            assert made.ask(HUNTING[name]) == []


async def test_the_audit_log_of_the_vault_names_who_a_sweep_could_not() -> None:
    """A change in the key store's audit log in the day before the finding is shown; reads and other vaults are not."""
    made = workspace(await play("silent.event-lost-found-by-sweep"), at(20))
    upn = "identity_claim_http_schemas_xmlsoap_org_ws_2005_05_identity_claims_upn_s"
    patch = {
        "TimeGenerated": at(5).isoformat(), "ResourceProvider": "MICROSOFT.KEYVAULT", "ResourceType": "VAULTS",
        "ResourceId": VAULT.upper(), "OperationName": "VaultPatch", "ResultType": "Success", "CallerIPAddress": "203.0.113.7",
        upn: "iam-admin@contoso.com",
    }  # fmt: skip
    others = [
        {**patch, "OperationName": "KeyGet"},
        {**patch, "ResourceId": f"{VAULT.upper()}0"},
        {**patch, "ResultType": "Failure"},
        {**patch, "TimeGenerated": at(30).isoformat()},
    ]
    made.hold("AzureDiagnostics", [patch, *others])
    rows = made.ask(HUNTING["losses-without-actor-in-vault-audit"])
    assert only(rows, "OperationName", "Upn", "CallerIPAddress") == [("VaultPatch", "iam-admin@contoso.com", "203.0.113.7")]
