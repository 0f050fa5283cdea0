"""From lists of a subscription to one key store: by segments, by holder, and which reads come first when there are too many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from keydrift.bulk.listing import DenyIndex, HolderIndex, WatchedScopes, oldest_first, places_of
from keydrift.facts import DenyAssignment, RoleAssignment
from keydrift.resource_id import ResourceId

SUB = "/subscriptions/aaaaaaaa-0000-0000-0000-000000000001"
OTHER_SUB = "/subscriptions/aaaaaaaa-0000-0000-0000-000000000010"
RG = f"{SUB}/resourceGroups/rg1"
VAULTS = "providers/Microsoft.KeyVault/vaults"
KV1, KV10, KV2 = (ResourceId.parse(f"{RG}/{VAULTS}/{name}") for name in ("kv1", "kv10", "kv2"))
MG = "/providers/Microsoft.Management/managementGroups/mg1"
ME, MY_GROUP, SOMEBODY = "me", "group", "somebody"
SCOPES = WatchedScopes.of([KV1, KV2])

REACH = [
    ("/", {"kv1", "kv2"}),
    (MG, {"kv1", "kv2"}),
    (SUB, {"kv1", "kv2"}),
    (SUB.upper(), {"kv1", "kv2"}),
    (f"{SUB}/", {"kv1", "kv2"}),
    (OTHER_SUB, set()),
    (SUB[:-1], set()),
    (RG, {"kv1", "kv2"}),
    (RG.replace("resourceGroups", "resourcegroups"), {"kv1", "kv2"}),
    (f"{RG}0", set()),
    (f"{SUB}/resourceGroups/rg", set()),
    (f"{RG}/{VAULTS}/kv1", {"kv1"}),
    (f"{RG}/{VAULTS}/KV1/", {"kv1"}),
    (f"{RG}/{VAULTS}/kv10", set()),
    (f"{RG}/{VAULTS}/kv", set()),
    (f"{RG}0/{VAULTS}/kv1", set()),
    (f"{RG}/{VAULTS}/kv1/keys/k1", {"kv1"}),
    (f"{RG}/{VAULTS}/kv1/keys/k1/versions/1", {"kv1"}),
    (f"{RG}/{VAULTS}/kv10/keys/k1", set()),
    (f"{RG}/{VAULTS}/kv2/secrets/s1", {"kv2"}),
    (f"{RG}/providers/Microsoft.KeyVault/managedHSMs/kv1", set()),
    (f"{RG}/providers/Microsoft.Storage/storageAccounts/kv1", set()),
    (f"{MG}/providers/Microsoft.Authorization/policyAssignments/p1", set()),
]


def assignment(number: int, scope: str, holder: str = ME, role: str = "role") -> RoleAssignment:
    at = ResourceId.parse(scope)
    return RoleAssignment(
        id=at.child("providers", "Microsoft.Authorization", "roleAssignments", str(number)),
        scope=at,
        role_definition_id=role,
        principal_id=holder,
    )


def deny(number: int, scope: str) -> DenyAssignment:
    at = ResourceId.parse(scope)
    return DenyAssignment(id=at.child("denies", str(number)), name=str(number), scope=at, permissions=(), principals=frozenset())


def names(rows: Iterable[RoleAssignment | DenyAssignment]) -> list[str]:
    return [row.id.name for row in rows]


@pytest.mark.parametrize(("scope", "stores"), REACH)
def test_a_scope_concerns_what_is_at_above_or_below_it(scope: str, stores: set[str]) -> None:
    """An assignment or deny concerns a key store that it stands at, above or below, by whole segments in any letter case."""
    row = assignment(1, scope)
    index, denies = HolderIndex(SCOPES, [row], {ME}), DenyIndex(SCOPES, [deny(1, scope)])
    assert {store.name for store in (KV1, KV2) if index.reaching(store, [ME])} == stores
    assert {store.name for store in (KV1, KV2) if denies.concerning(store)} == stores
    assert SCOPES.touches(row.scope) is bool(stores)


def test_places_stand_from_the_root_to_the_key_store() -> None:
    """The places of a key store are the root, each id above it and itself; a management group counts at the root."""
    assert places_of(KV1)[0] == "/"
    assert places_of(KV1)[-1] == KV1.key
    assert {SUB.lower(), RG.lower()} <= set(places_of(KV1))
    assert SCOPES.place(ResourceId.parse(MG)) == "/"


@pytest.mark.parametrize(
    ("holders", "expected"),
    [([ME], ["1", "4"]), ([MY_GROUP], ["2"]), ([ME, MY_GROUP], ["1", "2", "4"]), ([SOMEBODY], ["3"]), ([], []), (["nobody"], [])],
)
def test_assignments_by_holder_in_the_listed_order(holders: list[str], expected: list[str]) -> None:
    """A principal's and its groups' assignments come in the order in which they were listed, nobody else's with them."""
    rows = [
        assignment(1, f"{KV1}/keys/k1"),
        assignment(2, "/", MY_GROUP),
        assignment(3, RG, SOMEBODY),
        assignment(4, SUB),
        assignment(5, str(KV10)),
        assignment(6, str(KV2)),
    ]
    index = HolderIndex(SCOPES, rows, {ME})
    assert names(index.reaching(KV1, holders)) == expected
    assert names(index.all_reaching(KV1)) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("scope", "holder", "expected"),
    [(RG, ME, False), (RG, MY_GROUP, True), ("/", MY_GROUP, True), (str(KV2), MY_GROUP, False), (str(KV10), MY_GROUP, False)],
)
def test_groups_matter_where_somebody_unwatched_holds_something(scope: str, holder: str, expected: bool) -> None:
    """Memberships are worth a read only where an assignment that concerns the key store is held by nobody who is watched."""
    assert HolderIndex(SCOPES, [assignment(1, scope, holder)], {ME}).groups_matter(KV1) is expected


def test_only_roles_that_concern_a_key_store_are_named() -> None:
    """The role definitions to read are those of assignments that stand where it matters."""
    rows = [assignment(1, RG, role="a"), assignment(2, f"{RG}0", role="b"), assignment(3, str(KV2), SOMEBODY, role="c")]
    assert HolderIndex(SCOPES, rows, {ME}).role_definitions == {"a", "c"}


def test_denies_keep_the_listed_order() -> None:
    """Denies of a key store come in the order in which they were listed."""
    rows = [deny(1, str(KV1)), deny(2, "/"), deny(3, str(KV2)), deny(4, f"{KV1}/keys/k1"), deny(5, SUB)]
    assert names(DenyIndex(SCOPES, rows).concerning(KV1)) == ["1", "2", "4", "5"]


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (None, {"never", "oldest", "older", "new"}),
        (9, {"never", "oldest", "older", "new"}),
        (3, {"never", "oldest", "older"}),
        (2, {"never", "oldest"}),
        (1, {"never"}),
        (0, set()),
    ],
)
def test_the_oldest_reads_come_first(budget: int | None, expected: set[str]) -> None:
    """A short budget goes to what was never read, then to what was read longest ago."""
    last_read = {"new": NOW, "oldest": NOW - timedelta(hours=2), "never": None, "older": NOW - timedelta(hours=1)}
    assert oldest_first(last_read, budget) == expected


def test_turns_go_round() -> None:
    """Sweep after sweep every item is read, none twice before all are read once."""
    last_read: dict[int, datetime | None] = dict.fromkeys(range(10))
    read: list[int] = []
    for turn in range(4):
        chosen = oldest_first(last_read, 3)
        read += sorted(chosen)
        last_read.update(dict.fromkeys(chosen, NOW + timedelta(minutes=turn)))
    assert sorted(read[:9]) == list(range(9))
    assert set(read) == set(range(10))


def test_a_negative_budget_is_refused() -> None:
    """A budget below zero is a mistake, not an empty sweep."""
    with pytest.raises(ValueError, match="at least 0 reads, got -1"):
        oldest_first({"a": None}, -1)
