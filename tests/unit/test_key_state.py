"""Keys and secrets: there, enabled, within their validity, of a fitting kind; and the versions that consumers pin."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keydrift.access.key_state import pinned_versions
from keydrift.facts import Absent, Facts, KeyObject, Read
from keydrift.key_uri import KeyUri
from keydrift.model import Consumer, KeyBinding, PermissionModel, Scenario, State
from keydrift.requirement import requirement_for
from support.builders import (
    HORIZON,
    NOW,
    OLD_VERSION,
    POLICY,
    RBAC,
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
    with_store,
)

S = Scenario
LOST, HELD, RISK, UNKNOWN = State.LOST, State.HELD, State.AT_RISK, State.UNKNOWN
SECOND = timedelta(seconds=1)
EVERY = tuple(Scenario)
WITH_KEY = tuple(each for each in EVERY if each is not S.ADE_BEK)


def held(of: KeyBinding, model: PermissionModel = RBAC) -> Facts:
    requirement = requirement_for(of.scenario, model)
    assert requirement is not None
    return granting(of, model, [p.name for p in requirement.permissions])


def pinning(scenario: Scenario, *versions: str) -> KeyBinding:
    return binding(scenario, consumers=(Consumer(id=rid(VM), key_versions=versions),))


@pytest.mark.parametrize("scenario", EVERY)
@pytest.mark.parametrize(
    ("read", "state", "suffix"),
    [
        (Absent(what="key"), LOST, "not-found"),
        (unread("the key"), UNKNOWN, None),
        ("disabled", LOST, "disabled"),
        ("healthy", HELD, None),
    ],
)
def test_presence(scenario: Scenario, read: Read[KeyObject] | str, state: State, suffix: str | None) -> None:
    """A key or secret that is gone or disabled is lost in every scenario, an unread one unknown, grants notwithstanding."""
    mine = binding(scenario)
    word = "secret" if scenario is S.ADE_BEK else "key"
    shown = key_object(mine.target, enabled=read != "disabled") if isinstance(read, str) else read
    verdict = judged(mine, with_object(held(mine), mine.target, shown))
    expected = {f"{word}-{suffix}"} if suffix else {"facts-unreadable"} if state is UNKNOWN else set()
    assert (verdict.state, set(verdict.codes), verdict.missing) == (state, expected, ())


def test_an_object_that_nobody_asked_for_is_unread() -> None:
    """A key that is not in the facts was not read."""
    mine = binding(S.CVM_CMK)
    assert judged(mine, with_store(held(mine), objects={})).codes == {"facts-unreadable"}


@pytest.mark.parametrize("scenario", WITH_KEY)
def test_expired_level(scenario: Scenario) -> None:
    """Expiry loses a key that has to wrap, and endangers one that only unwraps."""
    mine = binding(scenario)
    level = RISK if scenario in (S.ADE_KEK, S.CVM_CMK) else LOST
    expired = judged(mine, with_object(held(mine), mine.target, key_object(mine.target, expires=NOW - SECOND)))
    early = judged(mine, with_object(held(mine), mine.target, key_object(mine.target, not_before=NOW + SECOND)))
    assert (expired.state, set(expired.codes)) == (level, {"key-expired"})
    assert (early.state, set(early.codes)) == (level, {"key-not-yet-valid"})


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, set[str]()),
        ({"expires": NOW}, {"key-expired"}),
        ({"expires": NOW - SECOND}, {"key-expired"}),
        ({"expires": NOW + SECOND}, {"key-expiring"}),
        ({"expires": NOW + HORIZON}, {"key-expiring"}),
        ({"expires": NOW + HORIZON + SECOND}, set()),
        ({"not_before": NOW}, set()),
        ({"not_before": NOW - SECOND}, set()),
        ({"not_before": NOW + SECOND}, {"key-not-yet-valid"}),
        ({"not_before": NOW + SECOND, "expires": NOW + HORIZON}, {"key-not-yet-valid", "key-expiring"}),
        ({"not_before": NOW - 2 * SECOND, "expires": NOW - SECOND, "enabled": False}, {"key-disabled", "key-expired"}),
    ],
)
def test_validity(changes: dict[str, Any], codes: set[str]) -> None:
    """A key is expired from its expiry on and expiring from the horizon on; before `nbf` it is not valid yet."""
    mine = binding(S.BACKUP_VAULT_CMK)
    made = with_object(held(mine), mine.target, replace(key_object(mine.target), **changes))
    assert judged(mine, made).codes == codes


@pytest.mark.parametrize(
    ("expires", "codes"),
    [
        (NOW - SECOND, {"secret-expiring"}),
        (NOW + HORIZON, {"secret-expiring"}),
        (NOW + HORIZON + SECOND, set[str]()),
        (None, set()),
    ],
)
def test_secret_validity(expires: datetime | None, codes: set[str]) -> None:
    """A secret within the horizon of its expiry, or past it, is at risk, never lost."""
    mine = binding(S.ADE_BEK)
    verdict = judged(mine, with_object(held(mine), mine.target, key_object(mine.target, expires=expires)))
    assert verdict.codes == codes
    assert verdict.state is (RISK if codes else HELD)


@pytest.mark.parametrize(
    ("kind", "size", "fits"),
    [
        ("RSA", 2048, True),
        ("RSA", 3072, True),
        ("RSA-HSM", 4096, True),
        ("rsa-hsm", 2048, True),
        ("RSA", None, True),
        (None, None, True),
        ("RSA", 1024, False),
        ("RSA", 2047, False),
        ("RSA", 8192, False),
        ("EC", 256, False),
        ("EC-HSM", None, False),
        ("oct", 2048, False),
        ("oct-HSM", None, False),
        ("RSA-X", 2048, False),
        (None, 1024, False),
    ],
)
def test_suitability(kind: str | None, size: int | None, fits: bool) -> None:
    """Vault CMK needs RSA of 2048, 3072 or 4096 bits; what the service does not say accuses nobody; others may use any key."""
    for scenario in (S.BACKUP_VAULT_CMK, S.RSV_CMK, S.CVM_CMK, S.CVM_DES, S.ADE_KEK):
        mine = binding(scenario)
        made = with_object(held(mine), mine.target, key_object(mine.target, key_type=kind, key_size=size))
        wrong = not fits and scenario in (S.BACKUP_VAULT_CMK, S.RSV_CMK)
        assert judged(mine, made).codes == ({"key-unsuitable"} if wrong else set())


@pytest.mark.parametrize(
    ("read", "codes"),
    [
        (Absent(what="version"), {"key-not-found"}),
        (unread("version"), {"facts-unreadable"}),
        (None, {"facts-unreadable"}),
        ({"enabled": False}, {"key-disabled"}),
        ({"expires": NOW - SECOND}, {"key-expired"}),
        ({"key_size": 1024}, {"key-unsuitable"}),
        ({}, set[str]()),
    ],
)
def test_pinned_version(read: Any, codes: set[str]) -> None:
    """A version that a consumer pins has to be usable, even where the current one is."""
    mine = pinning(S.BACKUP_VAULT_CMK, OLD_VERSION)
    made = held(mine)
    if read is not None:
        uri = KeyUri(VAULT_HOST, "keys", "k1", OLD_VERSION)
        shown = key_object(mine.target, uri=uri, **read) if isinstance(read, dict) else read
        made = with_object(made, mine.target, shown, OLD_VERSION)
    verdict = judged(mine, made)
    assert verdict.codes == codes
    if codes & {"key-not-found", "key-disabled"}:
        assert OLD_VERSION in str(verdict.findings[0].evidence["id"])


def test_every_pinned_version_is_judged() -> None:
    """The disks of one machine may pin several versions, and each of them counts; the current one is not read twice."""
    mine = pinning(S.ADE_KEK, OLD_VERSION, VERSION, "0" * 32)
    current = key_object(mine.target)
    assert [uri.version for uri in pinned_versions(mine, mine.target, current)] == ["0" * 32, OLD_VERSION]
    made = with_object(held(mine), mine.target, current, "0" * 32)
    made = with_object(made, mine.target, Absent(what="version"), OLD_VERSION)
    assert judged(mine, made).codes == {"key-not-found"}


def test_the_current_version_is_not_pinned_anew() -> None:
    """A consumer that pins the current version needs no read of its own."""
    mine = pinning(S.BACKUP_VAULT_CMK, VERSION)
    assert pinned_versions(mine, mine.target, key_object(mine.target)) == ()
    assert judged(mine, held(mine)).state is HELD


@pytest.mark.parametrize(
    ("pinned", "shown", "state"),
    [
        (VERSION, VERSION, HELD),
        (None, VERSION, HELD),
        (OLD_VERSION, VERSION, UNKNOWN),
        (OLD_VERSION, None, HELD),
    ],
)
def test_secret_version(pinned: str | None, shown: str | None, state: State) -> None:
    """ARM shows a secret's latest version only, so an older one that a disk names is unknown."""
    mine = binding(S.ADE_BEK, target=secret_at(version=pinned))
    uri = KeyUri(VAULT_HOST, "secrets", "s1", shown)
    verdict = judged(mine, with_object(held(mine), mine.target, key_object(mine.target, uri=uri)))
    assert verdict.state is state
    assert pinned_versions(mine, mine.target, key_object(mine.target)) == ()


@pytest.mark.parametrize("model", [RBAC, POLICY])
def test_the_secret_of_a_key_encryption_key_counts(model: PermissionModel) -> None:
    """ADE with a key encryption key needs its secret as well."""
    mine = binding(S.ADE_KEK)
    gone = with_object(held(mine, model), mine.secrets[0], Absent(what="secret"))
    off = with_object(held(mine, model), mine.secrets[0], key_object(mine.secrets[0], enabled=False))
    assert judged(mine, gone).codes == {"secret-not-found"}
    assert judged(mine, off).codes == {"secret-disabled"}


def test_key_findings_stand_beside_lost_grants() -> None:
    """A disabled key and a missing grant are two causes."""
    mine = binding(S.CVM_CMK)
    made = with_object(granting(mine, RBAC, ()), mine.target, key_object(mine.target, enabled=False))
    assert judged(mine, made).codes == {"key-disabled", "role-insufficient"}
