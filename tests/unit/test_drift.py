"""Drift: what each difference between the recorded standing and the new verdict makes, and what is never alerted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import pytest

from keydrift.alerts.actor import Confidence, Heard
from keydrift.alerts.record import BindingRecord
from keydrift.drift import Alert, Comparison, Kind, Moment, Via, alert_id, compare, retire
from keydrift.facts import Absent
from keydrift.model import Actor, ChangeNotice, Finding, KeyBinding, Scenario, State, Verdict
from support.builders import (
    APP_OBJECT,
    GROUP,
    HSM,
    HSM_HOST,
    MANAGEMENT_GROUP,
    MHSM,
    NOW,
    POLICY,
    RBAC,
    VAULT,
    assignment,
    binding,
    granting,
    judged,
    key_at,
    key_object,
    rid,
    role,
    unread,
    with_object,
    with_store,
    with_vault,
)

MINUTE = timedelta(minutes=1)
CVM = binding(Scenario.CVM_CMK)
ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
DELETE = "Microsoft.Authorization/roleAssignments/delete"
WRITE = "Microsoft.Authorization/roleAssignments/write"
VAULT_WRITE = "Microsoft.KeyVault/vaults/write"
ADMIN = Actor(object_id="admin", name="admin@contoso.com")
OTHER_ADMIN = Actor(object_id="other-admin", name="other-admin@contoso.com")
GRANT = str(assignment().id)


def at(minutes: float) -> datetime:
    return NOW + minutes * MINUTE


def verdict(of: KeyBinding, what: str, minutes: float) -> Verdict:
    """A verdict of that kind, read at that minute."""
    full = granting(of, RBAC, ACTIONS)
    match what:
        case "held":
            facts = full
        case "lost":
            facts = with_store(full, assignments={APP_OBJECT: ()})
        case "lost-disabled":
            facts = with_object(with_store(full, assignments={APP_OBJECT: ()}), of.target, key_object(of.target, enabled=False))
        case "short":
            facts = with_store(full, definitions={"role-1": role(ACTIONS[0])})
        case "risk":
            facts = with_vault(full, purge_protection=False)
        case "unknown":
            facts = with_store(full, assignments={APP_OBJECT: unread("assignments")})
        case "gone":
            facts = with_store(full, store=Absent(what="kv"), deleted=None)
        case _:
            raise AssertionError(what)
    return judged(of, replace(facts, read_at=at(minutes)))


def heard(
    operation: str,
    minutes: float,
    actor: Actor | None = None,
    resource: str = GRANT,
    event: str = "e1",
    received: float | None = None,
) -> Heard:
    notice = ChangeNotice(
        event_id=event,
        event_type="Microsoft.Resources.ResourceDeleteSuccess",
        operation=operation,
        resource_id=rid(resource),
        occurred_at=at(minutes),
        actor=actor,
        correlation_id="c1",
    )
    return Heard(notice=notice, received_at=at(minutes if received is None else received))


@dataclass
class Story:
    """A binding's verdicts one after another, with what was alerted."""

    of: KeyBinding = CVM
    record: BindingRecord | None = None

    def see(self, what: str | Verdict, minutes: float, *notices: Heard, confirmed: bool = False) -> Comparison:
        last = self.record or BindingRecord.created(self.of.id, at(minutes))
        new = verdict(self.of, what, minutes) if isinstance(what, str) else what
        outcome = compare(last, new, Moment(now=at(minutes), via=Via.EVENT, heard=notices, confirmed=confirmed))
        self.record = outcome.record
        return outcome

    def alerts(self, *steps: tuple[str, float]) -> list[Alert | None]:
        return [self.see(what, minutes).alert for what, minutes in steps]


def kinds(alerts: Iterable[Alert | None]) -> list[str | None]:
    return [str(alert.kind) if alert else None for alert in alerts]


def alerted(outcome: Comparison) -> Alert:
    assert outcome.alert is not None
    return outcome.alert


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("held", [None]),
        ("held held", [None, None]),
        ("lost", ["opened"]),
        ("risk", ["opened"]),
        ("held lost", [None, "opened"]),
        ("held risk", [None, "opened"]),
        ("held lost lost lost", [None, "opened", None, None]),
        ("held lost held", [None, "opened", "resolved"]),
        ("held lost held held", [None, "opened", "resolved", None]),
        ("held lost held lost", [None, "opened", "resolved", "opened"]),
        ("lost risk", ["opened", "changed"]),
        ("risk lost", ["opened", "changed"]),
        ("risk risk", ["opened", None]),
        ("risk held", ["opened", "resolved"]),
        ("lost short", ["opened", "changed"]),
        ("short lost", ["opened", "changed"]),
        ("lost lost-disabled lost", ["opened", "changed", "changed"]),
        # an unknown waits for a second read at least a minute later
        ("unknown", [None]),
        ("unknown unknown", [None, "opened"]),
        ("unknown held", [None, None]),
        ("unknown held unknown", [None, None, None]),
        ("held unknown held", [None, None, None]),
        ("held unknown unknown", [None, None, "opened"]),
        ("held unknown unknown unknown", [None, None, "opened", None]),
        ("held unknown unknown held", [None, None, "opened", "resolved"]),
        ("held unknown lost", [None, None, "opened"]),
        ("unknown unknown lost", [None, "opened", "changed"]),
        ("lost unknown lost", ["opened", None, None]),
        ("lost unknown held", ["opened", None, "resolved"]),
        ("lost unknown unknown", ["opened", None, "changed"]),
        ("lost unknown unknown lost", ["opened", None, "changed", "changed"]),
        ("lost unknown unknown held", ["opened", None, "changed", "resolved"]),
        ("risk unknown risk unknown", ["opened", None, None, None]),
        ("risk unknown unknown", ["opened", None, "changed"]),
    ],
)
def test_transitions(steps: str, expected: list[str | None]) -> None:
    """Each difference from what was alerted is one alert of its kind, and no difference is none."""
    story = Story()
    assert kinds(story.alerts(*((what, n) for n, what in enumerate(steps.split())))) == expected


@pytest.mark.parametrize(("seconds", "opened"), [(0, False), (30, False), (59.999, False), (60, True), (900, True)])
def test_unknown_must_last_a_minute(seconds: float, opened: bool) -> None:
    """A second failed read counts only a minute after the first, and until then a second read is awaited."""
    story = Story()
    first = story.see("unknown", 0)
    assert (first.alert, first.awaits_second_read) == (None, True)
    assert first.record.pending_unknown_since == NOW
    second = story.see("unknown", seconds / 60)
    assert (second.alert is not None, second.awaits_second_read) == (opened, not opened)
    assert second.record.pending_unknown_since == (None if opened else NOW)


def test_three_quick_failures_count_from_the_first() -> None:
    """The minute runs from the first failed read, not from the last."""
    story = Story()
    assert kinds(story.alerts(("unknown", 0), ("unknown", 0.6), ("unknown", 1.1))) == [None, None, "opened"]


def test_a_cleared_unknown_starts_anew() -> None:
    """A failed read that was followed by an answer is forgotten."""
    story = Story()
    assert kinds(story.alerts(("unknown", 0), ("lost", 0.5), ("unknown", 10), ("lost", 11))) == [None, "opened", None, None]
    assert story.record is not None
    assert story.record.pending_unknown_since is None


def test_a_confirmed_unknown_is_alerted_at_once() -> None:
    """A recheck that failed for good needs no second read."""
    failed = Finding(code="recheck-failed", level=State.UNKNOWN, summary="failed")
    story = Story()
    outcome = story.see(Verdict(binding=CVM, state=State.UNKNOWN, read_at=NOW, findings=(failed,)), 0, confirmed=True)
    assert kinds([outcome.alert]) == ["opened"]
    assert not outcome.awaits_second_read


def test_a_blind_read_forgets_no_grants() -> None:
    """What granted before a failed read is still what a later loss names."""
    story = Story()
    story.alerts(("held", 0), ("unknown", 1), ("unknown", 2))
    outcome = story.see("lost", 3, heard(DELETE, 2.5, ADMIN))
    assert alerted(outcome).explanation.actor == ADMIN
    assert alerted(outcome).explanation.confidence is Confidence.CERTAIN


def test_sequence_and_id() -> None:
    """Alerts are numbered from the binding's creation in epoch seconds, and their ids follow from binding and number alone."""
    story = Story()
    alerts = [a for a in story.alerts(("held", 0), ("lost", 1), ("risk", 2), ("held", 3)) if a]
    start = int(NOW.timestamp())
    assert [a.sequence for a in alerts] == [start + 1, start + 2, start + 3]
    assert [a.id for a in alerts] == [str(uuid5(UUID(CVM.id), str(a.sequence))) for a in alerts]
    assert alert_id(CVM.id, 7) == alert_id(CVM.id, 7) != alert_id(CVM.id, 8)
    assert [a.previous for a in alerts] == [State.HELD, State.LOST, State.AT_RISK]
    assert story.record is not None
    assert story.record.sequence == start + 3


def test_comparing_twice_is_the_same() -> None:
    """The same record and verdict give the same alert: a crash and a repeat deliver one id."""
    last = BindingRecord.created(CVM.id, NOW)
    moment = Moment(now=at(1), via=Via.SWEEP)
    assert compare(last, verdict(CVM, "lost", 1), moment) == compare(last, verdict(CVM, "lost", 1), moment)


# --- outage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "minutes"),
    [
        ([("held", 0), ("lost", 1), ("held", 11)], 10),
        ([("lost", 1), ("lost", 5), ("held", 11)], 10),
        ([("lost", 1), ("lost-disabled", 5), ("held", 11)], 10),
        ([("lost", 1), ("unknown", 5), ("unknown", 7), ("held", 11)], 10),
        ([("unknown", 0), ("unknown", 2), ("lost", 4), ("held", 11)], 7),
        ([("risk", 1), ("lost", 5), ("held", 11)], 6),
        ([("lost", 1), ("risk", 5), ("held", 1000)], 4),
        ([("lost", 1), ("risk", 5), ("lost", 100), ("held", 110)], 14),
        ([("risk", 1), ("held", 11)], None),
        ([("unknown", 0), ("unknown", 2), ("held", 11)], None),
    ],
)
def test_outage(steps: list[tuple[str, float]], minutes: float | None) -> None:
    """The outage is the time that the key was lost, unknown in between counted, at risk not."""
    last = Story().alerts(*steps)[-1]
    assert last is not None
    assert last.outage == (None if minutes is None else minutes * MINUTE)


def test_outage_runs_from_change_to_change() -> None:
    """Where events tell when the loss and the repair happened, the outage runs between those."""
    story = Story()
    story.see("held", 0)
    story.see("lost", 5, heard(DELETE, 4, ADMIN))
    outcome = story.see("held", 11, heard(DELETE, 4, ADMIN), heard(WRITE, 9, OTHER_ADMIN, event="e2"))
    assert alerted(outcome).outage == 5 * MINUTE
    assert alerted(outcome).explanation.actor == OTHER_ADMIN


def test_a_late_actor_moves_the_loss_to_its_true_time() -> None:
    """The outage runs from the change once that is known."""
    story = Story()
    story.alerts(("held", 0), ("lost", 5))
    assert kinds([story.see("lost", 6, heard(DELETE, 4, ADMIN)).alert]) == ["changed"]
    assert alerted(story.see("held", 14)).outage == 10 * MINUTE


def test_a_late_actor_of_a_widened_loss_does_not_shorten_it() -> None:
    """A cause that came on top leaves the beginning of the loss where it was."""
    story = Story()
    story.alerts(("held", 0), ("short", 1))
    story.see("lost", 20)
    story.see("lost", 21, heard(DELETE, 19, ADMIN))
    assert alerted(story.see("held", 31)).outage == 30 * MINUTE


# --- actors ----------------------------------------------------------------------------------------------------------------


def test_an_actor_who_is_heard_later_is_one_changed_row() -> None:
    """A drift whose actor comes later is changed once, then nothing."""
    story = Story()
    story.see("held", 0)
    late = heard(DELETE, 1, ADMIN, received=3)
    opened = story.see("lost", 2)
    joined = story.see("lost", 4, late)
    assert kinds([opened.alert, joined.alert]) == ["opened", "changed"]
    assert alerted(opened).explanation.confidence is Confidence.NONE
    assert alerted(joined).explanation.actor == ADMIN
    assert alerted(joined).cause_key == alerted(opened).cause_key
    assert kinds([story.see("lost", 5, late).alert, story.see("lost", 6, late).alert]) == [None, None]


@pytest.mark.parametrize(("minute", "joined"), [(14, False), (15, True), (22, True), (27, True), (28, False)])
def test_a_late_actor_is_sought_where_the_drift_began(minute: float, joined: bool) -> None:
    """Only a change between the last other read and the finding is joined later, give or take Azure's lag."""
    story = Story()
    story.alerts(("held", 0), ("held", 20), ("lost", 22), ("lost", 40))
    assert (story.see("lost", 41, heard(DELETE, minute, ADMIN)).alert is not None) is joined


def test_another_unknown_needs_no_second_read() -> None:
    """Once unknown was alerted, a change of what is unknown is alerted at once."""
    story = Story()
    story.alerts(("unknown", 0), ("unknown", 2))
    failed = Finding(code="recheck-failed", level=State.UNKNOWN, summary="failed")
    outcome = story.see(Verdict(binding=CVM, state=State.UNKNOWN, read_at=at(3), findings=(failed,)), 3)
    assert (kinds([outcome.alert]), outcome.awaits_second_read) == (["changed"], False)


def test_an_actorless_event_is_followed_by_its_actor() -> None:
    """Key Vault's own event opens without an actor, and ARM's event of the same change names it, even a little earlier."""
    mine = binding(Scenario.CVM_CMK)
    full, none = (granting(mine, POLICY, names) for names in (("keys/all",), ()))
    story = Story(mine)
    story.see(judged(mine, full), 0)
    own = heard("Microsoft.KeyVault.VaultAccessPolicyChanged", 1.02, None, VAULT)
    arm = heard("Microsoft.KeyVault/vaults/accessPolicies/write", 1, ADMIN, VAULT, event="e2")
    opened = story.see(judged(mine, replace(none, read_at=at(2))), 2, own)
    joined = story.see(judged(mine, replace(none, read_at=at(3))), 3, own, arm)
    assert alerted(opened).explanation.notice == own.notice
    assert alerted(opened).explanation.confidence is Confidence.NONE
    assert alerted(joined).explanation.actor == ADMIN


def test_no_actor_whose_operation_does_not_fit() -> None:
    """Somebody who wrote the vault deleted no role assignment."""
    story = Story()
    story.see("held", 0)
    assert alerted(story.see("lost", 2, heard(VAULT_WRITE, 1, OTHER_ADMIN, VAULT))).explanation.notice is None
    assert story.see("lost", 3, heard(VAULT_WRITE, 1, OTHER_ADMIN, VAULT)).alert is None


def test_no_actor_of_another_assignments_deletion() -> None:
    """Where it is known which grants vanished, the deletion of another assignment explains nothing, now or later."""
    other = heard(DELETE, 1, OTHER_ADMIN, str(assignment(name="2").id))
    story = Story()
    story.see("held", 0)
    assert alerted(story.see("lost", 2, other)).explanation.actor is None
    assert story.see("lost", 3, other).alert is None
    assert alerted(story.see("lost", 4, other, heard(DELETE, 1, ADMIN))).explanation.actor == ADMIN


def test_no_deletion_explains_a_narrowed_role() -> None:
    """While every grant still stands, a deleted assignment of somebody else is not what narrowed the role."""
    story = Story()
    story.see("held", 0)
    other = heard(DELETE, 1, OTHER_ADMIN, str(assignment(name="2").id))
    assert alerted(story.see("short", 2, other)).explanation.actor is None
    definition = f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/r1"
    edit = heard("Microsoft.Authorization/roleDefinitions/write", 1.5, ADMIN, definition, event="e2")
    assert alerted(story.see("short", 3, other, edit)).explanation.actor == ADMIN


def test_no_actor_whose_change_explained_an_earlier_alert() -> None:
    """A change that explained one alert never explains the next, at once or later."""
    story = Story()
    admin = heard(DELETE, 1, ADMIN)
    story.see("held", 0)
    assert alerted(story.see("lost", 2, admin)).explanation.actor == ADMIN
    story.see("held", 3, admin)
    assert alerted(story.see("lost", 4, admin)).explanation.actor is None
    assert story.see("lost", 5, admin).alert is None
    assert alerted(story.see("lost", 6, admin, heard(DELETE, 3.5, OTHER_ADMIN, event="e2"))).explanation.actor == OTHER_ADMIN


def test_only_what_is_new_is_explained() -> None:
    """A change that fits an older finding is not named for a newer one of another kind."""
    mine = binding(Scenario.CVM_CMK)
    none = granting(mine, POLICY, ())
    off = with_object(none, mine.target, key_object(mine.target, enabled=False))
    theirs = heard(VAULT_WRITE, 4, OTHER_ADMIN, VAULT, event="e2")
    story = Story(mine)
    story.see(judged(mine, granting(mine, POLICY, ("keys/all",))), 0)
    story.see(judged(mine, replace(none, read_at=at(2))), 2, heard(VAULT_WRITE, 1, ADMIN, VAULT))
    changed = story.see(judged(mine, replace(off, read_at=at(5))), 5, theirs)
    assert kinds([changed.alert]) == ["changed"]
    assert alerted(changed).explanation.actor is None
    assert story.see(judged(mine, replace(off, read_at=at(6))), 6, theirs).alert is None


def test_a_partial_repair_names_who_made_it() -> None:
    """A change for the better is explained by what ends the finding."""
    story = Story()
    story.alerts(("held", 0), ("lost", 1))
    short = story.see("short", 5, heard(WRITE, 4, OTHER_ADMIN, str(assignment(name="2").id)))
    assert alerted(short).explanation.actor == OTHER_ADMIN


def test_a_management_groups_assignment_is_recognised() -> None:
    """An assignment at a management group has an id of its own, whose deletion names its actor."""
    scoped = assignment(MANAGEMENT_GROUP)
    mine = binding(Scenario.CVM_CMK)
    facts = with_store(granting(mine, RBAC, ACTIONS), assignments={APP_OBJECT: (scoped,)})
    story = Story(mine)
    story.see(judged(mine, facts), 0)
    lost = story.see("lost", 2, heard(DELETE, 1, ADMIN, str(scoped.id)))
    assert alerted(lost).explanation.actor == ADMIN


# --- cause keys ------------------------------------------------------------------------------------------------------------


def cause(of: KeyBinding, *steps: str | Verdict, notices: tuple[Heard, ...] = ()) -> str:
    """The cause key of the last alert of a story."""
    story = Story(of)
    outcomes = [story.see(what, n, *notices) for n, what in enumerate(steps)]
    return alerted(outcomes[-1]).cause_key


OTHER = binding(Scenario.CVM_CMK, target=key_at(name="k2"))


def test_one_assignment_is_one_cause_however_it_was_found() -> None:
    """Two bindings that lost the same role assignment share a cause, one through its event and one through a sweep."""
    assert cause(CVM, "held", "lost", notices=(heard(DELETE, 0.5, ADMIN),)) == cause(OTHER, "held", "lost")


def test_one_management_group_assignment_is_one_cause_in_every_vault() -> None:
    """Key stores that hang on one assignment far above share its cause."""
    scoped = assignment(MANAGEMENT_GROUP)
    elsewhere = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2"
    keys = []
    for mine in (CVM, binding(Scenario.CVM_CMK, target=key_at("kv2.vault.azure.net", store=elsewhere))):
        host = mine.target.uri.host
        facts = with_store(granting(mine, RBAC, ACTIONS), host, assignments={APP_OBJECT: (scoped,)})
        lost = with_store(facts, host, assignments={APP_OBJECT: ()})
        keys.append(cause(mine, judged(mine, facts), judged(mine, lost)))
    assert keys[0] == keys[1]


def test_local_assignments_of_two_hsms_are_two_causes() -> None:
    """A local assignment's id is unique in its HSM only."""
    keys = []
    other_hsm = HSM.replace("hsm1", "hsm2")
    for host, store in ((HSM_HOST, HSM), ("hsm2.managedhsm.azure.net", other_hsm)):
        mine = binding(Scenario.CVM_CMK, MHSM, target=key_at(host, store=store))
        full = granting(mine, MHSM, ("*",))
        full = with_vault(full, host, id=rid(store))
        none = with_store(full, host, hsm_assignments={"/": (), "/keys/k1": ()})
        keys.append(cause(mine, judged(mine, full), judged(mine, none)))
    assert keys[0] != keys[1]


def test_different_assignments_are_different_causes() -> None:
    """Another lost assignment is another cause."""
    facts = with_store(granting(OTHER, RBAC, ACTIONS), assignments={APP_OBJECT: (assignment(name="2"),)})
    assert cause(CVM, "held", "lost") != cause(OTHER, judged(OTHER, facts), "lost")


def test_one_right_of_the_monitor_is_one_cause() -> None:
    """Bindings that cannot be read for the same reason share a cause, whatever else is at risk there, and others do not."""
    facts = with_store(granting(OTHER, RBAC, ACTIONS), assignments={APP_OBJECT: unread("other assignments")})
    risky = judged(OTHER, replace(with_vault(facts, purge_protection=False), read_at=at(9)))
    throttled = with_store(granting(OTHER, RBAC, ACTIONS), assignments={APP_OBJECT: unread("assignments", 429)})
    mine = cause(CVM, "unknown", "unknown")
    assert risky.codes == {"facts-unreadable", "purge-protection-off"}
    assert mine == cause(OTHER, "unknown", risky)
    assert mine != cause(OTHER, "unknown", judged(OTHER, replace(throttled, read_at=at(9))))


def test_a_deleted_vault_is_one_cause() -> None:
    """Bindings of one vanished key store share its cause, whatever grants each had."""
    facts = with_store(granting(OTHER, RBAC, ACTIONS), assignments={APP_OBJECT: (assignment(name="2"),)})
    assert cause(CVM, "held", "gone") == cause(OTHER, judged(OTHER, facts), "gone")
    assert cause(CVM, "held", "gone") != cause(CVM, "held", "lost")


def test_findings_of_a_lower_level_make_no_other_cause() -> None:
    """A key store's missing protection does not split one cause in two."""
    gone = verdict(CVM, "lost-disabled", 1)
    more = replace(gone, findings=(*gone.findings, *verdict(CVM, "risk", 1).findings))
    assert cause(CVM, gone) == cause(OTHER, replace(more, binding=OTHER))


def test_a_loss_behind_a_blind_spot_is_a_cause_of_its_own() -> None:
    """What is lost while the monitor was blind is not the monitor's incident; a blink of blindness leaves the loss's cause."""
    blind = cause(CVM, "held", "unknown", "unknown")
    assert cause(CVM, "held", "unknown", "unknown", "lost") == cause(CVM, "held", "lost") != blind
    story = Story()
    alerts = [
        a for a in story.alerts(*((w, n) for n, w in enumerate(("held", "lost", "unknown", "unknown", "lost", "held")))) if a
    ]
    assert len({a.cause_key for a in alerts}) == 1


# --- retirement ------------------------------------------------------------------------------------------------------------


def test_retire() -> None:
    """An open drift of a binding that nothing needs is resolved as retired, once, and its numbers go on."""
    story = Story()
    story.see("lost", 0)
    assert story.record is not None
    nothing = Verdict(binding=CVM, state=State.HELD, read_at=at(5))
    outcome = retire(story.record, nothing, Moment(now=at(5), via=Via.SWEEP))
    alert = alerted(outcome)
    assert (alert.kind, alert.reason, alert.previous, alert.outage) == (Kind.RESOLVED, "retired", State.LOST, None)
    assert (outcome.record.standing, outcome.record.state) == (None, State.HELD)
    assert outcome.record.sequence == story.record.sequence + 1
    assert retire(outcome.record, nothing, Moment(now=at(6), via=Via.SWEEP)).alert is None


def test_retire_forgets_a_pending_unknown() -> None:
    """A binding that comes back starts a new minute of doubt."""
    story = Story()
    story.see("unknown", 0)
    assert story.record is not None
    nothing = Verdict(binding=CVM, state=State.HELD, read_at=at(5))
    outcome = retire(story.record, nothing, Moment(now=at(5), via=Via.SWEEP))
    assert (outcome.alert, outcome.record.pending_unknown_since) == (None, None)


def test_via_and_times_are_the_moments() -> None:
    """An alert says through what and when it was found."""
    outcome = compare(BindingRecord.created(CVM.id, NOW), verdict(CVM, "lost", 1), Moment(now=at(2), via=Via.SETTLE))
    alert = alerted(outcome)
    assert (alert.via, alert.detected_at, alert.verdict.read_at) == (Via.SETTLE, at(2), at(1))
    assert outcome.record.read_at == at(1)
