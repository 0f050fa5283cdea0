"""What hangs on a key: consumers, what they protect, the recovery points, and when the first backup would fail. Pure.

Key → disk encryption set or vault → virtual machine or backup instance → newest recovery point.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from keydrift.model import Consumer, KeyBinding, Ownership, ProtectedItem, State, Verdict

# The schedule is not read: Azure's default policies back up daily, so the next backup is taken for a day after the last
# (azure-facts 2.3). One that has not run for two days is not on a daily schedule, or fails anyway.
DAILY = timedelta(hours=24)


def items_of(binding: KeyBinding) -> tuple[ProtectedItem, ...]:
    """The protected items that are known by name, each once."""
    return tuple({item.id: item for consumer in binding.consumers for item in consumer.protected_items}.values())


def item_count(binding: KeyBinding) -> int:
    """How many items the key protects."""
    return sum(consumer.item_count for consumer in binding.consumers)


def last_recovery_point(binding: KeyBinding) -> datetime | None:
    """When the newest recovery point was made, as far as the items show it."""
    return max((item.last_recovery_point_at for item in items_of(binding) if item.last_recovery_point_at), default=None)


def first_backup_at_risk(verdict: Verdict, effective_by: datetime) -> datetime | None:
    """When the first backup would fail by the loss, if backups are daily; None where nothing is lost or no item shows its
    last."""
    if verdict.state is not State.LOST:
        return None
    return min((due for item in items_of(verdict.binding) if (due := _next_backup(item, effective_by))), default=None)


def _next_backup(item: ProtectedItem, after: datetime) -> datetime | None:
    last = item.last_backup_at
    if last is None or after - last > 2 * DAILY:
        return None
    # What runs before the loss bites still succeeds
    return last + max(1, (after - last) // DAILY + 1) * DAILY


def owners(consumers: Iterable[Consumer]) -> Ownership:
    """The consumers' owners and environments, each once, joined by commas."""
    found = [consumer.ownership for consumer in consumers]
    return Ownership(owner=_joined(each.owner for each in found), environment=_joined(each.environment for each in found))


def _joined(values: Iterable[str | None]) -> str | None:
    named = list(dict.fromkeys(value for value in values if value))
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return shown or None
