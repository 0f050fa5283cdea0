"""Azure RBAC: which assignments reach a key, what their roles give, which denies bite, and what stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keydrift.access.permission import groups_needed, needs_at
from keydrift.access.rbac import EVERYONE, reaches
from keydrift.facts import Absent, DenyAssignment, Facts, PermissionBlock, Read, RoleAssignment, RoleDefinition
from keydrift.key_uri import KeyUri
from keydrift.model import KeyBinding, Scenario, State, StoreObject
from support.builders import (
    APP_OBJECT,
    GROUP,
    MANAGEMENT_GROUP,
    OTHER_TEAM,
    RBAC,
    STRANGER,
    SUB,
    TEAM,
    VAULT,
    VAULT_HOST,
    assignment,
    binding,
    block,
    deny,
    facts_of,
    granting,
    judged,
    rid,
    role,
    store_facts,
    unread,
    vault,
    with_store,
)

READ = "Microsoft.KeyVault/vaults/keys/read"
BACKUP = "Microsoft.KeyVault/vaults/keys/backup/action"
NEEDED = (READ, BACKUP)
SECRETS = tuple(
    f"Microsoft.KeyVault/vaults/secrets/{action}" for action in ("getSecret/action", "readMetadata/action", "backup/action")
)
KEY = f"{VAULT}/keys/k1"
UNREAD = unread("memberships")

Names = dict[str, Read[RoleDefinition]]


def facts(
    of: KeyBinding,
    assignments: Read[tuple[RoleAssignment, ...]],
    definitions: Names | None = None,
    denies: Read[tuple[DenyAssignment, ...]] = (),
    groups: Read[frozenset[str]] = frozenset(),
) -> Facts:
    known: Names = {"role-1": role(*NEEDED, *SECRETS)} if definitions is None else definitions
    made = store_facts(of, VAULT_HOST, vault(rbac=True), assignments={APP_OBJECT: assignments}, definitions=known, denies=denies)
    return facts_of(of, {VAULT_HOST: made}, groups={APP_OBJECT: groups})


CVM = binding(Scenario.CVM_CMK)
BEK = binding(Scenario.ADE_BEK)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("/", True),
        (MANAGEMENT_GROUP, True),
        (SUB, True),
        (GROUP, True),
        (VAULT, True),
        (KEY, True),
        (VAULT + "/", True),
        (VAULT.upper(), True),
        (KEY.lower(), True),
        (f"{KEY}/", True),
        (f"{SUB}0", False),
        (f"{GROUP}0", False),
        (f"{SUB}/resourceGroups/rg", False),
        (f"{VAULT}b", False),
        (VAULT[:-1], False),
        (f"{VAULT}/keys/k10", False),
        (f"{VAULT}/keys/k", False),
        (f"{VAULT}/keys/other", False),
        (f"{VAULT}/secrets/k1", False),
        (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/kv1", False),
        (f"{SUB}/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/kv1", False),
    ],
)
def test_scope(scope: str, expected: bool) -> None:
    """An assignment counts at or above the key, segment by segment, and on no other key, vault or group."""
    verdict = judged(CVM, facts(CVM, (assignment(scope),)))
    assert verdict.state is (State.HELD if expected else State.LOST)
    assert verdict.codes == (frozenset() if expected else {"role-assignment-absent"})
    assert verdict.missing == (() if expected else NEEDED)


def test_secret_scope() -> None:
    """A grant on a secret holds for that secret and for no key of the same name."""
    assert judged(BEK, facts(BEK, (assignment(f"{VAULT}/secrets/s1"),))).state is State.HELD
    assert judged(BEK, facts(BEK, (assignment(f"{VAULT}/keys/s1"),))).state is State.LOST
    assert judged(BEK, facts(BEK, (assignment(f"{VAULT}/secrets/s2"),))).state is State.LOST


def test_an_object_without_a_known_store_is_reached_through_the_store_that_was_read() -> None:
    """A consumer that does not say where its key vault stands loses nothing by it."""
    target = StoreObject(uri=KeyUri.parse(f"https://{VAULT_HOST}/keys/k1"))
    mine = binding(Scenario.CVM_CMK, target=target)
    assert judged(mine, facts(mine, (assignment(VAULT),))).state is State.HELD
    assert judged(mine, facts(mine, (assignment(f"{VAULT}/keys/k2"),))).state is State.LOST
    placed, *_ = needs_at(mine, VAULT_HOST, RBAC, rid(VAULT))
    nowhere = replace(placed, resource=None)
    assert not reaches(rid(VAULT), nowhere)
    assert reaches(rid(MANAGEMENT_GROUP), nowhere)
    assert reaches(rid(VAULT), placed)


@pytest.mark.parametrize(
    ("blocks", "missing"),
    [
        ((block(*NEEDED),), ()),
        ((block("*"),), ()),
        ((block("Microsoft.KeyVault/vaults/*"),), ()),
        ((block("microsoft.keyvault/VAULTS/keys/*"),), ()),
        ((block("Microsoft.KeyVault/*/read", "*/backup/action"),), ()),
        ((block(READ), block(BACKUP)), ()),
        ((block("*", without=(BACKUP,)), block(BACKUP)), ()),
        ((block("*", condition="@Resource[x]"),), ()),
        ((block("*", without=(BACKUP,)),), (BACKUP,)),
        ((block("*", without=("*/backup/*",)), block(READ)), (BACKUP,)),
        ((block(READ),), (BACKUP,)),
        ((), NEEDED),
        ((PermissionBlock(),), NEEDED),
        ((block("Microsoft.KeyVault/managedHsm/*"),), NEEDED),
        ((block("Microsoft.KeyVault/vaults/secrets/*"),), NEEDED),
    ],
)
def test_role(blocks: tuple[PermissionBlock, ...], missing: tuple[str, ...]) -> None:
    """Effective data actions decide, never a role's name; a control-plane role gives none, a condition restricts no key."""
    verdict = judged(CVM, facts(CVM, (assignment(),), {"role-1": role(blocks=blocks)}))
    assert verdict.missing == missing
    assert verdict.codes == ({"role-insufficient"} if missing else frozenset())


def test_another_role_grants_what_one_took_out() -> None:
    """`notDataActions` of one role denies nothing that another role gives."""
    definitions: Names = {"role-1": role(blocks=(block("*", without=(BACKUP,)),)), "role-2": role(BACKUP)}
    both = (assignment(), assignment(definition="role-2", name="2", principal=TEAM))
    assert judged(CVM, facts(CVM, both, definitions)).state is State.HELD
    assert judged(CVM, facts(CVM, both[:1], definitions)).missing == (BACKUP,)


@pytest.mark.parametrize(
    ("read", "state", "codes"),
    [
        (Absent(what="role"), State.LOST, {"role-insufficient"}),
        (unread("role definition"), State.UNKNOWN, {"facts-unreadable"}),
        (None, State.UNKNOWN, {"facts-unreadable"}),
    ],
)
def test_role_definition_that_is_not_there(read: Read[RoleDefinition] | None, state: State, codes: set[str]) -> None:
    """A deleted definition grants nothing, an unread one leaves it open, and another sufficient grant settles both."""
    definitions: Names = {} if read is None else {"role-1": read}
    verdict = judged(CVM, facts(CVM, (assignment(),), definitions))
    assert (verdict.state, set(verdict.codes)) == (state, codes)
    assert verdict.missing == (NEEDED if state is State.LOST else ())
    more: Names = {**definitions, "role-2": role(*NEEDED)}
    second = assignment(GROUP, "role-2", name="2")
    assert judged(CVM, facts(CVM, (assignment(), second), more)).state is State.HELD


def test_unread_definition_leaves_only_its_own_needs_open() -> None:
    """A need that another role gives is no longer in doubt; the rest is."""
    definitions: Names = {"role-1": unread("role definition"), "role-2": role(READ)}
    verdict = judged(CVM, facts(CVM, (assignment(), assignment(definition="role-2", name="2")), definitions))
    assert (verdict.state, verdict.missing) == (State.UNKNOWN, ())


def test_unread_definition_of_another_keys_assignment_is_no_doubt() -> None:
    """An assignment on another key cannot undo a loss, whatever its role."""
    verdict = judged(CVM, facts(CVM, (assignment(f"{VAULT}/keys/k2"),), {"role-1": unread()}))
    assert (verdict.state, set(verdict.codes)) == (State.LOST, {"role-assignment-absent"})


@pytest.mark.parametrize("listed", [unread("role assignments"), Absent(what="scope")])
def test_unread_assignments(listed: Read[tuple[RoleAssignment, ...]]) -> None:
    """Assignments that were not listed are unknown, never absent."""
    verdict = judged(CVM, facts(CVM, listed))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (State.UNKNOWN, {"facts-unreadable"}, ())


def test_assignments_of_another_principal_only() -> None:
    """Assignments that were listed for somebody else say nothing about this principal."""
    made = with_store(facts(CVM, ()), assignments={STRANGER: (assignment(),)})
    assert judged(CVM, made).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("assigned", "blocks", "state"),
    [
        ("@Resource[name]", (block(*SECRETS),), State.UNKNOWN),
        (None, (block(*SECRETS, condition="@Resource[name]"),), State.UNKNOWN),
        (None, (block(*SECRETS, condition="@Resource[name]"), block(*SECRETS)), State.HELD),
        ("@Resource[name]", (block(*SECRETS[:2]),), State.LOST),
        (None, (block(*SECRETS),), State.HELD),
    ],
)
def test_condition_on_secrets(assigned: str | None, blocks: tuple[PermissionBlock, ...], state: State) -> None:
    """A secret that only a conditional grant gives is unknown; what no grant gives at all is lost."""
    verdict = judged(BEK, facts(BEK, (assignment(condition=assigned),), {"role-1": role(blocks=blocks)}))
    assert verdict.state is state
    assert ("role-assignment-conditional" in set(verdict.codes)) == (state is State.UNKNOWN)


def test_condition_beside_an_unconditional_grant() -> None:
    """A conditional grant is no doubt where another grant gives the same."""
    both = (assignment(condition="@Resource[name]"), assignment(name="2"))
    assert judged(BEK, facts(BEK, both)).state is State.HELD


def test_condition_on_keys_is_ignored() -> None:
    """Conditions cannot restrict keys, wherever they stand."""
    assert judged(CVM, facts(CVM, (assignment(condition="@Resource[name]"),))).state is State.HELD


@pytest.mark.parametrize("reverse", [False, True])
def test_conditional_and_unread_grants_in_any_order(reverse: bool) -> None:
    """While a grant could not be read, the conditional one is not called the only one, in whatever order they were listed."""
    definitions: Names = {"role-1": role(*SECRETS), "role-2": unread()}
    both = (assignment(condition="@Resource[name]"), assignment(definition="role-2", name="2"))
    verdict = judged(BEK, facts(BEK, both[::-1] if reverse else both, definitions))
    assert (verdict.state, set(verdict.codes)) == (State.UNKNOWN, {"facts-unreadable"})


# --- denies ----------------------------------------------------------------------------------------------------------------

GROUPS = frozenset({TEAM})
LOST, HELD, UNKNOWN = State.LOST, State.HELD, State.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "groups", "state"),
    [
        ({}, GROUPS, LOST),
        ({"principals": {EVERYONE}}, GROUPS, LOST),
        ({"principals": {EVERYONE}}, UNREAD, LOST),
        ({"principals": {STRANGER}}, GROUPS, HELD),
        ({"principals": {STRANGER}}, UNREAD, HELD),
        ({"principals": (), "group_principals": frozenset({TEAM})}, GROUPS, LOST),
        ({"principals": (), "group_principals": frozenset({TEAM})}, frozenset(), HELD),
        ({"principals": (), "group_principals": frozenset({TEAM})}, UNREAD, UNKNOWN),
        ({"group_principals": frozenset({TEAM})}, UNREAD, LOST),
        ({"principals": {STRANGER}, "group_principals": frozenset({OTHER_TEAM})}, GROUPS, HELD),
        ({"principals": {EVERYONE}, "excluded": frozenset({APP_OBJECT})}, UNREAD, HELD),
        ({"principals": {EVERYONE}, "excluded": frozenset({STRANGER})}, UNREAD, LOST),
        ({"principals": {EVERYONE}, "excluded_groups": frozenset({TEAM})}, GROUPS, HELD),
        ({"principals": {EVERYONE}, "excluded_groups": frozenset({OTHER_TEAM})}, GROUPS, LOST),
        ({"principals": {EVERYONE}, "excluded_groups": frozenset({TEAM})}, UNREAD, UNKNOWN),
        ({"principals": {EVERYONE}, "excluded_groups": frozenset({TEAM})}, Absent(what="principal"), UNKNOWN),
        ({"principals": {STRANGER}, "excluded_groups": frozenset({TEAM})}, UNREAD, HELD),
        ({"excluded_groups": frozenset({OTHER_TEAM}), "principals": (), "group_principals": GROUPS}, GROUPS, LOST),
        ({"condition": "@Resource[x]"}, GROUPS, UNKNOWN),
        ({"condition": "@Resource[x]", "principals": {STRANGER}}, GROUPS, HELD),
        ({"permissions": (block("*", condition="@Resource[x]"),)}, GROUPS, UNKNOWN),
        ({"permissions": (block("*", without=NEEDED),)}, GROUPS, HELD),
        ({"permissions": (block("*", without=(READ,)),)}, GROUPS, LOST),
        ({"permissions": (block("Microsoft.KeyVault/vaults/secrets/*"),)}, GROUPS, HELD),
        ({"permissions": (PermissionBlock(),)}, GROUPS, HELD),
        ({"scope": SUB}, GROUPS, LOST),
        ({"scope": MANAGEMENT_GROUP}, GROUPS, LOST),
        ({"scope": "/"}, GROUPS, LOST),
        ({"scope": KEY}, GROUPS, LOST),
        ({"scope": f"{VAULT}/keys/k2"}, GROUPS, HELD),
        ({"scope": f"{GROUP}0"}, GROUPS, HELD),
        ({"scope": VAULT, "applies_to_children": False}, GROUPS, HELD),
        ({"scope": SUB, "applies_to_children": False}, GROUPS, HELD),
        ({"scope": KEY, "applies_to_children": False}, GROUPS, LOST),
        ({"scope": KEY.upper(), "applies_to_children": False}, GROUPS, LOST),
        ({"scope": f"{VAULT}/keys/k2", "applies_to_children": False}, GROUPS, HELD),
    ],
)
def test_deny(changes: dict[str, Any], groups: Read[frozenset[str]], state: State) -> None:
    """A deny bites whom it names and does not exclude, where it reaches; unread groups and conditions leave it unknown."""
    fields = {**changes, **({"principals": frozenset(changes["principals"])} if "principals" in changes else {})}
    made = deny("*", **fields)
    verdict = judged(CVM, facts(CVM, (assignment(),), denies=(made,), groups=groups))
    assert verdict.state is state
    assert ("deny-assignment" in set(verdict.codes)) == (state is LOST)
    assert ("facts-unreadable" in set(verdict.codes)) == (state is UNKNOWN)


def test_deny_says_what_it_denies() -> None:
    """The finding and `missing` name the denied actions and no others."""
    verdict = judged(CVM, facts(CVM, (assignment(),), denies=(deny(BACKUP),)))
    assert verdict.missing == (BACKUP,)
    assert verdict.findings[0].evidence["denied"] == (BACKUP,)
    assert "denyAssignments/d1" in verdict.findings[0].remediation


def test_deny_beside_a_missing_grant_explains_only_what_it_denies() -> None:
    """What is both denied and ungranted is the deny's; the rest is the missing grant's."""
    verdict = judged(CVM, facts(CVM, (), denies=(deny(BACKUP),)))
    assert verdict.codes == {"deny-assignment", "role-assignment-absent"}
    assert verdict.missing == NEEDED
    absent = next(f for f in verdict.findings if f.code == "role-assignment-absent")
    assert absent.evidence["missing"] == (READ,)
    assert judged(CVM, facts(CVM, (), denies=(deny("*"),))).codes == {"deny-assignment"}


def test_a_certain_deny_is_lost_beside_a_doubtful_one() -> None:
    """A deny that certainly applies is lost whatever another one's groups say."""
    doubtful = deny("*", principals=(), group_principals=frozenset({TEAM}))
    verdict = judged(CVM, facts(CVM, (assignment(),), denies=(doubtful, deny(READ)), groups=UNREAD))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (LOST, {"deny-assignment"}, (READ,))


@pytest.mark.parametrize("denies", [unread("deny assignments"), Absent(what="scope")])
def test_unread_denies(denies: Read[tuple[DenyAssignment, ...]]) -> None:
    """Unread denies make held unknown and leave lost lost."""
    assert judged(CVM, facts(CVM, (assignment(),), denies=denies)).state is UNKNOWN
    assert judged(CVM, facts(CVM, (), denies=denies)).codes == {"role-assignment-absent"}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (deny("*", principals=(), group_principals=frozenset({TEAM})), True),
        (deny("*", principals=(EVERYONE,), excluded_groups=frozenset({TEAM})), True),
        (deny("*", group_principals=frozenset({TEAM})), False),
        (deny("*", principals=(EVERYONE,), excluded=frozenset({APP_OBJECT}), excluded_groups=frozenset({TEAM})), False),
        (deny("Microsoft.Storage/*", principals=(), group_principals=frozenset({TEAM})), False),
        (deny("*", principals=(), group_principals=frozenset({TEAM}), scope=f"{VAULT}/keys/k2"), False),
        (deny("*", principals=(STRANGER,)), False),
    ],
)
def test_memberships_are_asked_for_only_where_they_matter(made: DenyAssignment, expected: bool) -> None:
    """Groups are worth a read only where a deny that covers a need hangs on them."""
    read = facts(CVM, (assignment(),), denies=(made,)).stores[VAULT_HOST]
    assert groups_needed(CVM, VAULT_HOST, read, APP_OBJECT) is expected


def test_proof_names_every_assignment_and_why() -> None:
    """Each assignment weighed stands in the proof with its effect."""
    definitions: Names = {"role-1": role(*NEEDED), "role-2": role(READ), "role-3": Absent(what="r"), "role-4": unread()}
    listed = (
        assignment(),
        assignment(definition="role-2", name="2"),
        assignment(definition="role-3", name="3"),
        assignment(definition="role-4", name="4"),
        assignment(f"{VAULT}/keys/k2", name="5"),
    )
    verdict = judged(CVM, facts(CVM, listed, definitions, denies=(deny("Microsoft.Storage/*"),)))
    effects = [str(step.effect) for step in verdict.proof]
    assert effects == [
        "grants", "grants-some", "grants-nothing", "undecidable", "grants-nothing", "does-not-deny",
    ]  # fmt: skip
    assert verdict.proof[0].permissions == tuple(sorted(NEEDED))
    assert BACKUP in verdict.proof[1].reason
    assert all(step.scope and step.reason for step in verdict.proof)


def test_the_remedy_names_principal_role_and_scope() -> None:
    """The command assigns the documented role to the object id at the vault."""
    line = judged(CVM, granting(CVM, RBAC, ())).findings[0].remediation
    assert line == (
        f"az role assignment create --assignee-object-id {APP_OBJECT} --assignee-principal-type ServicePrincipal"
        f" --role 'Key Vault Crypto User' --scope {VAULT}"
    )
