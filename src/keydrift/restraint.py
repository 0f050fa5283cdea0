"""How often a crowd of events may have one key store read for nothing: twice in a settle window.

A deployment, or whoever wants to keep the monitor busy, can make thousands of events about one key store that change nothing for
its key bindings, and each would have a read of its own where they come more slowly than reads. So where more than a few came
within a settle window, and two reads for them were in vain, the next waits until the older of the two is a settle window ago; by
then the key store is read again anyway. A read that brings news ends the restraint: what does change is found at once, however
often it does. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from keydrift.drift import Via

# Azure's own reads can lag behind its events: an event may be followed by a stale answer (architecture, "Settle")
SETTLE_AFTER = timedelta(minutes=2)
_IN_A_WINDOW = 2
# What the sweep or a person asks for is not held back
_OF_EVENTS = (Via.EVENT, Via.SETTLE)
# More than an administrator's work makes: a change of an access policy is two notices, Key Vault's and ARM's
_CROWD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """`in_vain` are the times of the last reads of this key store alone since one brought news: two at most, the older one first.

    `settles_at` is when the last reread of those that were put into the queue falls due.
    """

    in_vain: tuple[datetime, ...] = ()
    settles_at: datetime | None = None

    def holds_until(self, via: Via, crowd: int, now: datetime) -> datetime | None:
        """When a read may be made for one of so many notices, or for its reread; None where it may be made at once."""
        if via not in _OF_EVENTS or crowd < _CROWD or len(self.in_vain) < _IN_A_WINDOW:
            return None
        until = self.in_vain[-_IN_A_WINDOW] + SETTLE_AFTER
        return until if until > now else None

    def after(self, via: Via, now: datetime, *, news: bool) -> Restraint:
        """What it is after a read, which for an event is followed by one when Azure has settled."""
        settles_at = now + SETTLE_AFTER if via is Via.EVENT else self.settles_at
        if news:
            return Restraint(settles_at=settles_at)
        return Restraint(in_vain=(*self.in_vain, now)[-_IN_A_WINDOW:], settles_at=settles_at)

    def covers(self, noticed_at: datetime) -> bool:
        """Whether a reread is in the queue, or was made, for when Azure has settled after that notice."""
        return self.settles_at is not None and self.settles_at >= noticed_at + SETTLE_AFTER

    def document(self) -> dict[str, object]:
        """As state keeps it."""
        return {
            "readInVain": [each.isoformat() for each in self.in_vain],
            "settlesAt": self.settles_at.isoformat() if self.settles_at else None,
        }

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Restraint:
        """From what state keeps. Raises ValueError or TypeError for what it never kept."""
        settles_at = document.get("settlesAt")
        return cls(
            in_vain=tuple(datetime.fromisoformat(each) for each in cast("list[str]", document.get("readInVain") or [])),
            settles_at=datetime.fromisoformat(str(settles_at)) if settles_at else None,
        )


UNRESTRAINED = Restraint()


class Rush:
    """Counts the notices about each key store, in this process: each instance of the function app sees enough of a flood."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._now: Counter[str] = Counter()
        self._before: Counter[str] = Counter()

    def joined(self, hosts: Collection[str], now: datetime) -> dict[str, int]:
        """Count one notice about each, and say how many there were in this settle window and the one before."""
        age = None if self._since is None else now - self._since
        if age is None or age >= 2 * SETTLE_AFTER:
            self._since, self._now, self._before = now, Counter(), Counter()
        elif age >= SETTLE_AFTER:
            self._since, self._now, self._before = now, Counter(), self._now
        self._now.update(hosts)
        return {host: self._now[host] + self._before[host] for host in hosts}

    def around(self, host: str, now: datetime) -> int:
        """How many notices about a key store there were in this settle window and the one before, as far as is known."""
        gone = self._since is None or now - self._since >= 2 * SETTLE_AFTER
        return 0 if gone else self._now[host] + self._before[host]
