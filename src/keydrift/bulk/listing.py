"""From lists of a whole subscription to what concerns one key store. Pure.

A list at a subscription shows what stands at it, above it (management groups that contain it, and the root) and below it. What
concerns a key store is what stands at it, above it or below it, told by segments: `rg1` never holds what `rg10` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Protocol

from keydrift.facts import DenyAssignment
from keydrift.resource_id import ResourceId

_EVERYWHERE = "/"


@dataclass(frozen=True, slots=True)
class WatchedScopes:
    """The watched key stores of one subscription and what stands above them, as normalised ids."""

    stores: frozenset[str]
    above: frozenset[str]
    _lengths: frozenset[int]

    @classmethod
    def of(cls, stores: Iterable[ResourceId]) -> WatchedScopes:
        """The scopes of these key stores."""
        known = tuple(stores)
        above = frozenset(scope for store in known for scope in _above(store))
        return cls(frozenset(store.key for store in known), above, frozenset(len(store.segments) for store in known))

    def place(self, scope: ResourceId) -> str | None:
        """Where a scope counts: the watched key store that it is or stands in, or the scope itself where it stands above one;
        None where it concerns none of them.

        INVARIANT (listed scopes): a management group that is listed for a subscription contains it.
        """
        if not scope.segments or scope.is_management_group:
            return _EVERYWHERE
        if scope.key in self.above:
            return scope.key
        cuts = ("/" + "/".join(scope.segments[:length]) for length in self._lengths if length <= len(scope.segments))
        return next((cut for cut in cuts if cut in self.stores), None)

    def touches(self, scope: ResourceId) -> bool:
        """Whether anything at that scope concerns a watched key store."""
        return self.place(scope) is not None


def places_of(store: ResourceId) -> tuple[str, ...]:
    """Every place whose entries concern a key store, the widest first."""
    return (_EVERYWHERE, *_above(store), store.key)


def _above(store: ResourceId) -> tuple[str, ...]:
    return tuple("/" + "/".join(store.segments[:length]) for length in range(1, len(store.segments)))


class Assigned(Protocol):
    """A role assignment or a schedule instance of one."""

    @property
    def scope(self) -> ResourceId:
        """Where it stands."""
        ...

    @property
    def principal_id(self) -> str:
        """Who holds it; an object id in lower case."""
        ...

    @property
    def role_definition_id(self) -> str:
        """The guid of its role definition."""
        ...


class HolderIndex[Row: Assigned]:
    """A subscription's role assignments (or their schedule instances) by place and holder.

    `watched` are the principals that are asked for: whoever else holds an assignment here may be a group of theirs.
    """

    def __init__(self, scopes: WatchedScopes, rows: Iterable[Row], watched: Container[str]) -> None:
        self._rows: defaultdict[str, defaultdict[str, list[tuple[int, Row]]]] = defaultdict(lambda: defaultdict(list))
        self._others: set[str] = set()
        definitions: set[str] = set()
        for position, row in enumerate(rows):
            place = scopes.place(row.scope)
            if place is None:
                continue
            self._rows[place][row.principal_id].append((position, row))
            definitions.add(row.role_definition_id)
            if row.principal_id not in watched:
                self._others.add(place)
        self.role_definitions = frozenset(definitions)

    def reaching(self, store: ResourceId, holders: Iterable[str]) -> tuple[Row, ...]:
        """The assignments of these holders that concern a key store, in the order in which they were listed."""
        asked = tuple(holders)
        return _in_order(pair for held in self._at(store) for holder in asked for pair in held.get(holder, ()))

    def all_reaching(self, store: ResourceId) -> tuple[Row, ...]:
        """The assignments of any holder that concern a key store, in the order in which they were listed."""
        return _in_order(pair for held in self._at(store) for pairs in held.values() for pair in pairs)

    def _at(self, store: ResourceId) -> list[Mapping[str, list[tuple[int, Row]]]]:
        return [self._rows[place] for place in places_of(store) if place in self._rows]

    def groups_matter(self, store: ResourceId) -> bool:
        """Whether anybody who may be a group holds an assignment that concerns a key store."""
        return any(place in self._others for place in places_of(store))


class DenyIndex:
    """A subscription's deny assignments by place."""

    def __init__(self, scopes: WatchedScopes, rows: Iterable[DenyAssignment]) -> None:
        self._rows: defaultdict[str, list[tuple[int, DenyAssignment]]] = defaultdict(list)
        for position, row in enumerate(rows):
            place = scopes.place(row.scope)
            if place is not None:
                self._rows[place].append((position, row))

    def concerning(self, store: ResourceId) -> tuple[DenyAssignment, ...]:
        """The deny assignments that concern a key store, in the order in which they were listed."""
        return _in_order(pair for place in places_of(store) for pair in self._rows.get(place, ()))


def _in_order[Row](found: Iterable[tuple[int, Row]]) -> tuple[Row, ...]:
    return tuple(row for _, row in sorted(found, key=itemgetter(0)))


def oldest_first[K](last_read: Mapping[K, datetime | None], budget: int | None) -> frozenset[K]:
    """At most `budget` of these, whatever was never read first, then what was read longest ago; all of them without a budget.

    Equal times keep the mapping's order. Raises ValueError for a negative budget.
    """
    if budget is None:
        return frozenset(last_read)
    if budget < 0:
        raise ValueError(f"a budget is at least 0 reads, got {budget}")

    def age(item: K) -> tuple[bool, float]:
        at = last_read[item]
        return at is not None, at.timestamp() if at is not None else 0.0

    return frozenset(sorted(last_read, key=age)[:budget])
