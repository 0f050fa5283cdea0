"""Versions: which one of a key counts for whom, and too many of them, counted once a day and remembered in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keydrift.access.key_state import MOST_VERSIONS
from keydrift.collect import Known
from keydrift.drift import Via
from keydrift.facts import Absent, Facts, KeyObject, Read
from keydrift.key_uri import KeyUri
from keydrift.model import Consumer, Finding, KeyBinding, PermissionModel, Scenario, State
from keydrift.recheck import Recheck
from keydrift.requirement import requirement_for
from keydrift.state import State as Memory
from keydrift.store_record import StoreRecord
from support.builders import (
    HSM_HOST,
    MHSM,
    NOW,
    OLD_VERSION,
    RBAC,
    VAULT,
    VAULT_HOST,
    VERSION,
    VM,
    binding,
    granting,
    judged,
    key_object,
    rid,
    secret_at,
    unread,
    with_object,
)
from support.entities import MemoryEntities
from support.world import FakeCollector, World

S = Scenario
BY_SETTINGS = (S.BACKUP_VAULT_CMK, S.RSV_CMK, S.CVM_DES)
BACKED_UP = (S.ADE_KEK, S.CVM_CMK)
NONE = frozenset[str]()
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
EXPIRED, EARLY, EXPIRING = {"expires": NOW - SECOND}, {"not_before": NOW + SECOND}, {"expires": NOW + DAY}
DISABLED, HEALTHY = {"enabled": False}, dict[str, Any]()
GONE = Absent(what="key")
WRONG = [(DISABLED, "key-disabled"), (EXPIRED, "key-expired"), (EARLY, "key-not-yet-valid"), (EXPIRING, "key-expiring")]


def held(of: KeyBinding, model: PermissionModel = RBAC) -> Facts:
    requirement = requirement_for(of.scenario, model)
    assert requirement is not None
    return granting(of, model, [p.name for p in requirement.permissions])


def pinning(scenario: Scenario, *pins: Sequence[str]) -> KeyBinding:
    """A binding with a consumer for each sequence of pinned versions; an empty one follows the latest."""
    consumers = tuple(Consumer(id=rid(f"{VM}{number}"), key_versions=tuple(each)) for number, each in enumerate(pins))
    return binding(scenario, consumers=consumers)


def shown(of: KeyBinding, current: Read[KeyObject] | dict[str, Any], **versions: Read[KeyObject] | dict[str, Any]) -> Facts:
    """Facts in which the key's current version, and pinned ones, are as said."""
    made = held(of)
    for version, read in {"": current, **{name.removeprefix("v"): each for name, each in versions.items()}}.items():
        uri = KeyUri(VAULT_HOST, "keys", "k1", version or VERSION)
        object_ = key_object(of.target, uri=uri, **read) if isinstance(read, dict) else read
        made = with_object(made, of.target, object_, version or None)
    return made


def only(of: KeyBinding, facts: Facts) -> Finding:
    (found,) = judged(of, facts).findings
    return found


OLD = {f"v{OLD_VERSION}": HEALTHY}


# --- which version counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", BY_SETTINGS)
@pytest.mark.parametrize(("wrong", "code"), [*WRONG, ({"key_size": 1024}, None)])
def test_where_every_consumer_pins_the_current_version_is_nobodys_concern(
    scenario: Scenario, wrong: dict[str, Any], code: str | None
) -> None:
    """A vault or disk encryption set that pins an older version loses nothing by what the current one is like."""
    mine = pinning(scenario, [OLD_VERSION])
    assert judged(mine, shown(mine, wrong, **OLD)).codes == NONE
    if code:
        assert judged(mine, shown(mine, HEALTHY, **{f"v{OLD_VERSION}": wrong})).codes == {code}


@pytest.mark.parametrize("scenario", BY_SETTINGS)
def test_the_key_has_to_exist_all_the_same(scenario: Scenario) -> None:
    """Where every consumer pins, a key that is gone is lost, and one that is unread unknown."""
    mine = pinning(scenario, [OLD_VERSION])
    assert judged(mine, shown(mine, GONE, **OLD)).codes == {"key-not-found"}
    assert judged(mine, shown(mine, unread("the key"), **OLD)).codes == {"facts-unreadable"}
    assert judged(mine, shown(mine, DISABLED, **{f"v{OLD_VERSION}": GONE})).codes == {"key-not-found"}


@pytest.mark.parametrize("scenario", BY_SETTINGS)
@pytest.mark.parametrize(("wrong", "code"), WRONG)
def test_where_some_consumer_follows_the_latest_both_count(scenario: Scenario, wrong: dict[str, Any], code: str) -> None:
    """One consumer that pins and one that follows the latest need both versions."""
    mine = pinning(scenario, [OLD_VERSION], [])
    assert judged(mine, shown(mine, wrong, **OLD)).codes == {code}
    assert judged(mine, shown(mine, HEALTHY, **{f"v{OLD_VERSION}": wrong})).codes == {code}
    assert judged(mine, shown(mine, HEALTHY, **OLD)).codes == NONE


@pytest.mark.parametrize("scenario", [*BY_SETTINGS, *BACKED_UP])
@pytest.mark.parametrize("pins", [(), ([],), ([VERSION],), ([VERSION, OLD_VERSION],), ([VERSION], [OLD_VERSION])])
@pytest.mark.parametrize(("wrong", "code"), WRONG)
def test_the_current_version_counts_where_it_is_used(
    scenario: Scenario, pins: tuple[Sequence[str], ...], wrong: dict[str, Any], code: str
) -> None:
    """Without consumers, followed, or pinned by one of them: the current version's state is the key's."""
    mine = pinning(scenario, *pins)
    assert only(mine, shown(mine, wrong, **OLD)).code == code


@pytest.mark.parametrize("scenario", BACKED_UP)
@pytest.mark.parametrize(
    ("wrong", "code"), [(DISABLED, "key-disabled"), (GONE, "key-not-found"), (EXPIRED, None), (EARLY, None), (EXPIRING, None)]
)
def test_a_key_that_is_backed_up(scenario: Scenario, wrong: Any, code: str | None) -> None:
    """The backup takes the key itself, pinned or not; a pinned version has to be there and enabled, whatever its validity."""
    mine = pinning(scenario, [OLD_VERSION])
    assert judged(mine, shown(mine, HEALTHY, **{f"v{OLD_VERSION}": wrong})).codes == ({code} if code else NONE)
    assert judged(mine, shown(mine, wrong, **OLD)).codes >= ({code} if code else NONE)
    assert judged(mine, shown(mine, EXPIRED, **OLD)).codes == {"key-expired"}


def test_a_version_that_the_service_does_not_tell_is_read_by_its_own_address() -> None:
    """Where the current version has no name, a pinned one is judged by its own read, and the current one is not judged."""
    mine = pinning(S.BACKUP_VAULT_CMK, [OLD_VERSION])
    nameless = key_object(mine.target, uri=mine.target.uri, enabled=False)
    assert judged(mine, shown(mine, nameless, **OLD)).codes == NONE


# --- each finding once ---------------------------------------------------------------------------------------------------


def test_one_cause_in_several_versions_is_one_finding() -> None:
    """Each code stands once a key, with the ids of all versions and the remedy for each."""
    mine = pinning(S.BACKUP_VAULT_CMK, [OLD_VERSION], [])
    found = only(mine, shown(mine, DISABLED, **{f"v{OLD_VERSION}": DISABLED}))
    base = f"https://{VAULT_HOST}/keys/k1"
    assert found.evidence["ids"] == (f"{base}/{VERSION}", f"{base}/{OLD_VERSION}")
    assert [line.count("--enabled true") for line in found.remediation.splitlines()] == [1, 1]
    times = shown(mine, EXPIRED, **{f"v{OLD_VERSION}": {"expires": NOW - DAY}})
    assert only(mine, times).code == "key-expired"
    both = shown(mine, DISABLED, **{f"v{OLD_VERSION}": EXPIRED})
    assert judged(mine, both).codes == {"key-disabled", "key-expired"}


def test_two_pinned_versions_that_are_gone_are_one_finding() -> None:
    """Consumers that pin two lost versions are one `key-not-found`, which names both."""
    mine = pinning(S.CVM_DES, [OLD_VERSION], ["0" * 32])
    found = only(mine, shown(mine, HEALTHY, **{f"v{OLD_VERSION}": GONE, f"v{'0' * 32}": GONE}))
    assert (found.code, len(found.evidence["ids"] or ())) == ("key-not-found", 2)  # type: ignore[arg-type]  # a tuple


def test_the_current_version_that_is_pinned_is_judged_once() -> None:
    """A pinned version that is the current one yields no second finding and no list of ids."""
    mine = pinning(S.BACKUP_VAULT_CMK, [VERSION], [])
    found = only(mine, shown(mine, EXPIRED))
    assert "ids" not in found.evidence


def test_what_is_unread_stays_apart() -> None:
    """Two versions that could not be read are two sources, both named."""
    mine = pinning(S.BACKUP_VAULT_CMK, [OLD_VERSION], ["0" * 32])
    verdict = judged(mine, shown(mine, HEALTHY, **{f"v{OLD_VERSION}": unread("one"), f"v{'0' * 32}": unread("two")}))
    assert [found.evidence["source"] for found in verdict.findings] == ["two", "one"]


def test_a_key_and_a_secret_have_their_own_findings() -> None:
    """`ade-kek` with two secrets gone has a finding for each."""
    mine = binding(S.ADE_KEK, secrets=(secret_at(), secret_at(name="s2")))
    made = held(mine)
    for each in mine.secrets:
        made = with_object(made, each, GONE)
    assert [found.code for found in judged(mine, made).findings] == ["secret-not-found", "secret-not-found"]


# --- too many versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [each for each in Scenario if each is not S.ADE_BEK])
@pytest.mark.parametrize(("versions", "many"), [(None, False), (1, False), (500, False), (501, True), (5000, True)])
def test_too_many_versions_to_be_backed_up(scenario: Scenario, versions: int | None, many: bool) -> None:
    """Over 500 versions endanger a key that is backed up, and no other; what nobody counted accuses nobody."""
    assert MOST_VERSIONS == 500
    mine = binding(scenario)
    verdict = judged(mine, with_object(held(mine), mine.target, key_object(mine.target, versions=versions)))
    excessive = many and scenario in BACKED_UP
    assert verdict.codes == ({"key-versions-excessive"} if excessive else NONE)
    assert verdict.state is (State.AT_RISK if excessive else State.HELD)
    if excessive:
        assert verdict.findings[0].evidence["versions"] == versions


def test_too_many_versions_stand_beside_a_disabled_key_and_in_an_hsm() -> None:
    """The number of versions is a cause of its own, in a vault and in a Managed HSM."""
    mine = binding(S.CVM_CMK)
    assert judged(mine, shown(mine, {"enabled": False, "versions": 501})).codes == {"key-disabled", "key-versions-excessive"}
    local = binding(S.CVM_CMK, MHSM)
    made = with_object(held(local, MHSM), local.target, key_object(local.target, versions=501))
    assert (local.target.uri.host, set(judged(local, made).codes)) == (HSM_HOST, {"key-versions-excessive"})


# --- counted once a day --------------------------------------------------------------------------------------------------


BINDING = binding(S.CVM_CMK)
K1 = BINDING.target.uri


class CountingCollector(FakeCollector):
    """Counts `versions` where it is asked to (None: in vain), and else shows the last count that it is told, as the real one."""

    versions: int | None = 501

    async def collect(self, bindings: Sequence[KeyBinding], known: Known) -> Facts:
        facts = await super().collect(bindings, known)
        counted = self.versions if VAULT_HOST in known.count_versions else None
        read = facts.stores[VAULT_HOST].objects[K1]
        if isinstance(read, KeyObject):
            read = replace(read, versions=counted or known.version_counts.get(K1))
        return with_object(facts, BINDING.target, read)


class Counting(World):
    """A world whose collector counts."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.collector: CountingCollector = CountingCollector(self.clock, facts)
        self._make()

    async def reconciled(self, via: Via = Via.SWEEP) -> Known:
        """Answer a recheck that came just now, and tell what the collector was told."""
        await self.reconciler.reconcile(Recheck(host=VAULT_HOST, noticed_at=self.clock.now(), via=via))
        return self.collector.reads[-1]


async def world() -> Counting:
    made = Counting(held(BINDING))
    await made.state.watch([BINDING])
    return made


async def test_versions_are_counted_once_a_day_and_for_no_event() -> None:
    """The first recheck that no event asked for counts, then the first a day later; an event's never does."""
    made = await world()
    asked = []
    for via, later in [(Via.EVENT, 0), (Via.SWEEP, 0), (Via.SWEEP, 900), (Via.EVENT, 90_000), (Via.SWEEP, 0), (Via.SETTLE, 60)]:
        made.clock.advance(later)
        asked.append(bool((await made.reconciled(via)).count_versions))
        made.clock.advance(1)
    assert asked == [False, True, False, False, True, False]


async def test_a_settling_recheck_counts_where_it_is_due() -> None:
    """What follows an event two minutes later is no event's recheck any more."""
    made = await world()
    assert (await made.reconciled(Via.SETTLE)).count_versions == {VAULT_HOST}


async def test_the_finding_stands_between_two_counts() -> None:
    """What was counted is known to every later read until it is counted anew: the finding opens once and is resolved once."""
    made = await world()
    assert (await made.reconciled()).version_counts == {}
    for _ in range(3):
        made.clock.advance(3600)
        assert (await made.reconciled()).version_counts == {K1: 501}
        made.clock.advance(1)
        assert (await made.reconciled(Via.EVENT)).version_counts == {K1: 501}
    assert made.sink.kinds == ["opened"]
    made.collector.versions = 3
    made.clock.advance(DAY.total_seconds())
    await made.reconciled()
    assert made.sink.kinds == ["opened", "resolved"]
    assert (await made.state.store(VAULT_HOST)).version_counts == {"k1": 3}


async def test_a_count_that_fails_keeps_the_last_one() -> None:
    """A day on which the versions cannot be listed resolves nothing, and they are asked for again a day later."""
    made = await world()
    await made.reconciled()
    made.collector.versions = None
    made.clock.advance(DAY.total_seconds())
    assert (await made.reconciled()).count_versions == {VAULT_HOST}
    made.clock.advance(60)
    assert (await made.reconciled()).count_versions == frozenset()
    assert (made.sink.kinds, (await made.state.store(VAULT_HOST)).version_counts) == (["opened"], {"k1": 501})


@pytest.mark.parametrize(("read", "kept"), [(unread("the key"), {"k1": 501}), (GONE, {})])
async def test_a_key_that_is_gone_takes_its_count_with_it(read: Read[KeyObject], kept: dict[str, int]) -> None:
    """A key that could not be read keeps its count; one that is gone may come back as another, and has none."""
    made = await world()
    await made.reconciled()
    made.clock.advance(60)
    made.collector.facts = with_object(made.collector.facts, BINDING.target, read)
    await made.reconciled()
    assert (await made.state.store(VAULT_HOST)).version_counts == kept


async def test_a_key_in_another_store_than_its_secret_is_counted_once() -> None:
    """A recheck of the secret's store knows what was counted with the key's, and counts nothing there itself."""
    other = "kv2.vault.azure.net"
    mine = binding(S.ADE_KEK, secrets=(secret_at(other, store=VAULT.replace("kv1", "kv2")),))
    made = World(held(mine))
    await made.state.watch([mine])
    await made.state.put_store(StoreRecord(host=VAULT_HOST, versions_counted_at=NOW, version_counts={"k1": 501}))
    await made.reconciler.reconcile(Recheck(host=other, noticed_at=made.clock.now(), via=Via.SWEEP))
    (known,) = made.collector.reads
    assert (known.version_counts, known.count_versions) == ({K1: 501}, frozenset({other}))
    assert (await made.state.store(other)).version_counts == {}


async def test_counts_come_back_whole() -> None:
    """A key store's counts and their time are kept with its record, and a record from before has none."""
    memory = Memory(MemoryEntities())
    await memory.put_store(StoreRecord(host=VAULT_HOST, versions_counted_at=NOW, version_counts={"k1": 501, "k2": 1}))
    found = await memory.store(VAULT_HOST)
    assert (found.versions_counted_at, found.version_counts) == (NOW, {"k1": 501, "k2": 1})
    older = replace(found, versions_counted_at=None, version_counts={})
    await memory.put_store(older)
    again = await memory.store(VAULT_HOST)
    assert (again.versions_counted_at, again.version_counts) == (None, {})
