"""What collecting facts costs: how many reads, in how many rounds, and that nothing is read that could not matter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.collect import Collector, Known, Readers
from keydrift.facts import (
    Absent,
    DeletedKeyStore,
    DenyAssignment,
    Facts,
    HsmRoleAssignment,
    KeyObject,
    KeyStore,
    KeyVault,
    PermissionBlock,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    Unread,
)
from keydrift.inventory import discover
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, Consumer, KeyBinding, PermissionModel, Scenario, State, StoreObject
from keydrift.resource_id import ResourceId
from keydrift.watchlist import binding_id
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, reading, serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_USER,
    HEALTHY,
    IDENTITY_OBJECT_ID,
    OLDER_VERSION,
    SECRETS_OFFICER,
    SUBSCRIPTION,
    VERSION,
    Document,
    access_policy,
    deny_assignment,
    guid,
    healthy,
    key,
    key_vault,
    role_assignment,
    secret,
    tenant,
    vault_id,
)

KNOWN = Known(object_ids={BACKUP_APP_ID: BACKUP_OBJECT_ID})
K1 = "https://kv1.vault.azure.net/keys/k1"


async def bindings_of(azure: LocalAzure, document: Document) -> tuple[KeyBinding, ...]:
    """Every key binding of a tenant, which stays loaded; what that took to find out is forgotten."""
    serve(azure, document)
    async with reading() as composed:
        found = discover(await composed.consumers.read([SUBSCRIPTION]), BACKUP_APP_ID)
    azure.clear_requests()
    return found


async def collect(bindings: Sequence[KeyBinding], known: Known = KNOWN) -> Facts:
    async with reading() as composed:
        return await composed.collector.collect(bindings, known)


def reads(azure: LocalAzure) -> list[str]:
    """What was asked for, each list once however many pages it has."""
    return [each.path for each in asked(azure) if "$skiptoken" not in {name.lower() for name in each.query}]


def counted(azure: LocalAzure, ending: str) -> int:
    return sum(path.lower().endswith(ending.lower()) for path in reads(azure))


def backup_key(name: str = "k1", *, vault: str = "kv1", secrets: Sequence[StoreObject] = ()) -> KeyBinding:
    """A `cvm-cmk` (or, with secrets, `ade-kek`) binding of the Backup Management Service."""
    identity, scenario = AppIdentity(app_id=BACKUP_APP_ID), Scenario.ADE_KEK if secrets else Scenario.CVM_CMK
    uri = KeyUri.parse(f"https://{vault}.vault.azure.net/keys/{name}")
    return KeyBinding(
        id=binding_id(scenario, identity, uri),
        scenario=scenario,
        identity=identity,
        target=StoreObject(uri=uri, store_id=ResourceId.parse(vault_id(vault))),
        secrets=tuple(secrets),
    )


# --- the budget -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_one_binding_costs_at_most_nine_reads(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """One key store with one key binding whose principal is known costs at most nine reads, and none is made twice."""
    (binding,) = [each for each in await bindings_of(azure, healthy(scenario, model)) if each.scenario is scenario]
    facts = await collect([binding])
    assert len(reads(azure)) <= 9
    assert len(set(reads(azure))) == len(reads(azure))
    assert decide(binding, facts, Horizon(now=ManualClock().now())).state is State.HELD


async def test_each_further_role_definition_costs_one_read(azure: LocalAzure) -> None:
    """A role definition is read once however many assignments name it, and another one costs one read more."""
    (binding,) = await bindings_of(azure, healthy(Scenario.ADE_BEK, PermissionModel.RBAC))
    counts = []
    for roles in ([CRYPTO_USER], [CRYPTO_USER, CRYPTO_USER], [CRYPTO_USER, SECRETS_OFFICER]):
        document = healthy(Scenario.ADE_BEK, PermissionModel.RBAC)
        document["roleAssignments"] = [role_assignment(n, vault_id(), role, BACKUP_OBJECT_ID) for n, role in enumerate(roles)]
        serve(azure, document)
        await collect([binding])
        counts.append(len(reads(azure)))
    assert counts == [counts[0], counts[0], counts[0] + 1]


async def test_each_further_key_and_identity_costs_one_read(azure: LocalAzure) -> None:
    """A second key in the same vault costs one read more, a second principal its assignments and their schedule instances."""
    policies = [access_policy(BACKUP_OBJECT_ID), access_policy(IDENTITY_OBJECT_ID)]
    document = tenant(key_vault(rbac=False, policies=policies), key("k1"), key("k2"))
    serve(azure, document)
    await collect([backup_key("k1")])
    one = len(reads(azure))
    azure.clear_requests()
    await collect([backup_key("k1"), backup_key("k2")])
    assert len(reads(azure)) == one + 1
    azure.clear_requests()
    other = replace(backup_key("k1"), id="other", identity=AppIdentity(app_id=guid(9)))
    await collect([backup_key("k1"), other], replace(KNOWN, declared={guid(9): Principal(object_id=IDENTITY_OBJECT_ID)}))
    assert len(reads(azure)) == one + 2


async def test_fifty_bindings_share_one_vault_read(azure: LocalAzure) -> None:
    """Fifty keys of one vault and one principal cost fifty key reads, and every other read once."""
    names = [f"k{number}" for number in range(50)]
    serve(azure, tenant(key_vault(rbac=False, policies=[access_policy(BACKUP_OBJECT_ID)]), *(key(name) for name in names)))
    bindings = [backup_key(name) for name in names]
    facts = await collect(bindings)
    assert (counted(azure, "/vaults/kv1"), len(reads(azure))) == (1, 50 + 5)
    assert {decide(each, facts, Horizon(now=ManualClock().now())).state for each in bindings} == {State.HELD}


async def test_a_key_and_its_secret_in_two_stores(azure: LocalAzure) -> None:
    """`ade-kek` over two key stores reads each store, and each object, once."""
    policies = [access_policy(BACKUP_OBJECT_ID)]
    document = tenant(
        key_vault("kv1", rbac=False, policies=policies),
        key_vault("kv2", rbac=False, policies=policies),
        key("k1"),
        secret("s1", vault="kv2"),
    )
    serve(azure, document)
    there = StoreObject(
        uri=KeyUri.parse(f"https://kv2.vault.azure.net/secrets/s1/{VERSION}"), store_id=ResourceId.parse(vault_id("kv2"))
    )
    binding = backup_key("k1", secrets=[there])
    facts = await collect([binding])
    assert set(facts.stores) == {"kv1.vault.azure.net", "kv2.vault.azure.net"}
    assert all(isinstance(each.store, KeyVault) for each in facts.stores.values())
    assert [counted(azure, end) for end in ("/vaults/kv1", "/vaults/kv2", "/keys/k1", "/secrets/s1")] == [1, 1, 1, 1]
    assert counted(azure, f"servicePrincipals(appId='{BACKUP_APP_ID}')") == 1
    assert decide(binding, facts, Horizon(now=ManualClock().now())).state is State.HELD


async def test_an_unknown_key_store_is_not_asked_for(azure: LocalAzure) -> None:
    """A key in no subscription that can be seen costs no request to ARM, and is unread by name."""
    serve(azure, tenant())
    binding = replace(backup_key(), target=StoreObject(uri=KeyUri.parse(K1)))
    facts = await collect([binding])
    assert {each.host for each in asked(azure)} == {"graph.microsoft.com"}
    store = facts.stores["kv1.vault.azure.net"]
    assert isinstance(store.store, Unread)
    unread = store.objects[KeyUri.parse(K1)]
    assert isinstance(unread, Unread)
    assert (store.store.code, unread.code) == ("KeyStoreNotSeen", "KeyStoreNotSeen")
    assert decide(binding, facts, Horizon(now=ManualClock().now())).state is State.UNKNOWN


@pytest.mark.parametrize("placed_first", [True, False])
async def test_a_store_that_one_binding_places_serves_the_others(azure: LocalAzure, placed_first: bool) -> None:
    """Where one binding knows the key store's id, the keys of all are read there."""
    serve(azure, tenant(key_vault(rbac=False, policies=[access_policy(BACKUP_OBJECT_ID)]), key()))
    placed = backup_key()
    bindings = [placed, replace(placed, id="unplaced", target=StoreObject(uri=placed.target.uri))]
    facts = await collect(bindings if placed_first else bindings[::-1])
    assert isinstance(facts.stores["kv1.vault.azure.net"].objects[KeyUri.parse(K1)], KeyObject)
    assert counted(azure, "/keys/k1") == 1


# --- what is read only where it could matter ------------------------------------------------------------------------------


async def test_a_missing_vault_is_looked_up_among_the_deleted_ones(azure: LocalAzure) -> None:
    """A vault that answers 404 is looked for among the soft-deleted ones, and only then."""
    serve(azure, tenant(key_vault(rbac=True), key()))
    await collect([backup_key()])
    assert counted(azure, "/deletedVaults") == 0
    azure.change({"delete": vault_id()})
    azure.clear_requests()
    facts = (await collect([backup_key()], replace(KNOWN, answered=frozenset({"kv1.vault.azure.net"})))).stores[
        "kv1.vault.azure.net"
    ]
    assert counted(azure, "/deletedVaults") == 1
    assert isinstance(facts.store, Absent)
    assert isinstance(facts.deleted, DeletedKeyStore)
    assert (facts.deleted.id, facts.watched_before) == (ResourceId.parse(vault_id()), True)


async def test_an_unreadable_vault_is_not_looked_up_among_the_deleted_ones(azure: LocalAzure) -> None:
    """A vault that was refused is not gone."""
    serve(azure, tenant(key_vault(rbac=True), key()))
    azure.fault({"match": "GET */vaults/kv1", "status": 403})
    facts = await collect([backup_key()])
    assert (counted(azure, "/deletedVaults"), facts.stores["kv1.vault.azure.net"].deleted) == (0, None)


@pytest.mark.parametrize(("pinned", "expected"), [((VERSION,), 0), ((OLDER_VERSION,), 1), ((OLDER_VERSION, VERSION), 1), ((), 0)])
async def test_a_pinned_version_is_read_only_when_it_is_another(
    azure: LocalAzure, pinned: tuple[str, ...], expected: int
) -> None:
    """The current version needs no read of its own, an older one that a consumer pins does, once."""
    older = {"id": f"{vault_id()}/keys/k1/versions/{OLDER_VERSION}", "properties": {"attributes": {"enabled": False}}}
    (binding,) = await bindings_of(azure, healthy(Scenario.RSV_CMK, PermissionModel.ACCESS_POLICY))
    document = healthy(Scenario.RSV_CMK, PermissionModel.ACCESS_POLICY)
    document["resources"].append(older)
    serve(azure, document)
    consumer = replace(binding.consumers[0], key_versions=pinned)
    binding = replace(binding, consumers=(consumer, replace(consumer, id=ResourceId.parse(vault_id("another")))))
    facts = await collect([binding])
    assert sum("/versions/" in path for path in reads(azure)) == expected
    state = decide(binding, facts, Horizon(now=ManualClock().now())).state
    assert state is (State.LOST if expected else State.HELD)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([access_policy(BACKUP_OBJECT_ID), access_policy(guid(50))], 0),
        ([access_policy(guid(50))], 1),
        ([access_policy(guid(50), keys=["sign"])], 0),
        ([access_policy(BACKUP_OBJECT_ID, keys=["get"]), access_policy(guid(50))], 1),
        ([], 0),
    ],
)
async def test_memberships_for_access_policies(azure: LocalAzure, policies: list[Document], expected: int) -> None:
    """Groups are read only where somebody else's entry would give what the principal's own do not."""
    serve(azure, tenant(key_vault(rbac=False, policies=policies), key()))
    await collect([backup_key()])
    assert counted(azure, "/transitiveMemberOf") == expected


@pytest.mark.parametrize(
    ("actions", "named", "expected"),
    [
        (["*"], {"id": guid(50), "type": "Group"}, 1),
        (["*"], {"id": guid(50), "type": "User"}, 0),
        (["*"], {"id": BACKUP_OBJECT_ID, "type": "ServicePrincipal"}, 0),
        (["Microsoft.KeyVault/vaults/certificates/*"], {"id": guid(50), "type": "Group"}, 0),
    ],
)
async def test_memberships_for_denies(azure: LocalAzure, actions: list[str], named: Document, expected: int) -> None:
    """Under RBAC groups are read only where a deny that covers a needed permission names one: Azure expands the grants."""
    deny = deny_assignment(1, vault_id(), actions, [named])
    grants = [
        role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID),
        role_assignment(2, vault_id(), CRYPTO_USER, guid(50)),
    ]
    serve(azure, tenant(key_vault(rbac=True), key(), denyAssignments=[deny], roleAssignments=grants))
    await collect([backup_key()])
    assert counted(azure, "/transitiveMemberOf") == expected


async def test_a_declared_principal_is_not_looked_up(azure: LocalAzure) -> None:
    """Where settings name the object id, the directory is not asked."""
    serve(azure, tenant(key_vault(rbac=True), key()))
    declared = Principal(object_id=BACKUP_OBJECT_ID, app_id=BACKUP_APP_ID)
    facts = await collect([backup_key()], Known(declared={BACKUP_APP_ID: declared}))
    assert {each.host for each in asked(azure)} == {"management.azure.com"}
    assert facts.principals == {BACKUP_APP_ID: declared}
    assert set(facts.stores["kv1.vault.azure.net"].assignments) == {BACKUP_OBJECT_ID}


async def test_a_changed_object_id_gets_its_own_assignments(azure: LocalAzure) -> None:
    """An application whose object id is no longer the known one is judged by the assignments of the new one."""
    grants = [role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID)]
    serve(azure, tenant(key_vault(rbac=True), key(), roleAssignments=grants))
    binding = backup_key()
    facts = await collect([binding], Known(object_ids={BACKUP_APP_ID: guid(60)}))
    assignments = facts.stores["kv1.vault.azure.net"].assignments
    assert {object_id: len(read) for object_id, read in assignments.items() if isinstance(read, tuple)} == {
        guid(60): 0,
        BACKUP_OBJECT_ID: 1,
    }
    assert decide(binding, facts, Horizon(now=ManualClock().now())).state is State.HELD


# --- rounds ---------------------------------------------------------------------------------------------------------------


class Rounds:
    """Readers over fixed answers that note in which sequential round each read was asked: after which others it began.

    Each read also takes a second of `clock`, so that the order of times shows.
    """

    def __init__(self, clock: ManualClock, *, group_deny: bool = False, store: Read[KeyStore] | None = None) -> None:
        self.asked: list[tuple[int, str]] = []
        self._clock, self._ended = clock, 0
        vault = KeyVault(id=ResourceId.parse(vault_id()), location="", tenant_id="t", rbac=True)
        self._store: Read[KeyStore] = store or vault
        self._group_deny = group_deny

    @property
    def rounds(self) -> int:
        return max(number for number, _ in self.asked)

    def of(self, what: str) -> list[int]:
        return [number for number, name in self.asked if name == what]

    async def _read[T](self, what: str, value: T) -> T:
        number = self._ended + 1
        self.asked.append((number, what))
        for _ in range(3):
            await asyncio.sleep(0)
        self._clock.advance(1)
        self._ended = max(self._ended, number)
        return value

    async def key_store(self, store_id: ResourceId) -> Read[KeyStore]:
        return await self._read("store", self._store)

    async def deleted_key_store(self, store_id: ResourceId) -> Read[DeletedKeyStore]:
        return await self._read("deleted", Absent(what=str(store_id)))

    async def key_object(self, target: StoreObject) -> Read[KeyObject]:
        if target.uri.version:
            return await self._read("version", KeyObject(uri=target.uri))
        return await self._read("key", KeyObject(uri=KeyUri.parse(f"{K1}/{VERSION}")))

    async def key_versions(self, target: StoreObject) -> Read[int]:
        return await self._read("count", 501)

    async def role_assignments(self, store_id: ResourceId, principal_id: str) -> Read[tuple[RoleAssignment, ...]]:
        grant = RoleAssignment(
            id=ResourceId.parse("/a"), scope=store_id, role_definition_id=CRYPTO_USER, principal_id=principal_id
        )
        return await self._read("assignments", (grant,))

    async def schedule_instances(self, store_id: ResourceId, principal_id: str) -> Read[tuple[ScheduleInstance, ...]]:
        return await self._read("instances", ())

    async def role_definition(self, store_id: ResourceId, definition: str) -> Read[RoleDefinition]:
        return await self._read("definition", RoleDefinition(id=definition, name="role"))

    async def deny_assignments(self, store_id: ResourceId) -> Read[tuple[DenyAssignment, ...]]:
        deny = DenyAssignment(
            id=ResourceId.parse("/d"),
            name="deny",
            scope=store_id,
            permissions=(PermissionBlock(data_actions=("*",)),),
            principals=frozenset(),
            group_principals=frozenset({guid(50)}),
        )
        return await self._read("denies", (deny,) if self._group_deny else ())

    async def service_principal(self, app_id: str) -> Read[Principal]:
        return await self._read("principal", Principal(object_id=BACKUP_OBJECT_ID, app_id=app_id))

    async def groups(self, object_id: str) -> Read[frozenset[str]]:
        return await self._read("groups", frozenset[str]())

    async def user_assigned_identity(self, identity_id: ResourceId) -> Read[Principal]:
        return await self._read("identity", Principal(object_id=IDENTITY_OBJECT_ID))


class NoHsm:
    """No Managed HSM may be asked for here."""

    async def key(self, uri: KeyUri) -> Read[KeyObject]:
        raise AssertionError(uri)

    async def key_versions(self, uri: KeyUri) -> Read[int]:
        raise AssertionError(uri)

    async def role_assignments(self, host: str, scope: str) -> Read[tuple[HsmRoleAssignment, ...]]:
        raise AssertionError(host)

    async def role_definitions(self, host: str) -> Read[tuple[RoleDefinition, ...]]:
        raise AssertionError(host)


async def collected(fake: Rounds, clock: ManualClock, known: Known, binding: KeyBinding | None = None) -> Facts:
    readers = Readers(key_stores=fake, grants=fake, managed_hsms=NoHsm(), directory=fake)
    return await Collector(readers, clock).collect([binding or backup_key()], known)


async def test_two_rounds_when_the_object_ids_are_known() -> None:
    """Everything whose address is known is read at once, and what those answers name in one more round."""
    clock = ManualClock()
    fake = Rounds(clock, group_deny=True)
    await collected(fake, clock, KNOWN, pinning(OLDER_VERSION))
    assert fake.rounds == 2
    assert {name for number, name in fake.asked if number == 1} == {
        "principal",
        "store",
        "key",
        "assignments",
        "instances",
        "denies",
    }
    assert {name for number, name in fake.asked if number == 2} == {"definition", "groups", "version"}


def pinning(version: str) -> KeyBinding:
    return replace(backup_key(), consumers=(Consumer(id=ResourceId.parse(vault_id("c")), key_versions=(version,)),))


async def test_one_more_round_when_an_object_id_is_unknown() -> None:
    """An application seen for the first time needs a third round for its role definitions, and nothing is read twice."""
    clock = ManualClock()
    fake = Rounds(clock, group_deny=True)
    facts = await collected(fake, clock, Known(), pinning(OLDER_VERSION))
    assert fake.rounds == 3
    assert {name: fake.of(name) for _, name in fake.asked} == {
        "principal": [1],
        "store": [1],
        "key": [1],
        "denies": [1],
        "assignments": [2],
        "instances": [2],
        "groups": [2],
        "version": [2],
        "definition": [3],
    }
    assert set(facts.stores["kv1.vault.azure.net"].definitions) == {CRYPTO_USER}


async def test_a_role_of_the_old_and_the_new_object_id_is_read_once() -> None:
    """A role definition that was read for the object id known before is not read again for the one that took its place."""
    clock = ManualClock()
    fake = Rounds(clock)
    await collected(fake, clock, Known(object_ids={BACKUP_APP_ID: guid(60)}))
    assert (fake.of("assignments"), fake.of("definition")) == ([1, 2], [2])


async def test_a_missing_store_costs_no_third_round() -> None:
    """The soft-deleted store is looked for in the second round."""
    clock = ManualClock()
    fake = Rounds(clock, store=Absent(what="kv1"))
    await collected(fake, clock, KNOWN)
    assert (fake.rounds, fake.of("deleted")) == (2, [2])


async def test_read_at_is_the_start_of_the_oldest_read() -> None:
    """The facts are as old as the moment before the first of their reads began, however long the others took."""
    clock = ManualClock()
    start = clock.now()
    facts = await collected(Rounds(clock), clock, KNOWN)
    assert facts.read_at == start
    assert clock.now() - start > timedelta(seconds=5)
