"""Random draws from one seed, the same on every machine, and how often something in a random tenant is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from keydrift.facts import Absent, Read, Unread

ABSENT = Absent(what="it")
_UNREAD = (
    Unread(source="it", status=403, code="AuthorizationFailed", repair="Reader"),
    Unread(source="it", status=None, code="Timeout", repair="try again"),
)

# Sorts of tenants on which the product and the catalogue still differ. To be emptied as the product is mended, and kept empty.


class Dice:
    """One seed's draws: `odd` is how often something is wrong, `unread` how often a read failed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.odd = self.random.choice((0.0, 0.02, 0.05, 0.1, 0.25, 0.5))
        self.unread = self.random.choice((0.0, 0.0, 0.0, 0.05, 0.1, 0.3))

    def is_odd(self, factor: float = 1.0) -> bool:
        return self.random.random() < self.odd * factor

    def pick[T](self, *choices: T) -> T:
        return choices[int(self.random.random() * len(choices))]

    def some[T](self, items: Sequence[T], most: int) -> tuple[T, ...]:
        return tuple(self.pick(*items) for _ in range(self.random.randint(0, most)))

    def read[T](self, value: T, absent: float = 0.0) -> Read[T]:
        """The value, or rarely the news that it could not be read or (that often) is not there."""
        if self.random.random() < self.unread:
            return self.pick(*_UNREAD)
        return ABSENT if absent and self.random.random() < absent * self.odd else value

    def entry[K, V](self, into: dict[K, V], key: K, value: V) -> None:
        """Keep a reading, unless the collector never came to it."""
        if self.random.random() >= self.unread * 0.3:
            into[key] = value
