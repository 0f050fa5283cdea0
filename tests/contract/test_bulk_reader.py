"""Reading whole subscriptions gives the verdicts that reading each key store gives, at a stated number of calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.bulk.lists import Spread
from keydrift.collect import Known
from keydrift.facts import Earlier, Facts, KeyObject, KeyVault, Unread
from keydrift.inventory import discover
from keydrift.model import KeyBinding, PermissionModel, Scenario, State, Verdict
from keydrift.resource_id import ResourceId
from keydrift.watchlist import Watchlist
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_objects import Section
from support import tenants
from support.azure import asked, serve
from support.bulk import BothWays, both_ways
from support.queues_memory import ManualClock
from support.tenants import (
    ALL_KEYS,
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_SERVICE_ENCRYPTION_USER,
    CRYPTO_USER,
    HEALTHY,
    IDENTITY_OBJECT_ID,
    OLDER_VERSION,
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    VERSION,
    Document,
    access_policy,
    arm_id,
    backup_vault,
    deny_assignment,
    guid,
    healthy,
    key,
    key_vault,
    managed_hsm,
    role_assignment,
    role_definition,
    secret,
    tenant,
    user_assigned_identity,
    user_identity,
    vault_id,
)

KNOWN = Known(object_ids={BACKUP_APP_ID: BACKUP_OBJECT_ID})
BOTH_SUBSCRIPTIONS = (SUBSCRIPTION, OTHER_SUBSCRIPTION)
GROUP, OUTER_GROUP, STRANGERS = guid(50), guid(51), guid(52)
MG, PARENT_MG, OTHER_MG = (f"/providers/Microsoft.Management/managementGroups/{name}" for name in ("mg", "parent", "other"))
RG = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1"
K1 = "https://kv1.vault.azure.net/keys/k1"
CVM = (Scenario.CVM_CMK, Scenario.CVM_DES)

type Step = Callable[[LocalAzure], object]
PAGE_SIZE = 3


def told(verdict: Verdict) -> tuple[object, ...]:
    """What a verdict says, the times and the wording of failed reads aside."""
    proof = frozenset((step.kind, step.id, step.effect, step.scope, step.role) for step in verdict.proof)
    return verdict.binding.id, verdict.state, verdict.codes, verdict.missing, proof, verdict.principal, verdict.key_store


def judged(bindings: Sequence[KeyBinding], facts: Facts) -> list[Verdict]:
    horizon = Horizon(now=ManualClock().now())
    return [decide(binding, facts, horizon) for binding in bindings]


async def bindings_in(both: BothWays, azure: LocalAzure) -> tuple[KeyBinding, ...]:
    """Every key binding of the tenant that is loaded; what that took to find out is forgotten."""
    found = discover(await both.inventory.read(BOTH_SUBSCRIPTIONS), BACKUP_APP_ID)
    azure.clear_requests()
    return found


async def agree(azure: LocalAzure, document: Document, *steps: Step, known: Known = KNOWN) -> list[Verdict]:
    """Read the tenant's key bindings both ways after these steps, compare every verdict, and return the bulk reader's."""
    serve(azure, document)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        assert bindings
        for step in steps:
            step(azure)
        watchlist = Watchlist.of(bindings)
        expected = {host: await both.single.collect(watchlist.at(host), known) for host in watchlist.hosts}
        actual = await both.at_once(bindings, known)
    assert set(actual) == set(expected)
    verdicts: list[Verdict] = []
    for host in watchlist.hosts:
        mine = watchlist.at(host)
        found = judged(mine, actual[host])
        assert [told(each) for each in found] == [told(each) for each in judged(mine, expected[host])]
        assert {uri: type(read) for uri, read in actual[host].stores[host].objects.items()} == {
            uri: type(read) for uri, read in expected[host].stores[host].objects.items()
        }
        verdicts += found
    return verdicts


# --- the same verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_healthy_tenants(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """Every healthy tenant is held whichever way it is read."""
    assert {each.state for each in await agree(azure, healthy(scenario, model))} == {State.HELD}


def cvm(*assignments: Document, **sections: object) -> Document:
    """A confidential machine whose key stands in an RBAC vault, with these role assignments."""
    document = healthy(Scenario.CVM_CMK, PermissionModel.RBAC)
    named: dict[str, object] = {"roleAssignments": list(assignments)}
    return {**document, **named, **sections}


def both_roles(scope: str) -> tuple[Document, Document]:
    """What the machine's two principals need, at a scope."""
    return (
        role_assignment(1, scope, CRYPTO_USER, BACKUP_OBJECT_ID),
        role_assignment(2, scope, CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID),
    )


def groups(*pairs: tuple[str, Sequence[str]]) -> Document:
    backup = {"id": BACKUP_OBJECT_ID, "appId": BACKUP_APP_ID, "displayName": "Backup", "accountEnabled": True}
    return {"servicePrincipals": [backup], "groups": [{"id": each, "members": list(members)} for each, members in pairs]}


MEMBERS = groups((GROUP, [BACKUP_OBJECT_ID, IDENTITY_OBJECT_ID]), (OUTER_GROUP, [GROUP]), (STRANGERS, [guid(99)]))
MANAGEMENT_GROUPS = [
    {"id": MG, "subscriptions": [SUBSCRIPTION], "parent": PARENT_MG},
    {"id": PARENT_MG, "subscriptions": []},
    {"id": OTHER_MG, "subscriptions": [OTHER_SUBSCRIPTION]},
]
PLACES = [
    (vault_id(), State.HELD),
    (f"{vault_id()}/keys/k1", State.HELD),
    (f"{vault_id()}/keys/K1/", State.HELD),
    (f"{vault_id()}/keys/k10", State.LOST),
    (vault_id().upper(), State.HELD),
    (vault_id("kv10"), State.LOST),
    (RG, State.HELD),
    (f"{RG}0", State.LOST),
    (f"/subscriptions/{SUBSCRIPTION}", State.HELD),
    (f"/subscriptions/{OTHER_SUBSCRIPTION}", State.LOST),
    (MG, State.HELD),
    (PARENT_MG, State.HELD),
    (OTHER_MG, State.LOST),
    ("/", State.HELD),
]


@pytest.mark.parametrize(("scope", "expected"), PLACES)
async def test_assignments_at_every_scope(azure: LocalAzure, scope: str, expected: State) -> None:
    """An assignment counts at, above and below the key, by segments, and nowhere else."""
    document = cvm(*both_roles(scope), managementGroups=MANAGEMENT_GROUPS)
    assert {each.state for each in await agree(azure, document)} == {expected}


@pytest.mark.parametrize(
    ("holder", "expected"), [(GROUP, State.HELD), (OUTER_GROUP, State.HELD), (STRANGERS, State.LOST), (guid(98), State.LOST)]
)
@pytest.mark.parametrize("graph", [True, False])
async def test_assignments_of_groups(azure: LocalAzure, holder: str, expected: State, graph: bool) -> None:
    """A group's assignment reaches its members, nested ones too, whether Graph tells them or Azure has to expand them."""
    assignments = [role_assignment(1, RG, CRYPTO_USER, holder), role_assignment(2, RG, CRYPTO_SERVICE_ENCRYPTION_USER, holder)]
    steps = [] if graph else [lambda azure: azure.fault({"match": "GET */transitiveMemberOf", "status": 403})]
    verdicts = await agree(azure, cvm(*assignments, directory=MEMBERS), *steps)
    assert {each.state for each in verdicts} == {expected}


READ_KEYS = {"dataActions": ["Microsoft.KeyVault/vaults/keys/read"], "notDataActions": []}
NO_CHILDREN = deny_assignment(3, vault_id(), ["*"], [{"id": BACKUP_OBJECT_ID, "type": "ServicePrincipal"}])
NO_CHILDREN["properties"]["doNotApplyToChildScopes"] = True
OF_GROUP = {"id": OUTER_GROUP, "type": "Group"}
OF_BACKUP = {"id": BACKUP_OBJECT_ID, "type": "ServicePrincipal"}
BROKEN: dict[str, tuple[Document, State]] = {
    "no assignment": (cvm(), State.LOST),
    "one of two": (cvm(both_roles(vault_id())[0]), State.LOST),
    "role too small": (
        cvm(
            *(role_assignment(n, RG, guid(70), p) for n, p in enumerate((BACKUP_OBJECT_ID, IDENTITY_OBJECT_ID))),
            roleDefinitions=[role_definition(70, "reads keys", READ_KEYS)],
        ),
        State.LOST,
    ),
    "role definition gone": (cvm(role_assignment(1, RG, guid(71), BACKUP_OBJECT_ID), both_roles(RG)[1]), State.LOST),
    "deny on the vault": (cvm(*both_roles(RG), denyAssignments=[deny_assignment(3, vault_id(), ["*"], [OF_BACKUP])]), State.LOST),
    "deny on the key": (
        cvm(*both_roles(RG), denyAssignments=[deny_assignment(3, f"{vault_id()}/keys/k1", ["*"], [OF_BACKUP])]),
        State.LOST,
    ),
    "deny of a group": (
        cvm(*both_roles(RG), directory=MEMBERS, denyAssignments=[deny_assignment(3, RG, ["*"], [OF_GROUP])]),
        State.LOST,
    ),
    "deny in another group": (
        cvm(*both_roles(RG), denyAssignments=[deny_assignment(3, f"{RG}0", ["*"], [OF_BACKUP])]),
        State.HELD,
    ),
    "deny that keeps to its scope": (cvm(*both_roles(RG), denyAssignments=[NO_CHILDREN]), State.HELD),
    "service principal disabled": (
        cvm(
            *both_roles(RG),
            directory={"servicePrincipals": [{"id": BACKUP_OBJECT_ID, "appId": BACKUP_APP_ID, "accountEnabled": False}]},
        ),
        State.LOST,
    ),
    "no service principal": (cvm(*both_roles(RG), directory={"servicePrincipals": [], "groups": []}), State.LOST),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_tenants(azure: LocalAzure, name: str) -> None:
    """What takes a grant away takes it away whichever way it is read."""
    document, expected = BROKEN[name]
    verdicts = await agree(azure, document)
    assert max((each.state for each in verdicts), key=lambda state: state.rank) is expected


CHANGES: dict[str, Document] = {
    "vault deleted": {"delete": vault_id()},
    "key deleted": {"delete": f"{vault_id()}/keys/k1"},
    "key disabled": {"merge": {"id": f"{vault_id()}/keys/k1", "properties": {"attributes": {"enabled": False}}}},
    "model switched": {"merge": {"id": vault_id(), "properties": {"enableRbacAuthorization": True}}},
    "policies emptied": {"merge": {"id": vault_id(), "properties": {"accessPolicies": []}}},
    "policy of a group": {"merge": {"id": vault_id(), "properties": {"accessPolicies": [access_policy(GROUP)]}}},
    "other tenant": {"merge": {"id": vault_id(), "properties": {"tenantId": guid(90)}}},
    "purge protection off": {"merge": {"id": vault_id(), "properties": {"enablePurgeProtection": False}}},
}


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("scenario", [Scenario.CVM_CMK, Scenario.ADE_KEK, Scenario.BACKUP_VAULT_CMK])
@pytest.mark.parametrize("name", CHANGES)
async def test_changes_to_a_policy_vault(azure: LocalAzure, name: str, scenario: Scenario, answered: bool) -> None:
    """A vault or key that is deleted, disabled or reconfigured is judged alike whichever way it is read."""
    document = {**healthy(scenario, PermissionModel.ACCESS_POLICY), "directory": MEMBERS}
    known = replace(KNOWN, answered=frozenset({"kv1.vault.azure.net"}) if answered else frozenset())
    await agree(azure, document, lambda azure: azure.change(CHANGES[name]), known=known)


FAULTS = [
    "GET */roleAssignments", "GET */roleDefinitions*", "GET */denyAssignments", "GET */vaults*", "GET */keys/k1",
    "GET */deletedVaults", "GET *serviceprincipals(*", "GET */roleAssignmentScheduleInstances", "GET *management.azure.com*",
]  # fmt: skip


@pytest.mark.parametrize("status", [403, 0])
@pytest.mark.parametrize("match", FAULTS)
async def test_failing_reads(azure: LocalAzure, match: str, status: int) -> None:
    """A kind of read that fails everywhere leaves the same unknown whichever way it is made."""
    document = cvm(*both_roles(RG))
    await agree(azure, document, lambda azure: azure.fault({"match": match, "status": status}))


async def test_a_key_and_its_secret_in_two_subscriptions(azure: LocalAzure) -> None:
    """`ade-kek` over two subscriptions is one binding of two key stores, each of whose facts hold both."""
    uri, elsewhere = f"https://kv2.vault.azure.net/secrets/s1/{VERSION}", vault_id("kv2", subscription=OTHER_SUBSCRIPTION)
    settings = tenants.encryption_settings(uri, K1, store=elsewhere, key_store=vault_id())
    document = healthy(Scenario.ADE_KEK, PermissionModel.ACCESS_POLICY)
    kept = [each for each in document["resources"] if "/disks/" not in each["id"]]
    policies = [access_policy(BACKUP_OBJECT_ID)]
    there = key_vault("kv2", rbac=False, policies=policies, subscription=OTHER_SUBSCRIPTION)
    document["resources"] = [
        *kept,
        tenants.disk(encryptionSettingsCollection=settings),
        there,
        secret("s1", vault="kv2", subscription=OTHER_SUBSCRIPTION),
    ]
    verdicts = await agree(azure, document)
    assert [(each.state, sorted(each.binding.hosts)) for each in verdicts] == [
        (State.HELD, ["kv1.vault.azure.net", "kv2.vault.azure.net"])
    ] * 2
    lost = await agree(azure, document, lambda azure: azure.change({"delete": f"{elsewhere}/secrets/s1"}))
    assert {each.state for each in lost} == {State.LOST}


async def test_a_pinned_version(azure: LocalAzure) -> None:
    """An older version that a consumer pins is read and judged."""
    older = {"id": f"{vault_id()}/keys/k1/versions/{OLDER_VERSION}", "properties": {"attributes": {"enabled": False}}}
    policies = [access_policy(IDENTITY_OBJECT_ID)]
    document = tenant(key_vault(rbac=False, policies=policies), key(), older, backup_vault("bv1", f"{K1}/{OLDER_VERSION}"))
    assert [each.codes for each in await agree(azure, document)] == [frozenset({"key-disabled"})]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("gone", [True, False])
async def test_user_assigned_identities(azure: LocalAzure, count: int, gone: bool) -> None:
    """Identities are found alone by their id and several in one list; one that is gone is lost."""
    names = [f"id{number}" for number in range(count)]
    ids = [arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", name) for name in names]
    policies = [access_policy(guid(200 + number)) for number in range(count)]
    resources = [
        key_vault(rbac=False, policies=policies),
        *(user_assigned_identity(n, guid(200 + i)) for i, n in enumerate(names)),
    ]
    for number, (name, identity) in enumerate(zip(names, ids, strict=True)):
        vault = backup_vault(f"bv-{name}", f"{K1}{number}", user_identity(identity, guid(200 + number)))
        vault["properties"]["securitySettings"]["encryptionSettings"]["kekIdentity"] = {
            "identityType": "UserAssigned",
            "identityId": identity,
        }
        resources += [vault, key(f"k1{number}")]
    steps: list[Step] = [lambda azure: azure.change({"delete": ids[0]})] if gone else []
    verdicts = await agree(azure, tenant(*resources), *steps)
    assert sorted(each.state for each in verdicts) == sorted([State.LOST if gone else State.HELD] + [State.HELD] * (count - 1))


async def test_an_unplaced_key_store(azure: LocalAzure) -> None:
    """A key in no subscription that can be seen is unknown."""
    document = tenant(backup_vault("bv1", "https://elsewhere.vault.azure.net/keys/k1"))
    assert [each.state for each in await agree(azure, document)] == [State.UNKNOWN]


# --- failures stay where they are -----------------------------------------------------------------------------------------


def two_subscriptions() -> Document:
    """An RBAC vault with one Backup vault's key in each of two subscriptions."""
    resources, assignments = [], []
    for number, subscription in enumerate(BOTH_SUBSCRIPTIONS):
        name = f"kv{number}"
        resources += [
            key_vault(name, rbac=True, subscription=subscription),
            key("k1", vault=name, subscription=subscription),
            backup_vault(f"bv{number}", f"https://{name}.vault.azure.net/keys/k1", subscription=subscription),
        ]
        scope = vault_id(name, subscription=subscription)
        assignments.append(role_assignment(number, scope, CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID))
    for each in resources:
        if "identity" in each:
            each["identity"]["principalId"] = IDENTITY_OBJECT_ID
    return tenant(*resources, roleAssignments=assignments)


LISTS = {
    "*/vaults": ("Microsoft.KeyVault/vaults", "store"),
    "*/roleAssignments": ("roleAssignments", "assignments"),
    "*/denyAssignments": ("denyAssignments", "denies"),
    "*/roleDefinitions": ("roleDefinitions", "definitions"),
}


@pytest.mark.parametrize("pattern", LISTS)
async def test_one_list_that_fails_is_unread_there_only(azure: LocalAzure, pattern: str) -> None:
    """A subscription's list that fails leaves that part of its own key stores unread, and nothing else anywhere."""
    path, part = LISTS[pattern]
    serve(azure, two_subscriptions())
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        azure.fault({"match": f"GET */subscriptions/{SUBSCRIPTION}/*{path}", "status": 403})
        facts = await both.at_once(bindings, KNOWN)
    unread = {}
    for host, found in facts.items():
        store = found.stores[host]
        reads: dict[str, list[object]] = {
            "store": [store.store],
            "assignments": list(store.assignments.values()),
            "denies": [store.denies],
            "definitions": list(store.definitions.values()),
            "objects": list(store.objects.values()),
        }
        unread[host] = {name for name, each in reads.items() if any(isinstance(read, Unread) for read in each)}
    assert unread == {"kv0.vault.azure.net": {part}, "kv1.vault.azure.net": set()}
    states = {v.binding.target.uri.host: v.state for v in judged(bindings[:1], facts[bindings[0].target.uri.host])}
    states |= {v.binding.target.uri.host: v.state for v in judged(bindings[1:], facts[bindings[1].target.uri.host])}
    assert states == {"kv0.vault.azure.net": State.UNKNOWN, "kv1.vault.azure.net": State.HELD}


async def test_a_page_that_fails_is_a_list_that_fails(azure: LocalAzure) -> None:
    """A list whose last page fails is unread, never shorter."""
    document = two_subscriptions()
    scope = vault_id("kv0")
    document["roleAssignments"] += [role_assignment(10 + n, scope, CRYPTO_USER, guid(300 + n)) for n in range(2 * PAGE_SIZE)]
    serve(azure, document)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        body = {"value": [], "nextLink": "https://management.azure.com/providers/nowhere?api-version=1"}
        match = f"GET */subscriptions/{SUBSCRIPTION}/*roleAssignments"
        azure.fault({"match": match, "status": 200, "times": 1, "body": body})
        facts = await both.at_once(bindings, KNOWN)
    assert all(
        isinstance(read, Unread) for read in facts["kv0.vault.azure.net"].stores["kv0.vault.azure.net"].assignments.values()
    )


async def test_a_strange_vault_hides_no_other(azure: LocalAzure) -> None:
    """A vault whose body cannot be decoded is unread alone."""
    document = two_subscriptions()
    strange = key_vault("kv2", rbac=True)
    document["resources"] += [strange, key("k1", vault="kv2"), backup_vault("bv2", "https://kv2.vault.azure.net/keys/k1")]
    serve(azure, document)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        strange["properties"]["enableRbacAuthorization"] = "perhaps"
        azure.change({"put": strange})
        facts = await both.at_once(bindings, KNOWN)
    stores = {host: found.stores[host].store for host, found in facts.items()}
    assert isinstance(stores["kv0.vault.azure.net"], KeyVault)
    read = stores["kv2.vault.azure.net"]
    assert isinstance(read, Unread)
    assert read.code == "UnexpectedShape at $.value[1].properties.enableRbacAuthorization"


async def test_a_vault_without_an_id_hides_no_other(azure: LocalAzure) -> None:
    """A vault in the list that does not tell its id is unread alone, by its own id; its neighbours are what the list says."""
    document = two_subscriptions()
    strange = key_vault("kv2", rbac=True)
    document["resources"] += [strange, key("k1", vault="kv2"), backup_vault("bv2", "https://kv2.vault.azure.net/keys/k1")]
    serve(azure, document)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        entry = azure.tenant.find(Section.RESOURCES, ResourceId.parse(strange["id"]))
        assert entry is not None
        entry.body["id"] = 5
        facts = await both.at_once(bindings, KNOWN)
    stores = {host: found.stores[host].store for host, found in facts.items()}
    assert isinstance(stores["kv0.vault.azure.net"], KeyVault)
    read = stores["kv2.vault.azure.net"]
    assert isinstance(read, Unread)
    assert read.code == "UnexpectedShape at $.id"


async def test_a_vault_that_the_list_does_not_show_is_asked_for(azure: LocalAzure) -> None:
    """A list is filtered by the monitor's rights without an error, so a missing vault is read by its id before it is absent."""
    serve(azure, two_subscriptions())
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        match = f"GET */subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults"
        azure.fault({"match": match, "status": 200, "body": {"value": []}})
        facts = await both.at_once(bindings, KNOWN)
    assert isinstance(facts["kv0.vault.azure.net"].stores["kv0.vault.azure.net"].store, KeyVault)


# --- what it costs --------------------------------------------------------------------------------------------------------


def estate(vaults: int, strangers: int, *, group: bool = False) -> Document:
    """Two subscriptions with RBAC vaults of one key each, and assignments of principals that nobody watches."""
    resources: list[Document] = []
    assignments: list[Document] = []
    for subscription in BOTH_SUBSCRIPTIONS:
        for number in range(vaults):
            name = f"kv{subscription[-1]}x{number}"
            object_id = f"1de00000-0000-0000-{subscription[-1]:0>4}-{number:012d}"
            identity = tenants.system_identity(object_id)
            resources += [
                key_vault(name, rbac=True, subscription=subscription),
                key("k1", vault=name, subscription=subscription),
                backup_vault(f"bv{number}", f"https://{name}.vault.azure.net/keys/k1", identity, subscription=subscription),
            ]
            scope = vault_id(name, subscription=subscription)
            assignments.append(role_assignment(len(assignments), scope, CRYPTO_SERVICE_ENCRYPTION_USER, object_id))
        for number in range(strangers):
            scope = vault_id(f"kv{subscription[-1]}x{number % vaults}", subscription=subscription)
            assignments.append(role_assignment(len(assignments), scope, CRYPTO_USER, guid(900 + number)))
    held = groups((guid(900), [])) if group else groups()
    return tenant(*resources, roleAssignments=assignments, directory=held)


def pages(rows: int) -> int:
    return max(1, math.ceil(rows / PAGE_SIZE))


@pytest.mark.parametrize(("vaults", "strangers"), [(2, 1), (8, 13)])
async def test_calls_grow_with_keys_and_pages_only(azure: LocalAzure, vaults: int, strangers: int) -> None:
    """Five lists for each subscription, a call for each further page, and one for each key: neither more nor less."""
    serve(azure, estate(vaults, strangers))
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        facts = await both.at_once(bindings, Known())
    assert len(facts) == 2 * vaults
    definitions = pages(len(azure_roles()))
    lists = pages(vaults) + pages(vaults + strangers) + definitions + 2  # denies and schedule instances: none, one page each
    calls = [each for each in asked(azure) if each.host == "management.azure.com"]
    assert len(calls) == 2 * lists + 2 * vaults
    # The contract's bound: a page here holds 3 rows, so that the pages of the role definitions are the lists' own
    assert len(calls) - 2 * (definitions - 1) <= 12 * 2 + 2 * vaults + (2 * vaults + 2 * (vaults + strangers)) / PAGE_SIZE
    assert {each.host for each in asked(azure)} == {"management.azure.com"}


def azure_roles() -> Sequence[object]:
    from keydrift_local.roles import azure_roles as roles

    return list(roles())


@pytest.mark.parametrize("readable", [True, False])
async def test_memberships_are_read_once_for_each_principal(azure: LocalAzure, readable: bool) -> None:
    """Where a group holds something, each watched principal costs one read of Graph; refused once, no more is asked of Graph, and
    Azure expands each principal once for each subscription and list."""
    document = estate(4, 4, group=True)
    for each in document["roleAssignments"]:
        if each["properties"]["principalId"] == guid(900):
            each["properties"]["scope"] = "/"
    serve(azure, document)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        if not readable:
            azure.fault({"match": "GET */transitiveMemberOf", "status": 403})
        facts = await both.at_once(bindings, Known())
    memberships = [each.path for each in asked(azure) if each.path.endswith("/transitiveMemberOf")]
    expanded = [each for each in asked(azure) if "assignedto" in each.query.get("$filter", "").lower()]
    assert len(memberships) == len(set(memberships))
    assert (len(memberships), len(expanded)) == ((8, 0) if readable else (1, 8))
    assert {v.state for b in bindings for v in judged([b], facts[b.target.uri.host])} == {State.HELD}


async def test_many_deleted_vaults_are_looked_up_in_one_list(azure: LocalAzure) -> None:
    """Vaults that are gone cost one read each and share the list of soft-deleted ones."""
    serve(azure, estate(4, 0))
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        for binding in bindings:
            azure.change({"delete": str(binding.target.store_id)})
        azure.clear_requests()
        known = Known(answered=frozenset(binding.target.uri.host for binding in bindings))
        facts = await both.at_once(bindings, known)
    lists = [each for each in asked(azure) if each.path.endswith("/deletedVaults")]
    assert len(lists) == 2 * pages(4)
    assert {v.codes for b in bindings for v in judged([b], facts[b.target.uri.host])} == {frozenset({"key-store-not-found"})}


# --- time and turns -------------------------------------------------------------------------------------------------------


async def test_read_at_is_the_start_of_the_oldest_read(azure: LocalAzure) -> None:
    """Facts are as old as the lists that they rest on, however late the keys' own turn comes."""
    serve(azure, estate(300, 0))
    clock = ManualClock()
    began = clock.now()
    async with both_ways(clock) as both:
        bindings = await bindings_in(both, azure)
        facts = await both.at_once(bindings, Known())
    # 300 keys of each subscription outlast the burst of 250, so that the clock has moved
    assert clock.now() > began
    assert {each.read_at for each in facts.values()} == {began}


async def test_a_short_budget_reads_the_oldest_keys(azure: LocalAzure) -> None:
    """With a budget for each subscription the keys read longest ago are read; the others, and their facts, stay as they are."""
    serve(azure, estate(2, 0))
    old, older = datetime(2025, 12, 31, 12, tzinfo=UTC), datetime(2025, 12, 31, 11, tzinfo=UTC)
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        uris = [binding.target.uri for binding in bindings]
        ages = dict(zip(uris, (older, old, older, old), strict=True))
        earlier = {uri: Earlier(read_at=at, read=KeyObject(uri=uri, enabled=False)) for uri, at in ages.items()}
        facts = await both.at_once(bindings, Known(), Spread.of(bindings, earlier, 1))
    read = {each.path.split("/")[8] for each in asked(azure) if each.path.endswith("/keys/k1")}
    assert read == {uri.store_name for uri in uris if ages[uri] == older}
    for uri in uris:
        kept = facts[uri.host].stores[uri.host].objects[uri]
        assert isinstance(kept, KeyObject)
        assert (kept.enabled, facts[uri.host].read_at == old) == ((True, False) if ages[uri] == older else (False, True))


async def test_a_key_never_read_waits_for_a_later_sweep(azure: LocalAzure) -> None:
    """A key store with a key that is neither read now nor known is left out, not told unknown."""
    serve(azure, estate(2, 0))
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        facts = await both.at_once(bindings, Known(), Spread.of(bindings, {}, 1))
    assert len(facts) == 2


async def test_a_reader_that_stops_early_leaves_nothing_running(azure: LocalAzure) -> None:
    """Closing the iterator ends what is still being read."""
    serve(azure, estate(40, 0))
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        azure.fault({"match": "GET */denyAssignments", "status": 503, "times": 1})
        running = asyncio.all_tasks()
        async with aclosing(both.bulk.collect_all(bindings, Known())) as found:
            host, _ = await anext(found)
        assert asyncio.all_tasks() == running
        assert host.endswith(".vault.azure.net")
    assert sum(each.path.endswith("/keys/k1") for each in asked(azure)) < 80


async def test_a_mistake_in_a_reader_is_raised_and_nothing_hangs(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no failed read is no fact either: whoever runs the sweep gets the error."""
    serve(azure, estate(2, 0))
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)

        async def mistaken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(both.bulk._lists, "deny_assignments", mistaken)
        with pytest.raises(ExceptionGroup) as raised:
            await both.at_once(bindings, Known())
    assert raised.group_contains(ZeroDivisionError)


async def test_progress_counts_every_key_store(azure: LocalAzure) -> None:
    """Progress ends with as many key stores as there are."""
    serve(azure, estate(2, 0))
    told_: list[tuple[str, int, int]] = []
    async with both_ways() as both:
        bindings = await bindings_in(both, azure)
        async with aclosing(both.bulk.collect_all(bindings, Known(), progress=lambda *each: told_.append(each))) as found:
            assert len([each async for each in found]) == 4
    assert [(done, total) for _, done, total in told_] == [(n, 4) for n in range(1, 5)]


async def test_managed_hsms_beside_vaults(azure: LocalAzure) -> None:
    """A Managed HSM is read at its own host, and costs its subscription one list."""
    document = healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.MANAGED_HSM)
    vault = key_vault("kv1", rbac=False, policies=[access_policy(IDENTITY_OBJECT_ID, keys=ALL_KEYS)])
    document["resources"] += [managed_hsm("hsm2"), vault, key(), backup_vault("bv2", K1)]
    verdicts = await agree(azure, document)
    assert [each.state for each in verdicts] == [State.HELD, State.HELD]
