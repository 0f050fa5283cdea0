"""The straight path between fakes: what an event asks for, what the inventory may add and may not take away."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest

from keydrift import __version__
from keydrift.discovery import visible
from keydrift.drift import Via
from keydrift.facts import Absent, Unread
from keydrift.inventory import AdeSetting, EncryptedVault, Inventory, ProtectedVm, discover
from keydrift.key_uri import KeyUri
from keydrift.model import KeyBinding, ProtectedItem, Scenario
from keydrift.monitor import ACTOR_GRACE, UNDECODABLE_INTERVAL
from keydrift.recheck import Recheck
from keydrift.watchlist_change import proven_gone
from support.builders import (
    BACKUP_VAULT,
    RBAC,
    RECOVERY_VAULT,
    SUB,
    VAULT,
    VAULT_HOST,
    VM,
    binding,
    granting,
    owner_identity,
    rid,
    secret_at,
    unread,
)
from support.events import key_vault_event, resource_event
from support.world import FakeConsumers, World

APP = "262044b1-e2ce-469f-a196-69ab7ada62d3"
BINDING = binding(Scenario.BACKUP_VAULT_CMK)
ACTIONS = [f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action")]
HELD = granting(BINDING, RBAC, ACTIONS)
SUBSCRIPTION = SUB.rpartition("/")[2]


def _inventory(*vaults: str, key: str = "https://kv1.vault.azure.net/keys/k1", missing: tuple[Unread, ...] = ()) -> Inventory:
    found = tuple(
        EncryptedVault(
            id=rid(each),
            scenario=Scenario.BACKUP_VAULT_CMK,
            location="westeurope",
            key=KeyUri.parse(key),
            identity=owner_identity(each),
        )
        for each in vaults
    )
    stores = {"kv1.vault.azure.net": rid(VAULT), "kv2.vault.azure.net": rid(f"{VAULT}2")}
    return Inventory(stores=stores, vaults=found, unread=missing)


def _found(*vaults: str) -> tuple[KeyBinding, ...]:
    return discover(_inventory(*vaults), APP)


async def _world(*vaults: str) -> World:
    world = World(HELD, _inventory(*vaults))
    await world.state.watch(_found(*vaults))
    return world


def _machines(*names: str, missing: tuple[Unread, ...] = ()) -> Inventory:
    """Protected machines that share a disk encryption secret."""
    vms = tuple(
        ProtectedVm(
            id=rid(VM.replace("vm1", name)),
            location="westeurope",
            item=ProtectedItem(id=rid(f"{RECOVERY_VAULT}/protectedItems/{name}")),
            ade=(AdeSetting(secret=secret_at()),),
        )
        for name in names
    )
    return Inventory(stores={VAULT_HOST: rid(VAULT)}, vms=vms, unread=missing)


def _delay(world: World) -> float:
    """How long the queue hides its earliest message."""
    (each,) = world.queue._kept.values()
    return (each.due - each.inserted_at).total_seconds()


# --- events --------------------------------------------------------------------------------------------------------------


async def test_an_event_becomes_one_recheck_for_each_key_store() -> None:
    """A notice is kept with the key stores that it concerns, and each is asked for once."""
    world = await _world(BACKUP_VAULT)
    await world.monitor.receive(json.dumps(resource_event("Microsoft.KeyVault/vaults/write", VAULT)))
    (asked,) = world.asked
    assert (asked["host"], asked["via"], asked["consumers"]) == (VAULT_HOST, "event", False)
    assert datetime.fromisoformat(asked["noticedAt"]) == world.clock.now()
    assert len(await world.state.heard(VAULT_HOST, world.clock.now())) == 1


@pytest.mark.parametrize(
    ("event", "delay"),
    [
        pytest.param(resource_event("Microsoft.KeyVault/vaults/write", VAULT), 0.0, id="an event with claims"),
        pytest.param(resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims={"aud": "x"}), 0.0, id="claims of nobody"),
        pytest.param(resource_event("Microsoft.KeyVault/vaults/write", VAULT, claims={}), 15.0, id="no claims"),
        pytest.param(key_vault_event("VaultAccessPolicyChanged", topic=VAULT), 15.0, id="Key Vault's own"),
    ],
)
async def test_an_event_that_names_nobody_waits(event: dict[str, object], delay: float) -> None:
    """Only a notice without any claims waits 15 seconds for the one that has them."""
    world = await _world(BACKUP_VAULT)
    await world.monitor.receive(json.dumps(event))
    assert _delay(world) == delay
    assert timedelta(seconds=15) == ACTOR_GRACE


async def test_an_event_about_a_consumer_reads_the_inventory() -> None:
    """A change of a consumer reads the inventory again before its key store is looked at, and only once for a burst."""
    world = await _world(BACKUP_VAULT)
    event = json.dumps(resource_event("Microsoft.DataProtection/backupVaults/write", BACKUP_VAULT))
    for _ in range(3):
        await world.monitor.receive(event)
    bodies = list(world.queue.bodies)
    assert [each["consumers"] for each in world.asked] == [True, True, True]
    world.clock.advance(1)
    await asyncio.gather(*(world.monitor.recheck(body) for body in bodies))
    assert world.consumers.reads == 1
    assert len(world.collector.reads) == 1


@pytest.mark.parametrize("crashed", [False, True], ids=["at once", "again after a crash"])
async def test_facts_read_before_the_consumers_were_listed_do_not_answer_an_event_about_them(crashed: bool) -> None:
    """While an event's consumers are listed another recheck judges the key store for the consumers as they were: the event's own
    recheck reads it again, also where the worker that listed them was gone before it could."""
    world = await _world(BACKUP_VAULT)
    await world.monitor.receive(json.dumps(resource_event("Microsoft.DataProtection/backupVaults/write", BACKUP_VAULT)))
    (body,) = world.queue.bodies
    noticed = world.clock.now()
    world.clock.advance(1)

    async def another_recheck() -> None:
        await world.reconciler.reconcile(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.SWEEP))
        world.clock.advance(1)

    world.consumers.meanwhile = another_recheck
    if crashed:
        await world.monitor._discovery.refresh([SUBSCRIPTION], noticed)
        world.clock.advance(1)
    await world.monitor.recheck(body)
    assert (world.consumers.reads, len(world.collector.reads)) == (1, 2)
    await world.monitor.recheck(body)
    assert (world.consumers.reads, len(world.collector.reads)) == (1, 2)


def _beside(world: World, inventory: Inventory) -> World:
    """Another worker, to which ARM shows this."""
    other = world.beside()
    other.consumers = FakeConsumers(inventory)
    other._make()
    return other


async def test_an_older_list_of_consumers_does_not_overwrite_a_newer_one() -> None:
    """While a worker lists a vault as gone, another lists it as back, and is done first: it stays."""
    world = await _world(BACKUP_VAULT)
    other, noticed = _beside(world, _inventory(BACKUP_VAULT)), world.clock.now()
    world.consumers.inventory = _inventory()

    async def the_other_lists() -> None:
        world.clock.advance(1)
        await other.monitor._discovery.refresh([SUBSCRIPTION], world.clock.now())

    world.consumers.meanwhile = the_other_lists
    await world.monitor._discovery.refresh([SUBSCRIPTION], noticed)
    assert set((await world.state.watchlist()).bindings) == {each.id for each in _found(BACKUP_VAULT)}
    assert (world.consumers.reads, other.consumers.reads) == (1, 1)


async def test_an_older_list_that_is_kept_meanwhile_does_not_stay() -> None:
    """While a worker lists a vault as back, an older list by which it is gone is kept: it comes back all the same."""
    world = await _world(BACKUP_VAULT)
    (known,) = _found(BACKUP_VAULT)

    async def the_older_list_is_kept() -> None:
        await world.beside().state.watch([], [known.id])

    world.consumers.meanwhile = the_older_list_is_kept
    await world.monitor._discovery.refresh([SUBSCRIPTION], world.clock.now())
    assert set((await world.state.watchlist()).bindings) == {known.id}


async def test_a_sweep_asks_for_what_an_event_had_listed_meanwhile() -> None:
    """A sweep's list may be older than an event's that was kept while it was read: that subscription is listed once more."""
    world = await _world(BACKUP_VAULT)
    other = _beside(world, _inventory(BACKUP_VAULT))

    async def an_event_has_it_listed() -> None:
        world.clock.advance(1)
        await other.monitor._discovery.refresh([SUBSCRIPTION], world.clock.now())
        world.clock.advance(1)

    world.consumers.meanwhile = an_event_has_it_listed
    await world.monitor.sweep()
    asked = [each for each in world.asked if each["consumers"]]
    assert [(each["host"], each["subscriptions"]) for each in asked] == [("", [SUBSCRIPTION])]
    world.consumers.meanwhile = None
    world.clock.advance(1)
    await world.monitor.recheck(world.queue.bodies[0])
    assert world.consumers.reads == 2


async def test_consumers_settle_too() -> None:
    """ARM may still show a consumer whose deletion an event has told: its subscription is listed once more after two minutes."""
    world = await _world(BACKUP_VAULT)
    event = json.dumps(resource_event("Microsoft.DataProtection/backupVaults/delete", BACKUP_VAULT))
    for _ in range(2):
        await world.monitor.receive(event)
    world.clock.advance(1)
    for message in await world.queue.receive(2, 60):
        await world.monitor.recheck(message.body)
        await world.queue.delete(message)
    again = [each for each in world.asked if each["consumers"]]
    assert [(each["host"], each["via"], each["subscriptions"]) for each in again] == [("", "settle", [SUBSCRIPTION])]
    world.consumers.inventory = _inventory()
    world.clock.advance(120)
    for message in await world.queue.receive(2, 60):
        await world.monitor.recheck(message.body)
        await world.queue.delete(message)
    assert (await world.state.watchlist()).bindings == {}
    assert [each for each in world.asked if each["consumers"]] == []


async def test_a_consumer_that_needs_another_key_store_now_asks_for_that_too() -> None:
    """Where a consumer points at a key of another key store, that one is looked at at once, not at the next sweep."""
    world = await _world(BACKUP_VAULT)
    world.consumers.inventory = _inventory(BACKUP_VAULT, key="https://kv2.vault.azure.net/keys/k1")
    world.clock.advance(1)
    recheck = Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT, consumers=True)
    await world.monitor.recheck(recheck.body())
    assert [(each["host"], each["via"], each["consumers"]) for each in world.asked] == [("kv2.vault.azure.net", "event", False)]


async def test_facts_read_for_what_a_consumer_was_before_do_not_answer_its_event() -> None:
    """Where another event's recheck reads the key store before the inventory shows a change, the key store is read once more."""
    world = await _world(BACKUP_VAULT)
    event = Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT, consumers=True)
    world.clock.advance(1)
    await world.monitor.recheck(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT).body())
    world.consumers.inventory = _inventory(BACKUP_VAULT, f"{BACKUP_VAULT}2")
    world.clock.advance(1)
    await world.monitor.recheck(event.body())
    assert len(world.collector.reads) == 2


async def test_what_a_consumer_has_become_is_not_held_back() -> None:
    """In a flood a key store that was read in vain waits, unless its key bindings have changed."""
    world = await _world(BACKUP_VAULT)

    async def event() -> None:
        recheck = Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT, consumers=True, crowd=10)
        world.clock.advance(1)
        await world.monitor.recheck(recheck.body())

    for _ in range(4):
        await event()
    assert len(world.collector.reads) == 2
    world.consumers.inventory = _inventory(BACKUP_VAULT, f"{BACKUP_VAULT}2")
    await event()
    assert len(world.collector.reads) == 3


async def test_rechecks_of_one_key_store_take_turns() -> None:
    """Of rechecks that arrive together the first reads the key store, and the others find themselves answered."""
    world = await _world(BACKUP_VAULT)
    message = Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT).body()
    world.clock.advance(1)

    async def slowly() -> None:
        await asyncio.sleep(0)

    world.collector.meanwhile = slowly
    await asyncio.gather(*(world.monitor.recheck(message) for _ in range(16)))
    assert len(world.collector.reads) == 1


@pytest.mark.parametrize(
    "hints", [[None] * 5, [VAULT] * 5, [f"{VAULT}/keys/k{n}" for n in range(5)]], ids=["none", "same", "many"]
)
async def test_unreadable_events_ask_once_an_interval(hints: list[str | None]) -> None:
    """Whatever unreadable events name, a key store is asked for once an interval, and each of them is kept."""
    world = await _world(BACKUP_VAULT)
    for number, hint in enumerate(hints):
        await world.monitor.receive(json.dumps({"id": f"e{number}", "eventType": None, **({"topic": hint} if hint else {})}))
    assert [(each["host"], each["via"]) for each in world.asked] == [(VAULT_HOST, "sweep")]
    assert len(await world.state.dead_letters()) == len(hints)
    world.clock.advance(UNDECODABLE_INTERVAL.total_seconds())
    await world.monitor.receive("garbage")
    assert len(world.asked) == 2


async def test_an_unreadable_event_about_something_else_asks_for_nothing() -> None:
    """An unreadable event whose hint concerns nothing watched is kept, and nothing is looked at."""
    world = await _world(BACKUP_VAULT)
    await world.monitor.receive(json.dumps({"id": "e1", "eventType": None, "topic": f"{VAULT}0"}))
    assert world.asked == []
    assert len(await world.state.dead_letters()) == 1


@pytest.mark.parametrize(
    ("subscription", "asked"),
    [
        (SUBSCRIPTION, 1),
        (SUBSCRIPTION.replace("1", "2"), 1),
        ("s", 0),
        (f"{SUBSCRIPTION}0", 0),
        (SUBSCRIPTION.replace("-", "%"), 0),
        ("evil.example", 0),
        ("x" * 3_000, 0),
    ],
)
async def test_only_a_subscription_is_asked_about(subscription: str, asked: int) -> None:
    """An event about a consumer that nobody watches asks for the lists of its subscription, where that is one at all."""
    world = await _world(BACKUP_VAULT)
    named = BACKUP_VAULT.replace(SUBSCRIPTION, subscription).replace("bv1", "bv9")
    await world.monitor.receive(json.dumps(resource_event("Microsoft.DataProtection/backupVaults/write", named)))
    assert len(world.asked) == asked


# --- the inventory -------------------------------------------------------------------------------------------------------


async def test_a_sweep_asks_for_every_key_store() -> None:
    """A sweep takes the inventory and asks for every key store that is watched then, and tells when it began."""
    world = World(HELD, _inventory(BACKUP_VAULT))
    await world.monitor.sweep()
    assert [(each["host"], each["via"]) for each in world.asked] == [(VAULT_HOST, "sweep")]
    assert await world.state.mark("inventory") is not None


async def test_what_is_gone_is_no_longer_watched() -> None:
    """A consumer that complete lists no longer show is not watched any more."""
    world = await _world(BACKUP_VAULT)
    world.consumers.inventory = _inventory()
    await world.monitor.sweep()
    assert (await world.state.watchlist()).bindings == {}


async def test_an_incomplete_inventory_takes_nothing_away() -> None:
    """Where a list could not be read, what is not shown stays watched, and what is shown keeps its other consumers."""
    world = await _world(BACKUP_VAULT, f"{BACKUP_VAULT}2")
    before = (await world.state.watchlist()).bindings
    world.consumers.inventory = _inventory(BACKUP_VAULT, missing=(unread("backup vaults"),))
    await world.monitor.sweep()
    assert (await world.state.watchlist()).bindings == before
    posture = json.loads(json.dumps(await world.monitor.posture()))
    assert [each["source"] for each in posture["unread"]] == ["backup vaults"]


async def test_an_incomplete_inventory_adds_consumers_and_drops_none() -> None:
    """A key binding that an incomplete inventory shows with other consumers has those of both afterwards."""
    world = World(HELD)
    await world.state.watch(discover(_machines("vm1", "vm2"), APP))
    world.consumers.inventory = _machines("vm2", "vm3", missing=(unread("protected items"),))
    await world.monitor.sweep()
    (grown,) = (await world.state.watchlist()).bindings.values()
    assert [each.id.name for each in grown.consumers] == ["vm1", "vm2", "vm3"]
    world.consumers.inventory = _machines("vm3")
    await world.monitor.sweep()
    (complete,) = (await world.state.watchlist()).bindings.values()
    assert [each.id.name for each in complete.consumers] == ["vm3"]


async def test_subscriptions_that_cannot_be_listed_take_nothing_away() -> None:
    """A monitor that cannot list subscriptions, or sees none, keeps everything that it watches."""
    for seen in (unread("subscriptions"), Absent(what="subscriptions"), ()):
        world = await _world(BACKUP_VAULT)
        world.consumers.seen, world.consumers.inventory = seen, _inventory()
        await world.monitor.sweep()
        assert set((await world.state.watchlist()).bindings) == {each.id for each in _found(BACKUP_VAULT)}


async def test_what_is_added_while_the_inventory_is_read_stays() -> None:
    """A key binding that another worker adds while this one reads the inventory is not taken for gone."""
    world = await _world()
    other = world.beside()

    async def another_worker_adds() -> None:
        await other.state.watch(_found(BACKUP_VAULT))

    world.consumers.meanwhile = another_worker_adds
    await world.monitor.sweep()
    assert set((await world.state.watchlist()).bindings) == {each.id for each in _found(BACKUP_VAULT)}


def _in(subscription: str) -> str:
    return BACKUP_VAULT.replace(SUBSCRIPTION, subscription)


@pytest.mark.parametrize(
    ("vault", "subscriptions", "unreadable", "gone"),
    [
        (BACKUP_VAULT, (SUBSCRIPTION,), False, True),
        (BACKUP_VAULT, (SUBSCRIPTION,), True, False),
        (BACKUP_VAULT, (), False, False),
        (BACKUP_VAULT, ("00000000-0000-0000-0000-000000000002",), False, False),
        (_in("AAAAAAAA-0000-0000-0000-000000000001"), ("aaaaaaaa-0000-0000-0000-000000000001",), False, True),
        (_in("aaaaaaaa-0000-0000-0000-000000000001"), ("AAAAAAAA-0000-0000-0000-000000000001",), False, True),
    ],
)
def test_proof_that_a_consumer_is_gone(vault: str, subscriptions: tuple[str, ...], unreadable: bool, gone: bool) -> None:
    """Only complete lists of every subscription that held a consumer prove that it is gone."""
    (found,) = _found(vault)
    assert proven_gone(found, subscriptions, (unread(),) if unreadable else ()) is gone


async def test_the_subscriptions_asked_for_are_not_looked_up() -> None:
    """Configured subscriptions are read as they are; without any, all that can be seen; a failed look is told."""
    world = await _world()
    assert await visible(world.consumers, ("s1",)) == (("s1",), ())
    assert await visible(world.consumers, ()) == ((SUBSCRIPTION,), ())
    world.consumers.seen = Absent(what="subscriptions")
    (nothing, (missing,)) = await visible(world.consumers, ())
    assert (nothing, missing.status) == ((), 404)


# --- posture -------------------------------------------------------------------------------------------------------------


async def test_posture_shows_the_last_verdicts() -> None:
    """The posture holds each binding that was judged, with the time of its last read, and none that was not."""
    world = await _world(BACKUP_VAULT)
    empty = await world.monitor.posture()
    assert empty["bindings"] == []
    await world.monitor.recheck(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.SWEEP).body())
    first = await world.monitor.posture()
    world.clock.advance(600)
    await world.monitor.recheck(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.SWEEP).body())
    second = await world.monitor.posture()
    assert list(first) == ["schema_version", "generated_at", "source", "monitor_version", "bindings", "unread"]
    assert (first["source"], first["monitor_version"]) == ("monitor", __version__)
    (before,), (after,) = (json.loads(json.dumps(each["bindings"])) for each in (first, second))
    assert (before["verdict"], before["read_at"] < after["read_at"]) == ("held", True)


async def test_a_batch_that_cannot_be_read_is_kept_once() -> None:
    """Of a thousand unreadable events in one batch each is a dead letter with its reason, and the first has the batch."""
    world = await _world(BACKUP_VAULT)
    batch = [{"id": f"e{number % 1000}", "eventType": None, "data": "x" * 20} for number in range(1500)]
    await world.monitor.receive(json.dumps(batch))
    letters = await world.state.dead_letters()
    assert len(letters) == 1000
    assert all(each["error"] for each in letters)
    payloads = sorted((str(each["payload"]) for each in letters), key=len)
    assert payloads[-1].startswith('[{"id": "e0"')
    assert set(payloads[:-1]) == {"kept with event `e0`"}
