"""The blast radius: what is protected, the newest recovery point, the first backup at risk, and whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from keydrift.alerts.blast_radius import first_backup_at_risk, item_count, items_of, last_recovery_point, owners
from keydrift.model import Consumer, Ownership, ProtectedItem, Scenario, State, Verdict
from support.builders import DISK_SET, NOW, RECOVERY_VAULT, VM, binding, rid

HOUR = timedelta(hours=1)


def item(number: int = 1, **changes: object) -> ProtectedItem:
    made = ProtectedItem(id=rid(f"{RECOVERY_VAULT}/protectedItems/i{number}"))
    return replace(made, **changes)  # type: ignore[arg-type]


def verdict(*items: ProtectedItem, state: State = State.LOST) -> Verdict:
    of = binding(Scenario.CVM_CMK, consumers=(Consumer(id=rid(VM), protected_items=items, through=rid(DISK_SET)),))
    return Verdict(binding=of, state=state, read_at=NOW)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (NOW - HOUR, NOW + 23 * HOUR),
        (NOW - 23 * HOUR, NOW + HOUR),
        # the one that is due while the loss has not bitten yet succeeds, also at that very moment
        (NOW - 24 * HOUR, NOW + 24 * HOUR),
        (NOW - 25 * HOUR, NOW + 23 * HOUR),
        (NOW - 48 * HOUR, NOW + 24 * HOUR),
        # not on a daily schedule, or failing for another reason
        (NOW - 48 * HOUR - timedelta(seconds=1), None),
        # it ran after the loss had bitten, so it was counted in the loss's time already
        (NOW + HOUR, NOW + 25 * HOUR),
        (None, None),
    ],
)
def test_the_first_backup_at_risk(last: datetime | None, expected: datetime | None) -> None:
    """It is the next of a daily schedule after the loss bites; without a last backup nobody knows."""
    assert first_backup_at_risk(verdict(item(last_backup_at=last)), NOW) == expected


def test_the_first_of_several_counts() -> None:
    """Of several items the one that is due first is told; one that shows nothing hides no other."""
    several = verdict(item(1, last_backup_at=NOW - HOUR), item(2), item(3, last_backup_at=NOW - 5 * HOUR))
    assert first_backup_at_risk(several, NOW) == NOW + 19 * HOUR


@pytest.mark.parametrize("state", [State.AT_RISK, State.UNKNOWN, State.HELD])
def test_only_a_loss_endangers_the_next_backup(state: State) -> None:
    """What is not lost has no first backup at risk."""
    assert first_backup_at_risk(verdict(item(last_backup_at=NOW), state=state), NOW) is None


def test_recovery_points() -> None:
    """The newest recovery point is told, not the time of the last backup, which may have failed."""
    shown = verdict(
        item(1, last_recovery_point_at=NOW - 9 * HOUR, last_backup_at=NOW), item(2, last_recovery_point_at=NOW - HOUR)
    )
    assert last_recovery_point(shown.binding) == NOW - HOUR
    assert last_recovery_point(verdict(item(last_backup_at=NOW)).binding) is None


def test_items_are_counted_beyond_those_named() -> None:
    """An item of two consumers is named once; a vault that was cut short counts in full."""
    shared = Consumer(id=rid(VM), protected_items=(item(1),))
    cut = Consumer(id=rid(RECOVERY_VAULT), protected_items=(item(1), item(2)), protected_count=900)
    of = binding(Scenario.CVM_CMK, consumers=(shared, cut))
    assert items_of(of) == (item(1), item(2))
    assert item_count(of) == 901


def test_owners() -> None:
    """Owners are told once each, five by name and the others counted; without tags there is none."""
    tagged = [Consumer(id=rid(VM), ownership=Ownership(owner=f"team{n % 7}", environment="prod")) for n in range(14)]
    assert owners([*tagged, Consumer(id=rid(VM))]) == Ownership(
        owner="team0, team1, team2, team3, team4 and 2 more", environment="prod"
    )
    assert owners([Consumer(id=rid(VM))]) == Ownership()
