"""The summary: two sentences that say what was lost by whom, what is in danger, who did it and by when it bites."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.actor import Confidence, Explanation, Heard
from keydrift.alerts.change import Change
from keydrift.alerts.wording import summary, title
from keydrift.catalogue import CODES
from keydrift.drift import Alert, Kind, Via
from keydrift.facts import Principal
from keydrift.model import Actor, ChangeNotice, Consumer, Finding, KeyBinding, ProtectedItem, Scenario, State, Verdict
from support.builders import APP_OBJECT, BACKUP_VAULT, NOW, VAULT, VM, binding, rid

HOUR = timedelta(hours=1)
SENTENCE_END = re.compile(r"\.(?: |$)")


def item(name: str, hours: int | None) -> ProtectedItem:
    made = ProtectedItem(id=rid(f"{BACKUP_VAULT}/backupInstances/{name}"), name=f"disk {name}")
    return replace(made, last_recovery_point_at=None if hours is None else NOW - hours * HOUR)


ITEMS = tuple(item(f"i{n}", n) for n in range(1, 6))
MACHINES = binding(Scenario.CVM_CMK, consumers=tuple(Consumer(id=rid(f"{VM}{n}"), protected_items=ITEMS[:1]) for n in range(2)))
OF_VAULT = binding(Scenario.BACKUP_VAULT_CMK, consumers=(Consumer(id=rid(BACKUP_VAULT), protected_items=ITEMS),))
CUT = binding(Scenario.RSV_CMK, consumers=(Consumer(id=rid(BACKUP_VAULT), protected_items=ITEMS[:2], protected_count=700),))
BARE = binding(Scenario.BACKUP_VAULT_CMK, consumers=(Consumer(id=rid(BACKUP_VAULT), protected_items=(item("i0", None),)),))
NONE = binding(Scenario.BACKUP_VAULT_CMK)


def finding(code: str, text: str = "it is so. Really.") -> Finding:
    return Finding(code=code, level=CODES[code].level, summary=text)


def explained(actor: Actor | None, confidence: Confidence = Confidence.CERTAIN) -> Explanation:
    notice = ChangeNotice(
        event_id="e", event_type="t", operation="o", resource_id=rid(VAULT), occurred_at=NOW - HOUR, actor=actor
    )
    return Explanation(heard=Heard(notice=notice, received_at=NOW), confidence=confidence)


ADMIN = Actor(object_id="o1", name="admin@contoso.com", app_id="a1", ip="203.0.113.7")


def alert(of: KeyBinding = MACHINES, state: State = State.LOST, *codes: str, **changes: object) -> Alert:
    named = codes or {State.LOST: ("key-disabled",), State.HELD: (), State.UNKNOWN: ("facts-unreadable",)}.get(
        state, ("purge-protection-off",)
    )
    made = Alert(
        id="a",
        kind=Kind.RESOLVED if state is State.HELD else Kind.OPENED,
        sequence=1,
        verdict=Verdict(
            binding=of,
            state=state,
            read_at=NOW,
            findings=tuple(map(finding, named)),
            principal=Principal(object_id=APP_OBJECT, name="Backup Management Service"),
        ),
        previous=State.LOST if state is State.HELD else State.HELD,
        via=Via.EVENT,
        detected_at=NOW,
        cause_key="c",
        explanation=Explanation.none(),
        change=Change.WORSE,
        lost_at=NOW - 2 * HOUR,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


ALERTS = {
    "lost": alert(),
    "lost for good": alert(MACHINES, State.LOST, "key-disabled", "purge-protection-off", "soft-delete-off"),
    "named": alert(explanation=explained(ADMIN)),
    "likely": alert(explanation=explained(ADMIN, Confidence.LIKELY)),
    "an application": alert(explanation=explained(Actor(app_id="a1"))),
    "seen, nobody named": alert(explanation=explained(None, Confidence.NONE)),
    "vault": alert(OF_VAULT),
    "cut": alert(CUT),
    "points not shown": alert(BARE),
    "nothing protected": alert(NONE),
    "at risk": alert(MACHINES, State.AT_RISK),
    "at risk by itself": alert(MACHINES, State.AT_RISK, "key-expiring"),
    "better": alert(MACHINES, State.AT_RISK, previous=State.LOST, kind=Kind.CHANGED),
    "unknown": alert(MACHINES, State.UNKNOWN),
    "resolved": alert(MACHINES, State.HELD, outage=timedelta(hours=25, minutes=1), explanation=explained(ADMIN)),
    "resolved at once": alert(MACHINES, State.HELD),
    "retired": alert(MACHINES, State.HELD, reason="retired"),
    "reminder": alert(reason="reminder", kind=Kind.CHANGED, change=Change.SAME),
    "flapping": alert(reason="flapping", kind=Kind.CHANGED, change=Change.SAME, ends=3),
    "calmed": alert(MACHINES, State.HELD, reason="calmed", ends=7),
    "notice": alert(MACHINES, State.HELD, "key-changed", kind=Kind.CHANGED, is_notice=True, change=None),
}


def said(name: str) -> str:
    return summary(ALERTS[name], NOW + HOUR, NOW + 3 * HOUR)


@pytest.mark.parametrize("name", ALERTS)
def test_it_is_two_sentences(name: str) -> None:
    """Whatever happened, and however many sentences a finding has, the summary has two; the title is one line."""
    assert len(SENTENCE_END.findall(said(name))) == 2
    assert "\n" not in title(ALERTS[name])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lost", ("Backup Management Service cannot use key k1 in kv1: it is so; Really;", "2 backup items (vm10, vm11;")),
        ("lost", ("Nobody is named", "ActorLookup", "bites by 2026-03-01 13:00 UTC", "fail first at 2026-03-01 15:00 UTC")),
        ("lost", ("newest recovery point 2026-03-01 11:00 UTC",)),
        ("lost for good", ("it is so; Really (and 2 more findings)",)),
        ("named", ("Changed by admin@contoso.com from 203.0.113.7 at 2026-03-01 11:00 UTC;",)),
        ("likely", ("Probably changed by admin@contoso.com",)),
        ("an application", ("Changed by application a1 at",)),
        ("seen, nobody named", ("A change was seen at 2026-03-01 11:00 UTC, but nobody is named",)),
        (
            "vault",
            ("The identity of backup vault bv1 cannot use", "5 backup items (disk i1, disk i2, disk i3 and 2 more; newest"),
        ),
        ("cut", ("Recovery Services vault rsv1", "700 backup items (disk i1, disk i2 and 698 more;")),
        ("points not shown", ("1 backup item (disk i0; recovery points not shown)",)),
        ("nothing protected", ("in danger: no protected item that is known.",)),
        ("at risk", ("can use key k1 in kv1 still, though not safely", "nothing is lost yet")),
        ("at risk by itself", ("it gets lost with time alone",)),
        ("better", ("can use key k1 in kv1 again, though not safely",)),
        ("unknown", ("Keydrift cannot tell whether Backup Management Service can use key k1", "nobody knows whether backups")),
        ("resolved", ("can use key k1 in kv1 again after 1 d 1 h without it", "Repaired by admin@contoso.com", "usable by")),
        ("resolved at once", ("can use key k1 in kv1 again; it guards",)),
        ("retired", ("Nothing needs key k1 in kv1 any more, which was lost (retired).",)),
        ("reminder", ("has been unable to use key k1 in kv1 since 2026-03-01 10:00 UTC", "earlier alerts of the same CauseKey")),
        ("flapping", ("well again 3 times", "held back until it keeps one state")),
        ("calmed", ("well again 7 times",)),
        ("notice", ("It is so; Really; the key guards 2 backup items", "whether the new key may be used stands in Verdict")),
    ],
)
def test_what_it_says(name: str, parts: tuple[str, ...]) -> None:
    """Each kind of alert says its own."""
    for part in parts:
        assert part in said(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lost", "The key is disabled: key k1 in kv1"),
        ("reminder", "Still lost: The key is disabled: key k1 in kv1"),
        ("flapping", "Flapping: The key is disabled: key k1 in kv1"),
        ("calmed", "Azure Backup can use key k1 in kv1 again"),
        ("resolved", "Azure Backup can use key k1 in kv1 again"),
        ("retired", "Nothing needs key k1 in kv1 any more"),
        ("notice", "A consumer now uses another key: key k1 in kv1"),
    ],
)
def test_title(name: str, expected: str) -> None:
    """The title names the finding and the key, and what sets this alert apart from the opening."""
    assert title(ALERTS[name]) == expected


def test_no_first_backup_is_made_up() -> None:
    """Where no backup time is known, none is told."""
    assert "daily backup" not in summary(ALERTS["lost"], NOW, None)
