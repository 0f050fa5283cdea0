"""Blind spots: a finding that was told of and cannot be read any more has not ended, and no row says that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import reduce

import pytest

from keydrift.access.blind_spots import OF_GRANTS, OF_KEY_STORES, OF_OBJECTS, OF_PRINCIPALS
from keydrift.alerts.actor import Heard
from keydrift.alerts.flapping import CALMED
from keydrift.alerts.reminder import REMINDER
from keydrift.catalogue import CODES
from keydrift.declared import Declarations, Exemption, Match
from keydrift.drift import Via
from keydrift.facts import Absent, Facts, NetworkRules, Principal, ScheduleInstance
from keydrift.model import Actor, ChangeNotice, KeyBinding, PermissionModel, Scenario
from keydrift.recheck import Recheck
from keydrift.requirement import Permission, requirement_for
from support.builders import (
    APP_ID,
    APP_OBJECT,
    HSM_HOST,
    MHSM,
    NOW,
    OLD_VERSION,
    POLICY,
    RBAC,
    STRANGER,
    USER_IDENTITY,
    VAULT_HOST,
    assignment,
    binding,
    block,
    deny,
    granting,
    judged,
    key_object,
    policy,
    rid,
    role,
    unread,
    user_identity,
    with_object,
    with_store,
    with_vault,
)
from support.world import World

CVM = binding(Scenario.CVM_CMK)
HSM = binding(Scenario.CVM_CMK, MHSM)
KEK = binding(Scenario.ADE_KEK)
PINNED = binding(Scenario.CVM_CMK, consumers=tuple(replace(each, key_versions=(OLD_VERSION,)) for each in CVM.consumers))
BY_USER_IDENTITY = binding(Scenario.BACKUP_VAULT_CMK, identity=user_identity())
READ, BACKUP = "Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action"
WORDS = ("keys/get", "keys/list", "keys/backup")
BLOCKED = NetworkRules(public_network_access="enabled", default_action="deny", bypass="none")
DISABLED = Principal(object_id=APP_OBJECT, app_id=APP_ID, enabled=False)
SOON = ScheduleInstance(
    scope=assignment().scope, role_definition_id="role-1", principal_id=APP_OBJECT, ends_at=NOW + timedelta(days=3)
)


type Change = Callable[[Facts], Facts]

CHANGES: Mapping[str, Change] = {
    "disabled": lambda facts: with_object(facts, CVM.target, key_object(CVM.target, enabled=False)),
    "key?": lambda facts: with_object(facts, CVM.target, unread("key k1", 503)),
    "ungranted": lambda facts: with_store(facts, assignments={APP_OBJECT: ()}),
    "assignments?": lambda facts: with_store(facts, assignments={APP_OBJECT: unread("role assignments")}),
    "denied": lambda facts: with_store(facts, denies=(deny(READ),)),
    "denies?": lambda facts: with_store(facts, denies=unread("deny assignments")),
    "blocked": lambda facts: with_vault(facts, network=BLOCKED),
    "unprotected": lambda facts: with_vault(facts, purge_protection=False),
    "vault?": lambda facts: with_store(facts, store=unread("kv1")),
    "switched": lambda facts: with_vault(facts, rbac=False),
    "policy": lambda facts: with_vault(facts, access_policies=(policy(APP_OBJECT, *WORDS),)),
    "others'-policy": lambda facts: replace(with_vault(facts, access_policies=(policy(STRANGER, *WORDS),)), groups={}),
    "suspended": lambda facts: replace(facts, principals={APP_ID: DISABLED}),
    "principal?": lambda facts: replace(facts, principals={APP_ID: unread("service principal")}),
    "ending": lambda facts: with_store(facts, schedule_instances={APP_OBJECT: (SOON,)}),
    "ends?": lambda facts: with_store(facts, schedule_instances={APP_OBJECT: unread("schedule instances")}),
}


def tenant(words: str) -> Facts:
    """A healthy binding under Azure RBAC, changed by words; a word with `?` is a read that fails."""
    return reduce(lambda facts, word: CHANGES[word](facts), words.split(), granting(CVM, RBAC, [READ, BACKUP]))


class Story:
    """One key store, read again and again, two minutes apart; `see` returns what is told, as kind, verdict and findings."""

    def __init__(self) -> None:
        self.world = World(tenant(""))

    async def see(self, words: str, *, after: timedelta = timedelta(minutes=2)) -> list[str]:
        world, before = self.world, len(self.world.sink.rows)
        await world.state.watch([CVM])
        world.clock.advance(after.total_seconds())
        world.collector.facts = tenant(words)
        await world.reconciler.reconcile(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.SWEEP))
        return [" ".join((r["Kind"], r["Verdict"], *sorted(r["FindingCodes"]))) for r in world.sink.rows[before:]]

    async def hear(self, operation: str, resource: str) -> None:
        """A change of this moment, by the admin."""
        now = self.world.clock.now()
        notice = ChangeNotice(
            event_id=operation,
            event_type="",
            operation=operation,
            resource_id=rid(resource),
            occurred_at=now,
            actor=Actor(name="admin"),
        )
        await self.world.state.hear(VAULT_HOST, Heard(notice=notice, received_at=now))


async def played(*steps: str) -> list[str]:
    story = Story()
    return ["; ".join(await story.see(each)) for each in steps]


LOST_TWICE = "opened lost key-disabled role-assignment-absent"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        # Nothing else differs: nothing is told, however long it lasts
        (("disabled ungranted", "ungranted key?", "ungranted key?", "disabled ungranted"), (LOST_TWICE, "", "", "")),
        (("disabled ungranted", "disabled assignments?", "disabled ungranted"), (LOST_TWICE, "", "")),
        # It was well meanwhile: told when it is seen
        (("disabled ungranted", "ungranted key?", "ungranted"), (LOST_TWICE, "", "changed lost role-assignment-absent")),
        # A read that failed hides only what it would have shown
        (("disabled ungranted", "ungranted denies?"), (LOST_TWICE, "changed lost role-assignment-absent")),
        (("disabled ungranted", "disabled denies?"), (LOST_TWICE, "changed lost key-disabled")),
        (("denied blocked", "denies? blocked"), ("opened lost deny-assignment network-blocked", "")),
        (("denied blocked", "key? blocked"), ("opened lost deny-assignment network-blocked", "changed lost network-blocked")),
        # Something else differs: the row says what cannot be read, until it can
        (
            ("disabled", "key? ungranted", "key? ungranted", "disabled ungranted"),
            (
                "opened lost key-disabled",
                "changed lost facts-unreadable role-assignment-absent",
                "",
                "changed lost key-disabled role-assignment-absent",
            ),
        ),
        (
            ("disabled", "key? ungranted", "ungranted"),
            (
                "opened lost key-disabled",
                "changed lost facts-unreadable role-assignment-absent",
                "changed lost role-assignment-absent",
            ),
        ),
        # Two blind spots, of which one clears
        (
            ("disabled denied blocked", "key? denies? blocked ungranted", "key? blocked ungranted"),
            (
                "opened lost deny-assignment key-disabled network-blocked",
                "changed lost facts-unreadable network-blocked role-assignment-absent",
                "",
            ),
        ),
        # One ends, another is hidden
        (
            ("disabled blocked ungranted", "key? ungranted"),
            (
                "opened lost key-disabled network-blocked role-assignment-absent",
                "changed lost facts-unreadable role-assignment-absent",
            ),
        ),
        # An unknown in between forgets nothing
        (
            ("disabled", "key?", "key?", "key? blocked", "blocked"),
            (
                "opened lost key-disabled",
                "",
                "changed unknown facts-unreadable",
                "changed lost facts-unreadable network-blocked",
                "changed lost network-blocked",
            ),
        ),
        # What was never told is not missed: a loss stands beside reads that could not undo it
        (
            ("ungranted key?", "disabled ungranted"),
            ("opened lost role-assignment-absent", "changed lost key-disabled role-assignment-absent"),
        ),
        # The cause of a missing policy is a switched model, whose other side cannot be read
        (("switched", "switched assignments?", "switched"), ("opened lost permission-model-switched", "", "")),
        (
            ("switched", "switched assignments? disabled", "switched disabled"),
            (
                "opened lost permission-model-switched",
                "changed lost facts-unreadable key-disabled",
                "changed lost key-disabled permission-model-switched",
            ),
        ),
        # ... and is read to have no other side any more
        (("switched", "switched ungranted"), ("opened lost permission-model-switched", "changed lost access-policy-absent")),
        # Memberships that nobody asks for are no failed read
        (
            ("policy ungranted", "others'-policy ungranted"),
            ("opened lost permission-model-switched", "changed lost role-assignment-absent"),
        ),
        # A disabled principal explains its grants, read or not
        (
            ("suspended ungranted", "principal? ungranted", "suspended ungranted"),
            ("opened lost principal-disabled", "", ""),
        ),
        (("suspended ungranted", "ungranted"), ("opened lost principal-disabled", "changed lost role-assignment-absent")),
        # A key store that is not read hides its settings, and who may use it
        (
            ("blocked disabled", "vault? disabled", "disabled"),
            ("opened lost key-disabled network-blocked", "", "changed lost key-disabled"),
        ),
        # Nothing is lost: what was at risk and cannot be read is unknown, once that lasts
        (
            ("ending", "ends?", "ends?", "ending"),
            (
                "opened at_risk grant-expiring",
                "",
                "changed unknown facts-unreadable",
                "changed at_risk grant-expiring",
            ),
        ),
        (("ending", "ends?", "ending"), ("opened at_risk grant-expiring", "", "")),
        (("ends?", "ends?"), ("", "")),
        (("unprotected", "ends?"), ("opened at_risk purge-protection-off", "resolved held")),
    ],
)  # fmt: skip
async def test_what_cannot_be_seen_has_not_ended(steps: tuple[str, ...], told: tuple[str, ...]) -> None:
    """No row leaves out what was told and cannot be read now, but for saying so; what is read to have ended is told."""
    assert await played(*steps) == list(told)


async def test_a_recheck_that_fails_for_good_ends_nothing() -> None:
    """After `recheck-failed`, what was told before is still reckoned with: it comes back without being taken for new."""
    story = Story()
    await story.see("disabled")
    await story.world.reconciler.fail(VAULT_HOST, "it broke")
    assert [row["FindingCodes"] for row in story.world.sink.rows] == [["key-disabled"], ["recheck-failed"]]
    assert await story.see("key? ungranted") == ["changed lost facts-unreadable role-assignment-absent"]


async def test_a_reminder_says_what_it_cannot_see() -> None:
    """A reminder of a loss, of which a part cannot be read, says so; the part is told again once it is read."""
    story = Story()
    await story.see("disabled ungranted")
    day = timedelta(days=1)
    assert await story.see("key? ungranted", after=day) == ["changed lost facts-unreadable role-assignment-absent"]
    assert story.world.sink.rows[-1]["Reason"] == REMINDER
    assert await story.see("disabled ungranted") == ["changed lost key-disabled role-assignment-absent"]


async def test_the_row_of_a_calm_binding_says_what_it_cannot_see() -> None:
    """When a binding no longer flaps, its row says that a part cannot be read; the part is told again once it is read."""
    story = Story()
    for words in ("disabled ungranted", "") * 3:
        await story.see(words)
    assert await story.see("disabled ungranted") == [LOST_TWICE, LOST_TWICE.replace("opened", "changed")]
    assert await story.see("key? ungranted", after=timedelta(minutes=30)) == [
        "changed lost facts-unreadable role-assignment-absent"
    ]
    assert story.world.sink.rows[-1]["Reason"] == CALMED
    assert await story.see("disabled ungranted") == ["changed lost key-disabled role-assignment-absent"]


async def test_an_actor_who_is_heard_of_later_says_what_it_cannot_see() -> None:
    """A row that joins the actor while a part cannot be read says so; the part is told again once it is read."""
    story = Story()
    await story.see("disabled ungranted")
    await story.hear("Microsoft.Authorization/roleAssignments/delete", str(assignment().id))
    assert await story.see("key? ungranted") == ["changed lost facts-unreadable role-assignment-absent"]
    assert story.world.sink.rows[-1]["ActorName"] == "admin"
    assert await story.see("disabled ungranted") == ["changed lost key-disabled role-assignment-absent"]


async def test_nobody_is_named_for_what_only_went_out_of_sight() -> None:
    """What cannot be read has not ended, so nobody ended it; what is read again has not begun, so nobody brought it about."""
    story = Story()
    await story.see("denied")
    await story.hear("Microsoft.Authorization/denyAssignments/delete", str(deny(READ).id))
    assert await story.see("denies? blocked") == ["changed lost facts-unreadable network-blocked"]
    await story.hear("Microsoft.Authorization/denyAssignments/write", str(deny(READ).id))
    assert await story.see("denied blocked") == ["changed lost deny-assignment network-blocked"]
    assert [row["ActorName"] for row in story.world.sink.rows] == [None, None, None]


@pytest.mark.parametrize("covered", [("key-disabled", "role-assignment-absent"), ("role-assignment-absent",), ("key-disabled",)])
async def test_a_blind_spot_turns_no_exemption(covered: tuple[str, ...]) -> None:
    """What a blind spot hides is as exempt as it was: nothing is told of an exemption that neither began nor ended."""
    story = Story()
    exemption = Exemption(
        match=Match(key="*"), codes=frozenset(covered), justification="known", author="me", expires=NOW + timedelta(days=90)
    )
    story.world.declaring(Declarations(exemptions=(exemption,)))
    await story.see("disabled ungranted")
    assert await story.see("key? ungranted") == []
    assert await story.see("disabled ungranted") == []


# --- which findings a failed read hides ----------------------------------------------------------------------------------


def full(of: KeyBinding, model: PermissionModel = RBAC) -> Facts:
    requirement = requirement_for(of.scenario, model)
    assert requirement is not None
    return granting(of, model, [each.name for each in requirement.permissions])


BY_POLICY = with_vault(full(CVM, POLICY), access_policies=(policy(STRANGER, *WORDS),))
# Only what is advisory hangs on somebody else's policy
LESS = with_vault(
    full(KEK, POLICY),
    access_policies=(policy(APP_OBJECT, *WORDS, "secrets/get", "secrets/list"), policy(STRANGER, "secrets/backup")),
)
FULL_KEK, FULL_HSM, BY_USER = full(KEK), full(HSM, MHSM), full(BY_USER_IDENTITY)


@pytest.mark.parametrize(
    ("of", "facts", "hidden", "seen"),
    [
        (CVM, tenant("key?"), {"key-not-found", "key-disabled"}, {"secret-disabled", "role-insufficient", "network-blocked"}),
        (PINNED, with_object(full(PINNED), PINNED.target, unread(), OLD_VERSION), {"key-disabled"}, {"role-insufficient"}),
        (CVM, with_store(tenant("key?"), store=Absent(what="kv1")), set(), {"key-disabled"}),
        (KEK, with_object(FULL_KEK, KEK.secrets[0], unread()), {"secret-disabled"}, {"key-disabled"}),
        (CVM, tenant("assignments?"), {"role-insufficient", "permission-model-switched"}, {"access-policy-absent"}),
        (CVM, with_store(tenant(""), definitions={"role-1": unread()}), {"role-insufficient"}, {"deny-assignment"}),
        (CVM, tenant("denies?"), {"deny-assignment"}, {"role-insufficient"}),
        (CVM, tenant("ends?"), {"grant-expiring"}, {"role-insufficient"}),
        (CVM, replace(BY_POLICY, groups={APP_OBJECT: unread()}), {"access-policy-absent"}, {"role-assignment-absent"}),
        (KEK, replace(LESS, groups={APP_OBJECT: unread()}), {"advisory-permission-missing"}, {"access-policy-insufficient"}),
        (HSM, with_store(FULL_HSM, HSM_HOST, hsm_assignments={"/": unread()}), {"hsm-role-insufficient"}, {"role-insufficient"}),
        (CVM, tenant("vault?"), {"key-store-not-found", "network-blocked", "role-insufficient"}, {"key-disabled"}),
        (CVM, tenant("principal?"), {"principal-disabled"}, {"role-insufficient"}),
        (CVM, replace(tenant("principal?"), last_known={}), {"principal-disabled", "role-insufficient"}, {"key-disabled"}),
        (
            BY_USER_IDENTITY,
            replace(BY_USER, principals={rid(USER_IDENTITY).key: unread()}),
            {"identity-deleted"},
            {"identity-detached", "role-insufficient"},
        ),
        (CVM, tenant("disabled ungranted denied blocked"), set(), set(CODES)),
        (KEK, FULL_KEK, set(), set(CODES)),
        (HSM, FULL_HSM, set(), set(CODES)),
    ],
)  # fmt: skip
def test_a_failed_read_hides_what_it_would_have_shown(of: KeyBinding, facts: Facts, hidden: set[str], seen: set[str]) -> None:
    """A failed read hides the findings that are made of it, and no others; where all was read nothing is hidden."""
    blind = frozenset[str]().union(*(spot.codes for spot in judged(of, facts).blind_spots))
    assert (hidden - blind, seen & blind) == (set(), set())


def test_every_finding_is_hidden_by_some_read() -> None:
    """Every code of the catalogue is hidden by a read that its finding is made of, or comes with the inventory."""
    hidden = OF_GRANTS.union(OF_PRINCIPALS, OF_KEY_STORES, *OF_OBJECTS.values())
    inventory = {"identity-none", "identity-detached", "key-changed", "key-rotation-stalled", "encryption-inconsistent"}
    assert CODES.keys() - hidden == inventory | {"facts-unreadable", "recheck-failed"}


def test_a_condition_is_no_failed_read() -> None:
    """A grant under a condition leaves its own finding, not a blind spot."""
    secrets = [each.name for each in requirement_permissions(KEK) if each.on == "secrets"]
    conditional = {"role-1": role(blocks=(block(*secrets, condition="@Resource[x] StringEquals 'y'"), block(READ, BACKUP)))}
    verdict = judged(KEK, with_store(FULL_KEK, definitions=conditional))
    assert (set(verdict.codes), verdict.blind_spots) == ({"role-assignment-conditional"}, ())


def requirement_permissions(of: KeyBinding) -> tuple[Permission, ...]:
    requirement = requirement_for(of.scenario, RBAC)
    assert requirement is not None
    return requirement.permissions
