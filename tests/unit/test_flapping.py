"""Flapping: when it begins, what is still told, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from keydrift.alerts.actor import Heard
from keydrift.alerts.change import Change
from keydrift.alerts.flapping import Damping
from keydrift.alerts.lifecycle import Lifecycle, Outcome, follow
from keydrift.alerts.record import BindingRecord
from keydrift.catalogue import CODES
from keydrift.declared import Exemption, ExemptionOutcome, Match
from keydrift.drift import Alert, Kind, Moment, Via
from keydrift.model import Actor, ChangeNotice, Finding, Scenario, State, Verdict
from support.builders import NOW, VAULT, binding, rid

OF = binding(Scenario.CVM_CMK)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
RULES = Lifecycle(damping=Damping(count=3, window=HOUR), remind_after=timedelta(hours=2))
CODES_OF = {
    "held": (),
    "lost": ("access-policy-absent",),
    "worse": ("access-policy-absent", "key-disabled"),
    "risk": ("purge-protection-off",),
    "expiring": ("key-expiring",),
}
STATES = {"held": State.HELD, "lost": State.LOST, "worse": State.LOST, "risk": State.AT_RISK, "expiring": State.AT_RISK}


class Story:
    """A binding's verdicts one after another, with what was told."""

    def __init__(self, rules: Lifecycle = RULES) -> None:
        self.record, self.rules = BindingRecord.created(OF.id, NOW), rules
        self.told: list[Alert] = []
        self.outcome = Outcome(record=self.record)

    def see(self, what: str, minutes: float, *heard: Heard, exemption: ExemptionOutcome | None = None) -> list[str]:
        """Read it at that minute; returns what was told, as kind, reason and change."""
        now = NOW + minutes * MINUTE
        findings = tuple(Finding(code=code, level=CODES[code].level, summary=code) for code in CODES_OF[what])
        verdict = Verdict(binding=OF, state=STATES[what], read_at=now, findings=findings)
        at = Moment(now=now, via=Via.EVENT, heard=heard)
        self.outcome = follow(self.record, verdict, replace(at, exemption=exemption) if exemption else at, self.rules)
        self.record = self.outcome.record
        self.told += self.outcome.alerts
        return [" ".join(filter(None, (each.kind, each.reason, each.change))) for each in self.outcome.alerts]

    def flap(self, what: str = "lost", times: int = 3, start: float = 0) -> float:
        """Lost and held again so many times, two minutes apart; returns the next minute."""
        for n in range(times):
            self.see(what, start + 4 * n)
            self.see("held", start + 4 * n + 2)
        return start + 4 * times


def test_the_fourth_opening_within_the_hour_flaps() -> None:
    """Three openings and resolutions are told; the fourth opening too, and beside it that it flaps, and how often it has."""
    story = Story()
    at = story.flap()
    assert [each.kind for each in story.told] == [Kind.OPENED, Kind.RESOLVED] * 3
    assert story.see("lost", at) == ["opened worse", "changed flapping same"]
    assert story.told[-1].ends == 3
    assert story.told[-1].verdict.state is State.LOST


def test_what_ended_longer_ago_does_not_count() -> None:
    """Of three resolutions one lies an hour back at the fourth opening: nothing flaps."""
    story = Story()
    story.flap(times=1)
    story.flap(times=2, start=30)
    assert story.see("lost", 62) == ["opened worse"]
    within = Story()
    within.flap(times=1)
    within.flap(times=2, start=30)
    assert within.see("lost", 61.9) == ["opened worse", "changed flapping same"]


def test_while_it_flaps_nothing_of_the_same_severity_is_told() -> None:
    """Losses and returns are held back, each one marked as such, until it has been held for half the window."""
    story = Story()
    at = story.flap()
    story.see("lost", at)
    for n in range(1, 10):
        assert story.see("held" if n % 2 else "lost", at + 2 * n) == []
        assert story.outcome.held_back
    assert story.see("held", at + 20) == []
    assert story.see("held", at + 47.9) == []
    assert not story.outcome.held_back
    assert story.see("held", at + 48) == ["resolved calmed better"]
    assert story.told[-1].ends == 3 + 5
    # five losses of two minutes each were held back, or told as one
    assert story.told[-1].outage == 10 * MINUTE


def test_a_rise_in_severity_is_told_at_once() -> None:
    """A binding that flaps at risk and is then lost tells the loss; falling back is told when it calms."""
    story = Story()
    at = story.flap("risk")
    assert story.see("risk", at) == ["opened worse", "changed flapping same"]
    assert story.see("held", at + 1) == []
    assert story.see("lost", at + 2) == ["changed worse"]
    assert (story.told[-1].previous, story.told[-1].verdict.state) == (State.AT_RISK, State.LOST)
    assert story.see("risk", at + 3) == []
    assert story.see("lost", at + 4) == []
    assert story.see("risk", at + 5) == []
    assert story.see("risk", at + 35) == ["changed calmed better"]
    assert (story.told[-1].previous, story.told[-1].verdict.state) == (State.LOST, State.AT_RISK)


def test_a_rise_within_at_risk_is_told() -> None:
    """From Low to Medium is a rise too."""
    story = Story()
    at = story.flap("risk")
    story.see("risk", at)
    story.see("held", at + 1)
    assert story.see("expiring", at + 2) == ["changed same"]


def test_more_findings_of_one_severity_wait_until_it_calms() -> None:
    """Another finding at the same severity is told when the binding has calmed, and no finding stays untold."""
    story = Story()
    at = story.flap()
    story.see("lost", at)
    assert story.see("worse", at + 1) == []
    assert story.see("worse", at + 31) == ["changed calmed worse"]
    assert story.told[-1].verdict.codes == set(CODES_OF["worse"])
    assert story.see("worse", at + 32) == []
    assert story.see("held", at + 33) == ["resolved better"]
    # since the opening that was told
    assert story.told[-1].outage == 33 * MINUTE


def test_a_lasting_loss_calms_with_its_whole_outage() -> None:
    """What flapped and stays lost is told as such, reminded of, and resolved with all that was lost since the opening."""
    story = Story()
    at = story.flap()
    story.see("lost", at)
    story.see("held", at + 2)
    story.see("lost", at + 4)
    assert story.see("lost", at + 34) == ["changed calmed same"]
    assert story.see("lost", at + 153) == ["changed reminder same"]
    assert story.see("held", at + 154) == ["resolved better"]
    assert story.told[-1].outage == (2 + 150) * MINUTE


def test_after_it_calmed_counting_starts_anew() -> None:
    """A drift after the calm is told like any first one."""
    story = Story()
    at = story.flap()
    story.see("lost", at)
    story.see("held", at + 1)
    assert story.see("held", at + 31) == ["resolved calmed better"]
    assert story.see("lost", at + 32) == ["opened worse"]
    assert story.see("held", at + 33) == ["resolved better"]


def test_an_actor_who_is_heard_of_late_is_told() -> None:
    """Who caused the drift that was told last is joined while the binding flaps; who caused one that was held back is not."""
    story = Story()
    at = story.flap()
    story.see("lost", at)
    assert story.see("lost", at + 1, write(at)) == ["changed same"]
    assert story.told[-1].explanation.actor == ADMIN
    story.see("held", at + 2)
    story.see("lost", at + 4)
    assert story.see("lost", at + 5, write(at + 4)) == []


def test_the_end_of_an_exemption_is_a_rise() -> None:
    """An exempted binding that flaps weighs nothing: without its exemption the same loss is told."""
    story = Story()
    exempt = ExemptionOutcome(by=(EXEMPTION,))
    for n in range(3):
        story.see("lost", 4 * n, exemption=exempt)
        story.see("held", 4 * n + 2)
    assert story.see("lost", 12, exemption=exempt) == ["opened worse", "changed flapping same"]
    story.see("held", 14)
    assert story.see("lost", 16, exemption=exempt) == []
    story.see("held", 18)
    assert story.see("lost", 20) == ["changed same"]
    assert not story.told[-1].exempted


def test_the_count_is_a_setting() -> None:
    """Another count flaps sooner; none never does."""
    sooner = Story(Lifecycle(damping=Damping(count=1, window=HOUR)))
    sooner.flap(times=1)
    assert sooner.see("lost", 5) == ["opened worse", "changed flapping same"]
    never = Story(Lifecycle(damping=Damping(count=0)))
    never.flap(times=20)
    assert len(never.told) == 40
    assert Damping(window=HOUR).quiet == HOUR / 2
    assert {each.change for each in never.told} == {Change.WORSE, Change.BETTER}


ADMIN = Actor(object_id="admin", name="admin@contoso.com")
EXEMPTION = Exemption(
    match=Match(scenario="*"), codes=frozenset({"*"}), justification="a test", author="me", expires=NOW + 10 * HOUR
)


def write(minutes: float) -> Heard:
    notice = ChangeNotice(
        event_id=f"e{minutes}",
        event_type="Microsoft.Resources.ResourceWriteSuccess",
        operation="Microsoft.KeyVault/vaults/write",
        resource_id=rid(VAULT),
        occurred_at=NOW + minutes * MINUTE,
        actor=ADMIN,
    )
    return Heard(notice=notice, received_at=NOW + minutes * MINUTE)
