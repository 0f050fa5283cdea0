"""A consumer that names another key: seen once, told once, and never by hearsay."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.actor import Confidence, Heard
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.repointing import tell_repointing
from keydrift.alerts.row import alert_row
from keydrift.drift import Kind, Moment, Via
from keydrift.facts import Unread
from keydrift.inventory import Inventory
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice, Consumer, KeyBinding, Repointing, Scenario, State, Verdict
from keydrift.watchlist import Watchlist
from keydrift.watchlist_change import WatchlistChange, change_of
from support.builders import BACKUP_VAULT, NOW, SUB, VAULT, binding, key_at, rid, unread

SUBSCRIPTION = SUB.rpartition("/")[2]
OLD = binding(Scenario.BACKUP_VAULT_CMK)
NEW = binding(Scenario.BACKUP_VAULT_CMK, target=key_at(name="k2"))
LATER = NOW + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def change(
    known: tuple[KeyBinding, ...],
    found: tuple[KeyBinding, ...],
    *,
    hearsay: bool = False,
    missing: tuple[Unread, ...] = (),
    subscriptions: tuple[str, ...] = (SUBSCRIPTION,),
    unasked: frozenset[str] = frozenset(),
) -> WatchlistChange:
    inventory = Inventory(hearsay=hearsay, unasked=unasked)
    return change_of(Watchlist.of(known), found, inventory, subscriptions, missing, NOW)


def repointed(found: KeyBinding) -> list[Repointing | None]:
    return [each.repointed for each in found.consumers]


# --- what an inventory changes -------------------------------------------------------------------------------------------


def test_another_key_is_seen() -> None:
    """A consumer that named one key and names another now is noted with the key before; the old binding goes."""
    seen = change((OLD,), (NEW,))
    assert seen.gone == (OLD,)
    (found,) = seen.changed
    assert repointed(found) == [Repointing(previous=OLD.target.uri, at=NOW)]


@pytest.mark.parametrize(
    ("known", "found"),
    [
        pytest.param((), (NEW,), id="a new consumer"),
        pytest.param((OLD,), (OLD,), id="the same key"),
        pytest.param((OLD,), (OLD, NEW), id="a further key"),
        pytest.param((OLD, NEW), (NEW,), id="one key fewer"),
        pytest.param((OLD,), (binding(Scenario.RSV_CMK, target=key_at(name="k2")),), id="another consumer"),
    ],
)
def test_what_only_looks_like_it(known: tuple[KeyBinding, ...], found: tuple[KeyBinding, ...]) -> None:
    """A consumer that is new, unchanged, or names one key more or fewer is not pointed elsewhere."""
    assert [repointed(each) for each in change(known, found).changed if any(repointed(each))] == []


def test_another_version_is_no_other_key() -> None:
    """A consumer that pins another version names the same key."""
    pinned = replace(OLD, consumers=tuple(replace(each, key_versions=("v2",)) for each in OLD.consumers))
    (found,) = change((OLD,), (pinned,)).changed
    assert repointed(found) == [None]


def test_what_was_noted_stays_noted() -> None:
    """The note survives later inventories, which know nothing of the key before."""
    (noted,) = change((OLD,), (NEW,)).changed
    assert change((noted,), (NEW,)).changed == ()


@pytest.mark.parametrize(("hearsay", "missing"), [(True, ()), (False, (unread(),))])
def test_hearsay_and_gaps_prove_no_repointing(hearsay: bool, missing: tuple[Unread, ...]) -> None:
    """Rows that lag, and lists with gaps, take nothing away and note nothing; hearsay asks for ARM's word."""
    seen = change((OLD,), (NEW,), hearsay=hearsay, missing=missing)
    assert seen.gone == ()
    assert [repointed(each) for each in seen.changed] == [[None]]
    assert seen.doubted == (frozenset({SUBSCRIPTION}) if hearsay else frozenset())


def test_older_settings_that_were_not_asked_for_take_nothing_away() -> None:
    """A Recovery Services vault whose older settings were not read this time keeps its key binding; another one's is gone."""
    mine = binding(Scenario.RSV_CMK)
    owner = mine.consumers[0].id.key
    assert change((mine,), (), unasked=frozenset({owner})) == WatchlistChange()
    assert change((mine,), (), unasked=frozenset({f"{owner}0"})).gone == (mine,)


def test_one_subscriptions_inventory_leaves_the_others_alone() -> None:
    """Where one subscription was read, consumers of others stay, and so do bindings that stand elsewhere."""
    far = Consumer(id=rid(BACKUP_VAULT.replace(SUBSCRIPTION, "00000000-0000-0000-0000-000000000009")))
    both = replace(OLD, consumers=(*OLD.consumers, far))
    assert change((both,), (), subscriptions=(SUBSCRIPTION,)).gone == ()
    assert change((both,), (OLD,)).changed == ()
    elsewhere = replace(OLD, consumers=(far,))
    assert change((elsewhere,), ()).gone == ()


def test_a_key_store_that_is_not_shown_keeps_its_place() -> None:
    """A key store that this inventory does not show stands where it was known to stand."""
    nowhere = replace(NEW, target=replace(NEW.target, store_id=None))
    (found,) = change((OLD,), (OLD, nowhere)).changed
    assert str(found.target.store_id) == VAULT


# --- what is told --------------------------------------------------------------------------------------------------------


def verdict(state: State = State.HELD, at: Repointing | None = None) -> Verdict:
    noted = at or Repointing(previous=OLD.target.uri, at=NOW)
    return Verdict(
        binding=replace(NEW, consumers=tuple(replace(each, repointed=noted) for each in NEW.consumers)), state=state, read_at=NOW
    )


def heard(resource: str, name: str = "admin") -> Heard:
    notice = ChangeNotice(
        event_id="e1",
        event_type="Microsoft.Resources.ResourceWriteSuccess",
        operation="Microsoft.DataProtection/backupVaults/write",
        resource_id=rid(resource),
        occurred_at=NOW - MINUTE,
        actor=Actor(object_id=name, name=name),
        correlation_id="c1",
    )
    return Heard(notice=notice, received_at=NOW - MINUTE)


def moment(*notices: Heard) -> Moment:
    return Moment(now=NOW, via=Via.EVENT, heard=notices)


RECORD = BindingRecord.created(NEW.id, NOW - MINUTE)


@pytest.mark.parametrize("state", list(State))
def test_it_is_told_whatever_the_verdict(state: State) -> None:
    """The notice is a `changed` row of severity Medium for every verdict, with the keys before and now."""
    record, notice = tell_repointing(RECORD, verdict(state), moment())
    assert notice is not None
    row = alert_row(notice, None)
    assert (row["Kind"], row["Severity"], row["Verdict"], row["FindingCodes"]) == (
        "changed",
        "Medium",
        str(state),
        ["key-changed"],
    )
    finding = notice.verdict.findings[0]
    assert (finding.evidence["previousKey"], finding.evidence["key"]) == (str(OLD.target.uri), str(NEW.target.uri))
    assert str(OLD.target.uri) in finding.remediation
    assert row["Findings"][0]["level"] == "notice"  # type: ignore[index]
    assert record.sequence == RECORD.sequence + 1


def test_it_is_told_once_and_again_when_it_happens_again() -> None:
    """What was told is not told again; a later re-pointing at the same key is."""
    told, first = tell_repointing(RECORD, verdict(), moment())
    again, nothing = tell_repointing(told, verdict(), moment())
    _, second = tell_repointing(told, verdict(at=Repointing(previous=OLD.target.uri, at=LATER)), moment())
    assert (first is not None, nothing, again) == (True, None, told)
    assert second is not None
    assert second.id != (first.id if first else "")


@pytest.mark.parametrize(
    ("resource", "confidence"),
    [(BACKUP_VAULT, Confidence.CERTAIN), (f"{BACKUP_VAULT}2", Confidence.NONE), (VAULT, Confidence.NONE)],
)
def test_only_a_change_of_that_consumer_is_blamed(resource: str, confidence: Confidence) -> None:
    """Whoever changed the consumer is named; whoever changed another one, or the vault, is not."""
    _, notice = tell_repointing(RECORD, verdict(), moment(heard(resource)))
    assert notice is not None
    assert (notice.kind, notice.explanation.confidence) == (Kind.CHANGED, confidence)


def test_alerts_of_one_change_share_their_cause() -> None:
    """Two key bindings that one change pointed at another key make one incident; without a known change the two keys do."""
    other = replace(verdict(), binding=replace(verdict().binding, id=binding(Scenario.RSV_CMK).id))
    for notices in ((heard(BACKUP_VAULT),), ()):
        keys = {n.cause_key for v in (verdict(), other) if (n := tell_repointing(RECORD, v, moment(*notices))[1]) is not None}
        assert len(keys) == 1
    elsewhere = verdict(at=Repointing(previous=KeyUri.parse("https://kv9.vault.azure.net/keys/k1"), at=NOW))
    _, notice = tell_repointing(RECORD, elsewhere, moment())
    assert notice is not None
    assert notice.cause_key not in keys
