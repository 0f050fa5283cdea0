"""What an inventory changes in the watchlist: what is added, what is proven gone, which consumers name another key now. Pure.

INVARIANT (the watchlist only grows by hearsay): only complete lists by ARM, of every subscription that held a consumer, take a
key binding away (architecture, "hearsay").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keydrift.facts import Unread
from keydrift.inventory import Inventory
from keydrift.key_uri import KeyUri
from keydrift.model import Consumer, KeyBinding, Repointing, Scenario, StoreObject
from keydrift.resource_id import ResourceId
from keydrift.watchlist import Watchlist

type _Use = tuple[Scenario, ResourceId]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchlistChange:
    """Key bindings that are new or differ, those that nothing needs any more, and the subscriptions in which hearsay says that a
    consumer names another key: only ARM's word counts there."""

    changed: tuple[KeyBinding, ...] = ()
    gone: tuple[KeyBinding, ...] = ()
    doubted: frozenset[str] = frozenset()

    @property
    def hosts(self) -> frozenset[str]:
        """The key stores whose bindings are new or changed."""
        return frozenset(host for binding in self.changed for host in binding.hosts)


def change_of(
    watchlist: Watchlist,
    found: Iterable[KeyBinding],
    inventory: Inventory,
    subscriptions: Sequence[str],
    unread: Sequence[Unread],
    now: datetime,
) -> WatchlistChange:
    """Compare what an inventory of these subscriptions shows with what is watched."""
    covered = frozenset(each.lower() for each in subscriptions)
    complete = not unread and not inventory.hearsay
    places = _places(watchlist)
    shown = {each.id: _placed(each, places) for each in found}
    # Their older settings were not asked for this time, which says nothing about them
    unasked = [b for b in watchlist.bindings.values() if b.id not in shown and _rests_on(b, inventory.unasked)]
    shown |= {each.id: each for each in unasked}
    now_named, before = _keys_by_use(shown.values()), _keys_by_use(watchlist.bindings.values())
    moved = {use: before[use] - keys for use, keys in now_named.items() if before[use] - keys and keys - before[use]}
    merged = [
        _told(
            _merged(watchlist.bindings.get(each.id), each, covered if complete else frozenset()),
            watchlist.bindings.get(each.id),
            moved if complete else {},
            before,
            now,
        )
        for each in shown.values()
    ]
    missing = [] if not complete else [b for b in watchlist.bindings.values() if b.id not in shown]
    return WatchlistChange(
        changed=tuple(b for b in merged if watchlist.bindings.get(b.id) != b),
        gone=tuple(b for b in missing if proven_gone(b, subscriptions, unread)),
        doubted=frozenset(use[1].subscription_id or "" for use in moved) if inventory.hearsay else frozenset(),
    )


def proven_gone(binding: KeyBinding, subscriptions: Sequence[str], unread: Sequence[Unread]) -> bool:
    """Whether complete ARM lists of every subscription that held a consumer show none any more.

    A monitor that lost a right sees fewer rows without an error, so a subscription that is no longer listed proves nothing.
    """
    covered = {each.lower() for each in subscriptions}
    ids = [c.id for c in binding.consumers] + [i.id for c in binding.consumers for i in c.protected_items]
    return not unread and all(each.subscription_id in covered for each in ids)


def _rests_on(binding: KeyBinding, unasked: frozenset[str]) -> bool:
    return bool(binding.consumers) and all(each.id.key in unasked for each in binding.consumers)


def _keys_by_use(bindings: Iterable[KeyBinding]) -> defaultdict[_Use, set[KeyUri]]:
    """The keys that each consumer names for each scenario; another version of a key is no other key."""
    keys: defaultdict[_Use, set[KeyUri]] = defaultdict(set)
    for binding in bindings:
        for consumer in binding.consumers:
            keys[binding.scenario, consumer.id].add(binding.target.uri.versionless)
    return keys


def _told(
    binding: KeyBinding,
    known: KeyBinding | None,
    moved: Mapping[_Use, set[KeyUri]],
    before: Mapping[_Use, set[KeyUri]],
    now: datetime,
) -> KeyBinding:
    """The binding with its consumers that named another key before; what was noted of them earlier stands."""
    kept = {each.id: each.repointed for each in known.consumers} if known else {}
    key = binding.target.uri.versionless

    def told(consumer: Consumer) -> Consumer:
        use = (binding.scenario, consumer.id)
        if use in moved and key not in before.get(use, set()):
            # Several at once are told of by the first in order: the row names one key, the posture has them all
            return replace(consumer, repointed=Repointing(previous=min(moved[use], key=str), at=now))
        return replace(consumer, repointed=kept.get(consumer.id))

    return replace(binding, consumers=tuple(map(told, binding.consumers)))


def _merged(known: KeyBinding | None, found: KeyBinding, covered: frozenset[str]) -> KeyBinding:
    """The binding as found, with those known consumers that stand in subscriptions whose complete lists were not read."""
    if known is None:
        return found
    elsewhere = [each for each in known.consumers if each.id.subscription_id not in covered]
    if not elsewhere:
        return found
    shown = {c.id: c for c in found.consumers}
    # In the order in which they were known: another order is no change
    consumers = {c.id: shown.get(c.id, c) for c in known.consumers if c in elsewhere or c.id in shown} | shown
    secrets = {s.uri: s for s in (*known.secrets, *found.secrets)}
    return replace(found, consumers=tuple(consumers.values()), secrets=tuple(secrets.values()))


def _places(watchlist: Watchlist) -> dict[str, ResourceId]:
    objects = (each for binding in watchlist.bindings.values() for each in binding.objects)
    return {each.uri.host: each.store_id for each in objects if each.store_id is not None}


def _placed(binding: KeyBinding, places: Mapping[str, ResourceId]) -> KeyBinding:
    """The binding with its key stores where they were known to stand, where this inventory does not show them."""

    def placed(each: StoreObject) -> StoreObject:
        return each if each.store_id else replace(each, store_id=places.get(each.uri.host))

    return replace(binding, target=placed(binding.target), secrets=tuple(map(placed, binding.secrets)))
