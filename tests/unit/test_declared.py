"""What people declare: which key bindings an exemption is for, when a verdict is exempt, and what a declared binding becomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keydrift.declared import (
    NOT_EXEMPT,
    Declarations,
    DeclaredBinding,
    Exemption,
    Match,
    declared_bindings,
    exempted,
    fits,
    not_found,
)
from keydrift.inventory import EncryptedVault, Inventory, discover
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, Consumer, Finding, KeyBinding, ResourceIdentity, Scenario, State, Verdict
from support.builders import (
    APP_ID,
    BACKUP_VAULT,
    DISK_SET,
    NOW,
    OWNER_OBJECT,
    USER_IDENTITY,
    VAULT,
    VM,
    binding,
    owner_identity,
    rid,
)

SECOND = timedelta(seconds=1)
CVM = binding(Scenario.CVM_CMK)
KEY = KeyUri.parse("https://kv1.vault.azure.net/keys/k1")
STORES = {"kv1.vault.azure.net": rid(VAULT)}


def exemption(*codes: str, match: Match | None = None, expires: datetime = NOW, why: str = "why") -> Exemption:
    """An exemption of these codes that is valid for the last time now."""
    chosen = match or Match(binding=CVM.id)
    return Exemption(match=chosen, codes=frozenset(codes), justification=why, author="team", expires=expires)


def verdict(*codes: str, state: State = State.LOST, of: KeyBinding = CVM) -> Verdict:
    """A verdict with these findings."""
    findings = tuple(Finding(code=code, level=state, summary=code) for code in codes)
    return Verdict(binding=of, state=state, read_at=NOW, findings=findings)


# --- patterns --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("abc", "abc", True),
        ("ABC", "abc", True),
        ("abc", "ABC", True),
        ("abc", "abcd", False),
        ("abc", "xabc", False),
        ("*", "", True),
        ("*", "anything", True),
        ("a*", "a", True),
        ("a*c", "abc", True),
        ("a*c", "abcd", False),
        ("ab*ba", "aba", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bb*b", "abb", False),
        ("a**c", "abc", True),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[abc]", "a", False),
        ("https://kv-test*.vault.azure.net/*", "https://kv-test1.vault.azure.net/keys/k1", True),
        ("https://kv-test*.vault.azure.net/*", "https://kv-prod.vault.azure.net/keys/kv-test", False),
        ("*/rg1/*", "/subscriptions/s/resourcegroups/rg10/x", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    """A pattern fits the whole text or not at all; only `*` is special."""
    assert fits(pattern, text) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(binding=CVM.id), True),
        (Match(binding=CVM.id.upper()), True),
        (Match(binding=CVM.id[:-1] + ("0" if CVM.id[-1] != "0" else "1")), False),
        (Match(binding="*"), False),
        (Match(key="https://kv1.vault.azure.net/keys/K1"), True),
        (Match(key="https://kv1.vault.azure.net/keys/k"), False),
        (Match(key="https://kv1.*"), True),
        (Match(scenario="cvm-*"), True),
        (Match(scenario="cvm-des"), False),
        (Match(consumer=VM), True),
        (Match(consumer=VM + "0"), False),
        (Match(consumer="*/virtualMachines/*"), True),
        (Match(scenario="cvm-cmk", key="https://kv2*"), False),
        (Match(binding=CVM.id, consumer=BACKUP_VAULT), False),
    ],
)
def test_match(match: Match, expected: bool) -> None:
    """All members that are given must fit, ids in any letter case."""
    assert match.fits(CVM) is expected


def test_a_consumer_pattern_fits_all_consumers_or_none() -> None:
    """An exempted machine hides no other machine that needs the same key, and nobody is no machine."""
    match = Match(consumer="*/vm1")
    both = replace(CVM, consumers=(Consumer(id=rid(VM)), Consumer(id=rid(f"{VM}0"))))
    alone = replace(CVM, consumers=(Consumer(id=rid(f"{VM.rpartition('/')[0]}/vm1")),))
    assert (match.fits(alone), match.fits(both), match.fits(replace(CVM, consumers=()))) == (True, False, False)


def test_a_match_of_nothing_is_none() -> None:
    """A match without members would exempt everything, and is refused."""
    with pytest.raises(ValueError, match="at least one"):
        Match()


@pytest.mark.parametrize("change", [{"codes": frozenset()}, {"codes": frozenset({"x"})}, {"justification": ""}, {"author": ""}])
def test_an_exemption_is_valid_by_construction(change: dict[str, object]) -> None:
    """An exemption without a known code, justification or author cannot be made."""
    with pytest.raises(ValueError, match="an exemption needs"):
        replace(exemption("*"), **change)  # type: ignore[arg-type]


def test_an_expiry_has_an_offset() -> None:
    """A time that means another moment elsewhere is no expiry."""
    with pytest.raises(ValueError, match="offset"):
        exemption("*", expires=NOW.replace(tzinfo=None))


# --- when a verdict is exempt ----------------------------------------------------------------------------------------------

A, B = "purge-protection-off", "access-policy-absent"


@pytest.mark.parametrize(
    ("codes", "exemptions", "by", "lapsed"),
    [
        ([A], [], 0, 0),
        ([A], [exemption(A)], 1, 0),
        ([A], [exemption("*")], 1, 0),
        ([A], [exemption(B)], 0, 0),
        ([A, B], [exemption(A)], 0, 0),
        ([A, B], [exemption(A, B)], 1, 0),
        ([A, B], [exemption(A), exemption(B)], 2, 0),
        ([A], [exemption(A), exemption(B)], 1, 0),
        ([A], [exemption(A, match=Match(scenario="ade-bek"))], 0, 0),
        ([A], [exemption(A, expires=NOW - SECOND)], 0, 1),
        ([A, B], [exemption(A), exemption(B, expires=NOW - SECOND)], 0, 1),
        ([A, B], [exemption(A, expires=NOW - SECOND)], 0, 0),
        ([A], [exemption(A, expires=NOW - SECOND), exemption("*")], 1, 0),
        ([A], [exemption(A, expires=NOW - SECOND, match=Match(scenario="ade-bek"))], 0, 0),
        ([], [exemption("*")], 0, 0),
    ],
)
def test_exempted(codes: list[str], exemptions: list[Exemption], by: int, lapsed: int) -> None:
    """Valid exemptions have to cover all findings; else those are named that would have but for their expiry."""
    outcome = exempted(verdict(*codes), exemptions, NOW)
    assert (len(outcome.by), len(outcome.lapsed), outcome.exempted) == (by, lapsed, by > 0)


def test_nothing_is_exempt_while_held() -> None:
    """What is held has no drift to exempt."""
    assert exempted(verdict(A, state=State.HELD), [exemption("*")], NOW) == NOT_EXEMPT


@pytest.mark.parametrize("state", [State.AT_RISK, State.UNKNOWN, State.LOST])
def test_every_other_state_may_be_exempt(state: State) -> None:
    """An unknown is exempt by the same rule as a loss."""
    assert exempted(verdict(A, state=state), [exemption("*")], NOW).exempted


def test_valid_to_the_instant_of_its_expiry() -> None:
    """An exemption holds up to its expiry, and no longer."""
    granted = [exemption(A, expires=NOW)]
    assert [exempted(verdict(A), granted, NOW + n * SECOND).exempted for n in (-1, 0, 1)] == [True, True, False]


def test_the_reason_says_why_who_and_until_when() -> None:
    """The reason joins all exemptions that count; a lapsed one is named as such."""
    late = exemption(B, expires=datetime(2026, 3, 2, 1, tzinfo=UTC), why="other")
    outcome = exempted(verdict(A, B), [exemption(A), late], NOW)
    assert outcome.reason == "why (team, expires 2026-03-01T12:00:00Z); other (team, expires 2026-03-02T01:00:00Z)"
    assert outcome.note == outcome.reason
    lapsed = exempted(verdict(A, B), [exemption(A), late], NOW + SECOND)
    assert (lapsed.reason, lapsed.note) == (None, "lapsed: why (team, expires 2026-03-01T12:00:00Z)")


@pytest.mark.parametrize(
    ("before", "exemptions", "expected"),
    [
        (None, [], None),
        (None, [exemption(A)], "exemption-began"),
        (None, [exemption(A, expires=NOW - SECOND)], None),
        (exemption(A).text, [exemption(A)], None),
        (exemption(A).text, [exemption(A, why="other")], "exemption-changed"),
        (exemption(A).text, [exemption(A, expires=NOW + SECOND)], "exemption-changed"),
        (exemption(A).text, [], "exemption-ended"),
        (exemption(A).text, [exemption(A, expires=NOW - SECOND)], "exemption-lapsed"),
    ],
)
def test_turns(before: str | None, exemptions: Iterable[Exemption], expected: str | None) -> None:
    """An exemption that begins, changes, ends or lapses has a word for it, one that stays has none."""
    assert exempted(verdict(A), exemptions, NOW).turn(before) == expected


# --- declared key bindings -------------------------------------------------------------------------------------------------

DECLARED = DeclaredBinding(
    scenario=Scenario.BACKUP_VAULT_CMK,
    key=KEY,
    consumer=rid(BACKUP_VAULT),
    identity=ResourceIdentity(resource_id=rid(BACKUP_VAULT), system_object_id=OWNER_OBJECT),
    where="watchlist.yaml:3:5",
)


def join(*declared: DeclaredBinding, inventory: Inventory | None = None) -> tuple[KeyBinding, ...]:
    """The discovered and declared bindings."""
    shown = inventory or Inventory(stores=STORES)
    return declared_bindings(Declarations(bindings=declared), discover(shown, APP_ID), shown, APP_ID)


def vaults(name: str = BACKUP_VAULT) -> Inventory:
    """An inventory with one Backup vault."""
    found = EncryptedVault(
        id=rid(name),
        scenario=Scenario.BACKUP_VAULT_CMK,
        location="westeurope",
        key=KeyUri.parse(f"{KEY}/v1"),
        identity=owner_identity(name),
        encryption_state="Enabled",
    )
    return Inventory(stores=STORES, vaults=(found,))


def test_a_declared_binding_is_what_discovery_would_make() -> None:
    """A declared binding has the id, the identity and the key store that the resource would show."""
    (made,) = join(DECLARED)
    (found,) = discover(vaults(), APP_ID)
    assert (made.id, made.scenario, made.target) == (found.id, found.scenario, found.target)
    assert made.consumers == (Consumer(id=rid(BACKUP_VAULT)),)
    assert isinstance(made.identity, ResourceIdentity)
    assert made.identity.system_object_id == OWNER_OBJECT


def test_the_backup_service_is_the_default_identity() -> None:
    """The app's scenarios use the Backup Management Service, whose versions of the key the consumer pins."""
    (made,) = join(DeclaredBinding(scenario=Scenario.CVM_CMK, key=KeyUri.parse(f"{KEY}/v1"), consumer=rid(VM), where="w"))
    assert made.identity == AppIdentity(app_id=APP_ID)
    assert (made.target.uri, made.consumers) == (KEY, (Consumer(id=rid(VM), key_versions=("v1",)),))


def test_the_host_decides_where_a_key_stands() -> None:
    """The declared key store stands only where no readable subscription holds the host."""
    elsewhere = replace(DECLARED, key_store=rid(f"{VAULT}2"))
    (seen,), (unseen,), (nowhere,) = (
        join(elsewhere),
        join(elsewhere, inventory=Inventory()),
        join(DECLARED, inventory=Inventory()),
    )
    assert [each.target.store_id for each in (seen, unseen, nowhere)] == [rid(VAULT), rid(f"{VAULT}2"), None]


def test_what_the_resources_show_stands() -> None:
    """Of a binding that is discovered too, identity and consumer are the discovered ones."""
    assert join(DECLARED, inventory=vaults()) == discover(vaults(), APP_ID)


def test_consumers_and_secrets_are_joined() -> None:
    """Consumers and secrets of bindings with one id are joined, each once."""
    first = KeyUri.parse("https://kv1.vault.azure.net/secrets/s1")
    second = KeyUri.parse("https://kv1.vault.azure.net/secrets/s2")
    one = DeclaredBinding(scenario=Scenario.ADE_KEK, key=KEY, consumer=rid(VM), secrets=(first,), where="w")
    other = replace(one, consumer=rid(f"{VM}0"), secrets=(first, second))
    (made,) = join(one, other)
    assert [each.id for each in made.consumers] == [rid(VM), rid(f"{VM}0")]
    assert [each.uri for each in made.secrets] == [first, second]


def test_a_user_assigned_identity_is_taken_for_attached() -> None:
    """A declared disk encryption set's identity belongs to the set, not to the machine."""
    chosen = rid(USER_IDENTITY)
    identity = ResourceIdentity(resource_id=rid(DISK_SET), user_assigned=chosen, attached={chosen.key: None})
    (made,) = join(DeclaredBinding(scenario=Scenario.CVM_DES, key=KEY, consumer=rid(VM), identity=identity, where="w"))
    assert made.identity == identity
    assert made.id == binding(Scenario.CVM_DES).id


@pytest.mark.parametrize(
    ("inventory", "expected"),
    [
        (Inventory(stores=STORES, listed=frozenset({rid(BACKUP_VAULT).key})), []),
        (Inventory(stores=STORES), []),
        (Inventory(stores=STORES, listed=frozenset({rid(BACKUP_VAULT).key + "0"})), [f"consumer {BACKUP_VAULT}"]),
        (Inventory(listed=frozenset({rid(BACKUP_VAULT).key})), ["key store kv1.vault.azure.net"]),
        (Inventory(listed=frozenset()), ["key store kv1.vault.azure.net", f"consumer {BACKUP_VAULT}"]),
    ],
)
def test_what_cannot_be_seen_is_named(inventory: Inventory, expected: list[str]) -> None:
    """A declared key store or consumer that is not listed is named with its position; a silent source proves nothing."""
    found = not_found(Declarations(bindings=(DECLARED,)), (), inventory)
    assert [each.source for each in found] == [f"watchlist.yaml:3:5: {what}" for what in expected]
    assert all((each.status, each.code) == (404, "NotFound") and each.repair for each in found)


def test_an_exempted_binding_that_nobody_knows_is_named() -> None:
    """An exemption of a key binding's id that no known binding has is named; a pattern may fit nothing yet."""
    gone = replace(exemption("*", match=Match(binding="00000000-0000-0000-0000-000000000009")), where="w.yaml:9:3")
    patterns = exemption("*", match=Match(key="https://nothing*"))
    found = not_found(Declarations(exemptions=(gone, patterns, exemption("*"))), (CVM,), Inventory())
    assert [each.source for each in found] == ["w.yaml:9:3: key binding 00000000-0000-0000-0000-000000000009"]
