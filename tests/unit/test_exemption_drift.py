"""Exemptions while a drift stands: what each beginning, change, end and lapse makes, and that nothing is silent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from keydrift.alerts.actor import Heard
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.row import alert_row
from keydrift.declared import Declarations, DeclaredBinding, Exemption, Match, exempted
from keydrift.document import verdict_document
from keydrift.drift import Alert, Comparison, Moment, Via, compare, retire
from keydrift.inventory import EncryptedVault, Inventory
from keydrift.judgement import Policy
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice, Scenario, State, Verdict
from keydrift.monitor import Monitor
from keydrift.scan import ScanResult, scan
from keydrift.stored_record import record_document, record_from
from support.builders import (
    APP_OBJECT,
    BACKUP_VAULT,
    NOW,
    RBAC,
    SUB,
    TENANT,
    VAULT,
    binding,
    granting,
    judged,
    owner_identity,
    rid,
    with_store,
    with_vault,
)
from support.world import OneByOne, World

MINUTE = timedelta(minutes=1)
CVM = binding(Scenario.CVM_CMK)
HELD = granting(CVM, RBAC, ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action"))
FACTS = {
    "held": HELD,
    "risk": with_vault(HELD, purge_protection=False),
    "lost": with_store(HELD, assignments={APP_OBJECT: ()}),
}


def at(minutes: float) -> datetime:
    return NOW + minutes * MINUTE


def verdict(what: str, minutes: float) -> Verdict:
    return judged(CVM, replace(FACTS[what], read_at=at(minutes)))


def exemption(*codes: str, until: float = 60, why: str = "a test vault") -> Exemption:
    match = Match(binding=CVM.id)
    return Exemption(match=match, codes=frozenset(codes), justification=why, author="team", expires=at(until))


@dataclass
class Story:
    """One binding's verdicts one after another, its exemptions, and what was alerted. Every record goes through its document."""

    exemptions: list[Exemption] = field(default_factory=list)
    record: BindingRecord | None = None

    def see(self, what: str, minutes: float, *heard: Heard) -> Comparison:
        found = verdict(what, minutes)
        outcome = exempted(found, self.exemptions, at(minutes))
        last = self.record or BindingRecord.created(CVM.id, at(minutes))
        compared = compare(last, found, Moment(now=at(minutes), via=Via.SWEEP, heard=heard, exemption=outcome))
        self.record = record_from(record_document(compared.record))
        assert self.record == compared.record
        return compared


def alerted(outcome: Comparison) -> Alert:
    assert outcome.alert is not None
    return outcome.alert


def shown(outcome: Comparison) -> tuple[object, ...] | None:
    """What a row says of exemptions."""
    if outcome.alert is None:
        return None
    row = alert_row(outcome.alert, TENANT)
    return row["Kind"], row["Verdict"], row["Exempted"], row["Reason"]


ALL, RISK, LOSS = exemption("*"), exemption("purge-protection-off"), exemption("role-assignment-absent")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("risk", [RISK])], [("opened", "at_risk", True, None)], id="opened exempt"),
        pytest.param([("risk", [LOSS])], [("opened", "at_risk", False, None)], id="another finding is exempt"),
        pytest.param([("held", [ALL]), ("held", [])], [None, None], id="held has nothing to exempt"),
        pytest.param(
            [("risk", [RISK]), ("risk", [RISK])], [("opened", "at_risk", True, None), None], id="an exemption that stays"
        ),
        pytest.param(
            [("risk", []), ("risk", [RISK]), ("risk", [RISK])],
            [("opened", "at_risk", False, None), ("changed", "at_risk", True, "exemption-began"), None],
            id="begins",
        ),
        pytest.param(
            [("risk", [RISK]), ("risk", []), ("risk", [])],
            [("opened", "at_risk", True, None), ("changed", "at_risk", False, "exemption-ended"), None],
            id="ends",
        ),
        pytest.param(
            [("risk", [RISK]), ("risk", [exemption("purge-protection-off", until=0.5)]), ("risk", [])],
            [("opened", "at_risk", True, None), ("changed", "at_risk", False, "exemption-lapsed"), None],
            id="lapses",
        ),
        pytest.param(
            [("risk", [RISK]), ("risk", [exemption("*", why="another reason")])],
            [("opened", "at_risk", True, None), ("changed", "at_risk", True, "exemption-changed")],
            id="changes",
        ),
        pytest.param(
            [("risk", [RISK]), ("lost", [RISK])],
            [("opened", "at_risk", True, None), ("changed", "lost", False, None)],
            id="worsens beyond the exemption",
        ),
        pytest.param(
            [("risk", [ALL]), ("lost", [exemption("*", until=0.5)])],
            [("opened", "at_risk", True, None), ("changed", "lost", False, "exemption-lapsed")],
            id="worsens and lapses at once",
        ),
        pytest.param(
            [("lost", [LOSS]), ("held", [LOSS])],
            [("opened", "lost", True, None), ("resolved", "held", True, None)],
            id="resolved as it stood",
        ),
        pytest.param(
            [("lost", [LOSS]), ("held", [LOSS]), ("lost", [])],
            [("opened", "lost", True, None), ("resolved", "held", True, None), ("opened", "lost", False, None)],
            id="opened again without it",
        ),
    ],
)
def test_turns(steps: list[tuple[str, list[Exemption]]], expected: list[tuple[object, ...] | None]) -> None:
    """Each turn of an exemption while the binding is not held is one row that says which, and never more than one."""
    story = Story()
    found: list[tuple[object, ...] | None] = []
    for minute, (what, exemptions) in enumerate(steps):
        story.exemptions = exemptions
        found.append(shown(story.see(what, minute)))
    assert found == expected


def test_it_lapses_by_itself_and_says_so() -> None:
    """With nothing changed but the time, the first read after the expiry alerts, names the exemption, and is told once."""
    story = Story([exemption("purge-protection-off", until=10)])
    rows = [alert_row(alert, TENANT) for minute in (0, 10, 10.5, 11) if (alert := story.see("risk", minute).alert)]
    assert [(row["Kind"], row["Exempted"], row["Reason"]) for row in rows] == [
        ("opened", True, None),
        ("changed", False, "exemption-lapsed"),
    ]
    until = "(team, expires 2026-03-01T12:10:00Z)"
    assert [row["ExemptionReason"] for row in rows] == [f"a test vault {until}", f"lapsed: a test vault {until}"]


def test_opened_after_the_expiry_names_the_lapsed_exemption() -> None:
    """A drift that an expired exemption would have covered is not exempt, and its row names it."""
    row = alert_row(alerted(Story([exemption("*", until=-1)]).see("lost", 0)), TENANT)
    assert (row["Exempted"], row["Severity"]) == (False, "High")
    assert str(row["ExemptionReason"]).startswith("lapsed: a test vault")


def test_an_exemption_keeps_severity_and_identity() -> None:
    """An exempted alert is the same alert with a mark: id, severity, findings, cause and outage are those without one."""
    rows = []
    for exemptions in ([], [ALL]):
        story = Story(exemptions)
        rows.append([alert_row(alerted(story.see(what, n)), TENANT) for n, what in enumerate(("lost", "risk", "held"))])
    marks = ("Exempted", "ExemptionReason")
    plain, marked = ([{k: v for k, v in row.items() if k not in marks} for row in each] for each in rows)
    assert plain == marked
    assert [[row["Exempted"] for row in each] for each in rows] == [[False] * 3, [True] * 3]


def test_a_turn_keeps_the_incident() -> None:
    """The row of a lapse carries the cause key and the next sequence of the drift that it belongs to."""
    story = Story([exemption("*", until=0.5)])
    opened, lapsed = alerted(story.see("lost", 0)), alerted(story.see("lost", 1))
    assert (lapsed.cause_key, lapsed.sequence, lapsed.previous) == (opened.cause_key, opened.sequence + 1, State.LOST)


def test_an_actor_who_is_heard_of_later_is_still_joined() -> None:
    """A lapse before the actor is known names nobody, and takes nothing from the change that does."""
    story = Story([exemption("*", until=1.5)])
    notice = ChangeNotice(
        event_id="e1",
        event_type="Microsoft.Resources.ResourceDeleteSuccess",
        operation="Microsoft.Authorization/roleAssignments/delete",
        resource_id=rid(f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/1"),
        occurred_at=at(0.5),
        actor=Actor(object_id="admin"),
    )
    outcomes = [
        story.see("held", 0),
        story.see("lost", 1),
        story.see("lost", 2, Heard(notice=replace(notice, actor=None), received_at=at(1.5))),
        story.see("lost", 3, Heard(notice=notice, received_at=at(2.5))),
        story.see("lost", 4, Heard(notice=notice, received_at=at(2.5))),
    ]
    told = [(o.alert.reason, o.alert.explanation.names_actor) if o.alert else None for o in outcomes]
    assert told == [None, (None, False), ("exemption-lapsed", False), (None, True), None]
    assert alerted(outcomes[2]).explanation.notice is None


def test_a_lapse_does_not_name_the_actor_twice() -> None:
    """Where the actor is known already, the row of a lapse explains nothing again."""
    story = Story([exemption("*", until=1.5)])
    notice = ChangeNotice(
        event_id="e1",
        event_type="t",
        operation="Microsoft.Authorization/roleAssignments/delete",
        resource_id=rid(f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/1"),
        occurred_at=at(0.5),
        actor=Actor(object_id="admin"),
    )
    heard = Heard(notice=notice, received_at=at(0.5))
    told = [story.see("held", 0), story.see("lost", 1, heard), story.see("lost", 2, heard)]
    assert [o.alert.explanation.names_actor if o.alert else None for o in told] == [None, True, False]


def test_retired_as_it_stood() -> None:
    """A binding that nothing needs any more is resolved with the exemption that stood."""
    story = Story([ALL])
    story.see("lost", 0)
    assert story.record is not None
    gone = Verdict(binding=CVM, state=State.HELD, read_at=at(1))
    alert = alerted(retire(story.record, gone, Moment(now=at(1), via=Via.SWEEP)))
    assert (alert.exempted, alert.exemption_reason, alert.reason) == (True, ALL.text, "retired")


# --- what a scan shows -----------------------------------------------------------------------------------------------------


def scanned(*verdicts: Verdict, exemptions: list[Exemption]) -> ScanResult:
    outcomes = {each.binding.id: exempted(each, exemptions, NOW) for each in verdicts}
    return ScanResult(verdicts=verdicts, unread=(), inventory_unread=(), exemptions=outcomes)


@pytest.mark.parametrize(
    ("what", "exemptions", "fail_on", "expected"),
    [
        ("lost", [], State.LOST, 1),
        ("lost", [ALL], State.LOST, 0),
        ("lost", [RISK], State.LOST, 1),
        ("lost", [exemption("*", until=-1)], State.LOST, 1),
        ("risk", [], State.AT_RISK, 1),
        ("risk", [RISK], State.AT_RISK, 0),
    ],
)
def test_exit_status(what: str, exemptions: list[Exemption], fail_on: State, expected: int) -> None:
    """An exempted verdict does not count for the exit status; a lapsed exemption is none."""
    assert scanned(verdict(what, 0), exemptions=exemptions).exit_status(fail_on) == expected


def test_one_exempted_verdict_hides_no_other() -> None:
    """The exit status is that of the verdicts which are not exempt."""
    other = replace(verdict("lost", 0), binding=binding(Scenario.BACKUP_VAULT_CMK))
    assert scanned(verdict("lost", 0), other, exemptions=[ALL]).exit_status() == 1


@pytest.mark.parametrize(
    ("exemptions", "expected"),
    [
        ([], (False, None)),
        ([RISK], (False, None)),
        (
            [ALL],
            (True, {"reason": "a test vault", "author": "team", "expires": "2026-03-01T13:00:00.000Z", "lapsed": False}),
        ),
        (
            [exemption("*", until=-1)],
            (False, {"reason": "a test vault", "author": "team", "expires": "2026-03-01T11:59:00.000Z", "lapsed": True}),
        ),
    ],
)
def test_document(exemptions: list[Exemption], expected: tuple[object, object]) -> None:
    """A verdict's document says whether it is exempt, and by whom, why and until when, or that this lapsed."""
    lost = verdict("lost", 0)
    document = verdict_document(lost, exempted(lost, exemptions, NOW))
    assert (document["exempted"], document["exemption"]) == expected
    assert document["severity"] == "High"


# --- through the monitor ---------------------------------------------------------------------------------------------------

BINDING = binding(Scenario.BACKUP_VAULT_CMK)
WORDS = [f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action")]
DECLARED = DeclaredBinding(
    scenario=Scenario.BACKUP_VAULT_CMK,
    key=KeyUri.parse("https://kv1.vault.azure.net/keys/k1"),
    consumer=rid(BACKUP_VAULT),
    identity=owner_identity(BACKUP_VAULT),
    where="watchlist.yaml:3:5",
)


async def rows_after(world: World, monitor: Monitor, minutes: float) -> list[dict[str, object]]:
    """The rows that a sweep delivers that much later."""
    before = len(world.sink.rows)
    world.clock.advance(minutes * 60)
    await monitor.sweep()
    for body in list(world.queue.bodies):
        await monitor.recheck(body)
    return world.sink.rows[before:]


async def test_a_declared_binding_is_watched_and_its_exemption_lapses() -> None:
    """A declared binding that no resource shows is alerted exempt, and a later sweep alerts the lapse alone."""
    world = World(
        with_vault(granting(BINDING, RBAC, WORDS), purge_protection=False), Inventory(stores={DECLARED.key.host: rid(VAULT)})
    )
    granted = Exemption(
        match=Match(key="https://kv1.*"),
        codes=frozenset({"purge-protection-off"}),
        justification="a test vault",
        author="team",
        expires=at(20),
    )
    monitor = world.declaring(Declarations(bindings=(DECLARED,), exemptions=(granted,)))
    rows = [await rows_after(world, monitor, minutes) for minutes in (1, 5, 30, 30)]
    told = [[(row["Kind"], row["Exempted"], row["Reason"]) for row in each] for each in rows]
    assert told == [[("opened", True, None)], [], [("changed", False, "exemption-lapsed")], []]
    remembered = await world.state.remembered(BINDING.id)
    assert remembered is not None
    assert remembered.posture is not None
    assert (remembered.posture["exempted"], remembered.record.standing and remembered.record.standing.exempted) == (False, False)
    assert remembered.posture["exemption"] == {
        "reason": "a test vault",
        "author": "team",
        "expires": "2026-03-01T12:20:00.000Z",
        "lapsed": True,
    }


async def test_what_is_declared_and_not_there_is_reported_and_the_rest_goes_on() -> None:
    """A declared consumer that is not there is named with its position; what is discovered is watched and retired as ever."""
    found = EncryptedVault(
        id=rid(BACKUP_VAULT),
        scenario=Scenario.BACKUP_VAULT_CMK,
        location="westeurope",
        key=DECLARED.key,
        identity=owner_identity(BACKUP_VAULT),
    )
    stores, gone = {DECLARED.key.host: rid(VAULT)}, f"{BACKUP_VAULT}9"
    seen = Inventory(stores=stores, vaults=(found,), listed=frozenset({rid(BACKUP_VAULT).key}))
    world = World(granting(BINDING, RBAC, WORDS), seen)
    slip = replace(DECLARED, consumer=rid(gone), identity=owner_identity(gone))
    monitor = world.declaring(Declarations(bindings=(slip,)))
    await monitor.sweep()
    watched = (await world.state.watchlist()).bindings
    assert {str(each.consumers[0].id) for each in watched.values()} == {BACKUP_VAULT, gone}
    unread = (await monitor.posture())["unread"]
    assert isinstance(unread, list)
    assert [each["source"] for each in unread] == [f"watchlist.yaml:3:5: consumer {gone}"]
    world.consumers.inventory = Inventory(stores=stores, listed=frozenset())
    await monitor.sweep()
    assert {str(each.consumers[0].id) for each in (await world.state.watchlist()).bindings.values()} == {gone}


async def test_scan_counts_no_exempted_verdict_and_names_what_is_not_there() -> None:
    """A scan decides declared bindings too, shows exempted ones, and names a declared key store that is not there."""
    world = World(with_store(granting(BINDING, RBAC, WORDS), assignments={}), Inventory())
    granted = replace(ALL, match=Match(scenario="backup-*"))
    policy = Policy(
        backup_app_id="app",
        key_expiry=MINUTE,
        declared={},
        declarations=Declarations(bindings=(DECLARED,), exemptions=(granted,)),
    )
    result = await scan(
        consumers=world.consumers,
        bulk=OneByOne(world),
        clock=world.clock,
        policy=policy,
        subscriptions=(SUB.rpartition("/")[2],),
    )
    (found,) = result.verdicts
    assert found.state is not State.HELD
    assert (result.exemption(found).exempted, result.exit_status()) == (True, 0)
    assert "watchlist.yaml:3:5: key store kv1.vault.azure.net" in {each.source for each in result.unread}
