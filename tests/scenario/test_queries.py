"""The saved functions, executed on the rows of rehearsals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from keydrift.health import HealthCheck, HealthStatus
from keydrift.tables import ALERTS, POSTURE
from support.workspaces import Row, Workspace, checked, hold_health, play, workspace

STORY = "story.backup-vault-cmk.rbac"
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """A moment of a rehearsal, half a second late so that what happens on the minute has happened."""
    return START + timedelta(minutes=minutes, milliseconds=500)


def only(rows: list[Row], *names: str) -> list[tuple[object, ...]]:
    """Some columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]


async def test_current_state_is_the_newest_proof() -> None:
    """A key binding is held, lost and held again as the story goes; of what was read at one moment the worse verdict counts."""
    played = await play(STORY)
    seen = [
        only(workspace(played, at(minutes)).ask("KeyDriftCurrentState()"), "Verdict", "Severity", "KeyStoreName")
        for minutes in (0.5, 2, 11)
    ]
    assert seen == [[("held", "Informational", "kv1")], [("lost", "High", "kv1")], [("held", "Informational", "kv1")]]


async def test_current_state_takes_alerts_for_proofs() -> None:
    """Before a sweep has told its posture, an alert says what is true; a row that was read earlier does not undo it."""
    played = await play(STORY)
    made = Workspace(at(3))
    (opened, _) = played.alerts
    made.hold(ALERTS, [opened, opened])
    assert only(made.ask("KeyDriftCurrentState()"), "Verdict", "ProvenBy") == [("lost", "alert")]
    late = {**played.posture[0], "TimeGenerated": "2026-01-01T00:02:30.000Z"}
    assert late["ReadAt"] < opened["ReadAt"]
    made.hold(POSTURE, [late])
    assert only(made.ask("KeyDriftCurrentState()"), "Verdict", "ProvenBy") == [("lost", "alert")]


async def test_what_nothing_needs_any_more_is_not_current() -> None:
    """A retired key binding is no part of the posture, unless a later sweep watches it again."""
    played = await play("consumer.deleted-while-lost")
    assert [row["Reason"] for row in played.alerts][-1] == "retired"
    made = workspace(played)
    assert made.ask("KeyDriftCurrentState()") == []
    made.hold(POSTURE, [{**played.posture[0], "TimeGenerated": "2026-01-02T00:00:00Z", "ReadAt": "2026-01-02T00:00:00Z"}])
    assert only(made.ask("KeyDriftCurrentState()"), "Verdict") == [(played.posture[0]["Verdict"],)]


async def test_open_alerts_name_who_was_heard_of_later() -> None:
    """An open drift is one row with its opening, and with the actor that only a later alert named."""
    played = await play("actor.comes-later")
    early, late = (workspace(played, moment).ask("KeyDriftOpenAlerts()") for moment in (at(1.5), at(12)))
    columns = ("Kind", "OpenedAt", "ActorName", "ActorIp", "ActorConfidence")
    assert only(early, *columns) == [("opened", "2026-01-01T00:01:15Z", None, None, None)]
    assert only(late, *columns) == [("changed", "2026-01-01T00:01:15Z", "iam-admin@contoso.com", "203.0.113.7", "certain")]


async def test_a_reminder_keeps_opening_and_actor() -> None:
    """A row that only reminds of an open drift changes neither when it opened nor who did it."""
    played = await play(STORY)
    made = workspace(played, at(3))
    (opened, _) = played.alerts
    made.hold(ALERTS, [_reminder(opened)])
    columns = ("Kind", "OpenedAt", "ActorName", "OpenFor")
    assert only(made.ask("KeyDriftOpenAlerts()"), *columns) == [
        ("changed", "2026-01-01T00:01:00Z", "iam-admin@contoso.com", "0:02:00.500000")
    ]


async def test_the_actor_of_an_earlier_drift_is_not_blamed() -> None:
    """Who took the key away the last time is not named for a new loss that nobody is known for."""
    played = await play(STORY)
    again = _reminder(played.alerts[0]) | {"Kind": "opened", "Reason": None, "Sequence": played.alerts[1]["Sequence"] + 1}
    made = workspace(played)
    made.hold(ALERTS, [again])
    assert only(made.ask("KeyDriftOpenAlerts()"), "Kind", "OpenedAt", "ActorName") == [("opened", "2026-01-01T00:02:30Z", None)]


async def test_a_resolved_drift_is_not_open() -> None:
    """Nothing is open before the loss and after the repair."""
    played = await play(STORY)
    counts = [len(workspace(played, at(minutes)).ask("KeyDriftOpenAlerts()")) for minutes in (0.5, 2, 7)]
    assert counts == [0, 1, 0]


async def test_time_to_detect_counts_from_the_change() -> None:
    """Detection is measured from the change where one is known, and left open where a sweep found the loss."""
    heard = workspace(await play("actor.comes-later")).ask("KeyDriftTimeToDetect()")
    found = workspace(await play("silent.event-lost-found-by-sweep")).ask("KeyDriftTimeToDetect()")
    assert only(heard, "DetectedVia", "DetectSeconds", "WaitSeconds") == [("event", 15.0, 15.0)]
    assert only(found, "DetectedVia", "DetectSeconds", "WaitSeconds") == [("sweep", None, None)]


async def test_time_to_restore_counts_repaired_losses_only() -> None:
    """A repaired loss is one row with its outage; an unknown that cleared and a key that nothing needs are none."""
    repaired = workspace(await play(STORY)).ask("KeyDriftTimeToRestore()")
    assert only(repaired, "OutageSeconds", "RestoredBy") == [(300, "backup-oncall@contoso.com")]
    for case in ("unreadable.assignments-403", "consumer.deleted-while-lost"):
        played = await play(case)
        assert [row["Kind"] for row in played.alerts][-1] == "resolved"
        assert workspace(played).ask("KeyDriftTimeToRestore()") == []
    (_, resolved) = (await play(STORY)).alerts
    given_up = Workspace(at(10))
    given_up.hold(ALERTS, [{**resolved, "Reason": "retired"}])
    assert given_up.ask("KeyDriftTimeToRestore()") == []


async def test_not_proven_is_what_has_no_recent_proof() -> None:
    """A key that was last usable longer ago than was asked for is a row with its age; one proven since is none."""
    made = workspace(await play(STORY), at(2))
    assert made.ask("KeyDriftNotProven()") == []
    made.now = at(60 * 26)
    rows = made.ask("KeyDriftNotProven(24)")
    assert only(rows, "KeyUri", "Verdict", "HoursSinceProof") == [("https://kv1.vault.azure.net/keys/k1", "lost", 26.0)]
    assert made.ask("KeyDriftNotProven(27)") == []


async def test_usable_since_starts_anew_after_a_loss() -> None:
    """A key counts as usable since its first proof after the last that said otherwise, at least so long where there was none."""
    played = await play(STORY)
    before, lost, after = (workspace(played, at(minutes)).ask("KeyDriftUsableSince()") for minutes in (0.5, 2, 11))
    assert only(before, "UsableSince", "AtLeast") == [(played.posture[0]["ReadAt"].replace(".000Z", "Z"), True)]
    assert lost == []
    assert only(after, "UsableSince", "AtLeast") == [("2026-01-01T00:06:00Z", False)]


def test_health_is_the_newest_row_of_each_check() -> None:
    """Of each check and source the newest row counts, and a heartbeat is failed once it is silent."""
    made = Workspace(at(90))
    hold_health(
        made,
        checked(HealthCheck.HEARTBEAT, HealthStatus.OK, at(40), value=3.0),
        checked(HealthCheck.SWEEP, HealthStatus.FAILED, at(30)),
        checked(HealthCheck.SWEEP, HealthStatus.OK, at(45)),
        checked(HealthCheck.EVENT_SUBSCRIPTION, HealthStatus.OK, at(45), "topic-1"),
        checked(HealthCheck.EVENT_SUBSCRIPTION, HealthStatus.FAILED, at(45), "topic-2"),
    )
    columns = ("Check", "Source", "Status")
    expected = {
        ("heartbeat", "", "ok"), ("sweep", "", "ok"),
        ("event-subscription", "topic-1", "ok"), ("event-subscription", "topic-2", "failed"),
    }  # fmt: skip
    assert set(only(made.ask("KeyDriftMonitorHealth()"), *columns)) == expected
    assert ("heartbeat", "", "failed") in only(made.ask("KeyDriftMonitorHealth(30)"), *columns)
    (never,) = Workspace(at(0)).ask("KeyDriftMonitorHealth()")
    assert (never["Check"], never["Status"], never["LastSeenAt"]) == ("heartbeat", "failed", None)


async def test_blind_spots_are_what_is_not_seen() -> None:
    """An unknown verdict, a proof that is old and a check that is not ok are blind spots; a lost key is none."""
    unknown = workspace(await play("unreadable.assignments-403"), at(20))
    hold_health(
        unknown,
        checked(HealthCheck.HEARTBEAT, HealthStatus.OK, at(20)),
        checked(HealthCheck.DEAD_LETTERS, HealthStatus.WARNING, at(20), summary="2 events could not be decoded"),
    )
    blind = only(unknown.ask("KeyDriftBlindSpots() | order by BlindTo desc"), "BlindTo", "Subject", "Summary")
    assert [each[:2] for each in blind] == [("verdict", "https://kv1.vault.azure.net/keys/k1"), ("dead-letters", "")]
    assert "HTTP 403" in str(blind[0][2])
    story = workspace(await play(STORY), at(2))
    hold_health(story, checked(HealthCheck.HEARTBEAT, HealthStatus.OK, at(2)))
    assert story.ask("KeyDriftBlindSpots()") == []
    held = workspace(await play(STORY))
    held.now = at(60 * 30)
    assert sorted(each["BlindTo"] for each in held.ask("KeyDriftBlindSpots(24)")) == ["heartbeat", "proof"]


async def test_alerts_in_asim() -> None:
    """An alert is an ASIM Alert Event once, closed when resolved, and its filters let through what they name."""
    made = workspace(await play(STORY))
    rows = made.ask("vimAlertEventKeyDrift() | order by TimeGenerated asc")
    columns = ("EventType", "EventSubType", "EventSeverity", "AlertStatus", "Dvc", "Username", "UsernameType", "EventSchema")
    assert only(rows, *columns) == [
        ("Alert", "Suspicious Activity", "High", "Active", "kv1", "iam-admin@contoso.com", "UPN", "AlertEvent"),
        ("Alert", "Compliance Violation", "Informational", "Closed", "kv1", "backup-oncall@contoso.com", "UPN", "AlertEvent"),
    ]
    assert [row["EventUid"] for row in rows] == [row["AlertId"] for row in (await play(STORY)).alerts]
    assert rows[0]["AdditionalFields"]["CauseKey"]
    nothing = "dynamic([])"
    for arguments, count in {
        "datetime(2026-01-01T00:05:00Z), datetime(null)": 1,
        "datetime(null), datetime(2026-01-01T00:05:00Z)": 1,
        "datetime(null), datetime(null), dynamic(['10.'])": 0,
        f"datetime(null), datetime(null), {nothing}, {nothing}, dynamic(['iam-admin'])": 1,
        f"datetime(null), datetime(null), {nothing}, {nothing}, {nothing}, dynamic(['Impact'])": 2,
        f"datetime(null), datetime(null), {nothing}, {nothing}, {nothing}, dynamic(['Exfiltration'])": 0,
        f"datetime(null), datetime(null), {nothing}, {nothing}, {nothing}, {nothing}, dynamic(['T1490'])": 2,
    }.items():
        assert len(made.ask(f"vimAlertEventKeyDrift({arguments})")) == count, arguments


async def test_changes_in_asim() -> None:
    """A change behind alerts is one ASIM Audit Event with its actor and address; filters let through what they name."""
    made = workspace(await play(STORY))
    rows = made.ask("vimAuditEventKeyDrift() | order by TimeGenerated asc")
    columns = ("EventType", "Operation", "ActorUsername", "SrcIpAddr", "ObjectType", "EventResult")
    operation = "Microsoft.Authorization/roleAssignments/"
    assert only(rows, *columns) == [
        ("Delete", f"{operation}delete", "iam-admin@contoso.com", "203.0.113.7", "Cloud Resource", "Success"),
        ("Set", f"{operation}write", "backup-oncall@contoso.com", "203.0.113.31", "Cloud Resource", "Success"),
    ]
    assert all(row["Object"].endswith("/vaults/kv1") for row in rows)
    # The same change behind another key of the vault is no other change
    (opened, _) = (await play(STORY)).alerts
    made.hold(ALERTS, [{**opened, "AlertId": "00000000-0000-0000-0000-00000000feed", "BindingId": "another"}])
    nothing = "dynamic([])"
    for arguments, count in {
        "datetime(null), datetime(null)": 2,
        "datetime(null), datetime(null), dynamic(['203.0.113.7', '203.0.113.3'])": 2,
        "datetime(null), datetime(null), dynamic(['203.0.113.7'])": 1,
        "datetime(null), datetime(null), dynamic(['113.'])": 0,
        f"datetime(null), datetime(null), {nothing}, dynamic(['Delete'])": 1,
        f"datetime(null), datetime(null), {nothing}, {nothing}, 'Failure'": 0,
        f"datetime(null), datetime(null), {nothing}, {nothing}, '*', dynamic(['backup-oncall'])": 1,
    }.items():
        assert len(made.ask(f"vimAuditEventKeyDrift({arguments})")) == count, arguments


def test_a_repeated_row_is_one() -> None:
    """A health row that is delivered again, with another time even, is not another check."""
    made = Workspace(at(10))
    row = checked(HealthCheck.CANARY, HealthStatus.FAILED, at(5))
    hold_health(made, row)
    made.hold("KeyDriftHealth_CL", [{**row, "TimeGenerated": "2026-01-01T00:09:00Z"}])
    assert len(made.ask("KeyDriftMonitorHealth() | where Check == 'canary'")) == 1
    assert len(made.ask("KeyDriftHealth_CL")) == 3


def _reminder(of: Row) -> Row:
    """A later row of an open drift that says nothing new, as a reminder does."""
    again: Row = json.loads(json.dumps(of))
    again |= {"Kind": "changed", "Reason": "reminder", "AlertId": "00000000-0000-0000-0000-00000000feed"}
    again |= {"Sequence": of["Sequence"] + 1, "PreviousVerdict": of["Verdict"], "ActorConfidence": "none"}
    again |= dict.fromkeys(("ActorName", "ActorObjectId", "ActorAppId", "ActorIp"))
    return again | {"TimeGenerated": "2026-01-01T00:02:30.000Z", "DetectedAt": "2026-01-01T00:02:30.000Z"}
