"""Do events reach the monitor? Per watched subscription, the system topic and what its event subscriptions let through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from keydrift.doctor.event_coverage import EventSubscription, coverage
from keydrift.doctor.facts import Check, EventTopic, Status, of_unread
from keydrift.facts import Absent, Read, Unread
from keydrift.ports import Clock
from keydrift.resource_id import ResourceId

_VAULT = "microsoft.keyvault/vaults"
# One read a topic: enough to see whether events of key vaults are wanted at all
_MOST_VAULT_TOPICS = 100
_DEPLOY = "create a system topic of Microsoft.Resources.Subscriptions and an event subscription to the function app (infra/)"


class EventReads(Protocol):
    """Event Grid by ARM. A read never raises."""

    async def event_topics(self, subscription: str, repair: str) -> Read[tuple[EventTopic, ...]]:
        """Return the system topics of a subscription."""
        ...

    async def event_subscriptions(self, topic: ResourceId, repair: str) -> Read[tuple[EventSubscription, ...]]:
        """Return the event subscriptions of a system topic."""
        ...

    async def direct_subscriptions(self, subscription: str, repair: str) -> Read[tuple[EventSubscription, ...]]:
        """Return the event subscriptions that stand on the Azure subscription itself."""
        ...


async def check_events(reads: EventReads, subscription: str, clock: Clock, role: str) -> tuple[Check, ...]:
    """One check of the subscription's events, and one of its key vaults'. `role` is the command that gives Reader there."""
    name, source = f"{subscription}: events", ResourceId.parse(f"/subscriptions/{subscription}")

    def repair(kind: str) -> str:
        return f"Microsoft.EventGrid/{kind}/read (the role Reader holds it): {role}"

    topics, direct = await asyncio.gather(
        reads.event_topics(subscription, repair("systemTopics")),
        reads.direct_subscriptions(subscription, repair("eventSubscriptions")),
    )
    if not isinstance(topics, tuple):
        return (_unread(name, topics),)
    if not isinstance(direct, tuple):
        return (_unread(name, direct),)
    mine = [topic for topic in topics if topic.source == source]
    vaults = [topic for topic in topics if topic.source.resource_type == _VAULT][:_MOST_VAULT_TOPICS]
    listed = await asyncio.gather(
        *(reads.event_subscriptions(topic.id, repair("systemTopics/eventSubscriptions")) for topic in (*mine, *vaults))
    )
    failed = next((each for each in listed[: len(mine)] if not isinstance(each, tuple)), None)
    if failed is not None:
        return (_unread(name, failed),)
    wanted = [*direct, *(each for read in listed[: len(mine)] if isinstance(read, tuple) for each in read)]
    now = clock.now()
    # What is not provisioned delivers nothing, whatever hangs on it
    broken = [topic for topic in mine if topic.state not in ("", "succeeded")]
    if broken and len(broken) == len(mine) and not direct:
        return (_broken(name, broken),)
    main = _coverage(name, wanted, source, now, has_topic=bool(mine))
    return main, _vaults(subscription, vaults, listed[len(mine) :], now)


def _coverage(name: str, found: Sequence[EventSubscription], source: ResourceId, now: datetime, *, has_topic: bool) -> Check:
    if not found:
        what = "a system topic without an event subscription" if has_topic else "no system topic of this subscription"
        return Check(name=name, status=Status.FAIL, found=f"{what}: only the sweep sees changes", fix=_DEPLOY)
    active = [each for each in found if each.is_active(now)]
    if not active:
        states = ", ".join(f"`{each.name}` ({each.state or 'expired'})" for each in found)
        fix = "create it again, or extend its expiration time"
        return Check(name=name, status=Status.FAIL, found=f"no event subscription delivers: {states}", fix=fix)
    weighed = coverage(active, str(source))
    names = ", ".join(f"`{each.name}` to {each.destination}" for each in active)
    if weighed.missing:
        fix = f"let the filter of `{active[0].name}` pass `data.operationName` {', '.join(weighed.missing)}"
        return Check(name=name, status=Status.FAIL, found=f"{names}; {len(weighed.missing)} operations are filtered out", fix=fix)
    if weighed.untold:
        found_text = f"{names}; its filter looks at what differs from event to event"
        return Check(name=name, status=Status.UNKNOWN, found=found_text, fix=f"filter on `data.operationName` alone: {_PREFIXES}")
    return Check(name=name, status=Status.OK, found=f"{names}; every operation that matters passes")


_PREFIXES = "StringBeginsWith Microsoft.Authorization/role, Microsoft.KeyVault/, …"


def _broken(name: str, topics: Sequence[EventTopic]) -> Check:
    states = ", ".join(f"`{each.id.name}` ({each.state})" for each in topics)
    return Check(
        name=name, status=Status.FAIL, found=f"no system topic is provisioned: {states}", fix="delete it and create it again"
    )


def _vaults(
    subscription: str, topics: Sequence[EventTopic], listed: Sequence[Read[tuple[EventSubscription, ...]]], now: datetime
) -> Check:
    # Optional: the subscription's own events tell of vaults too; these add expiries and changes made past ARM
    name = f"{subscription}: events of key vaults"
    covered = {
        topic.source.key
        for topic, read in zip(topics, listed, strict=True)
        if isinstance(read, tuple) and any(each.is_active(now) for each in read)
    }
    found = f"{len(covered)} key vaults have an event subscription of their own" if covered else "none; they are optional"
    return Check(name=name, status=Status.OK, found=found)


def _unread(name: str, read: Absent | Unread) -> Check:
    if isinstance(read, Unread):
        return of_unread(name, read)
    return Check(name=name, status=Status.FAIL, found="HTTP 404", fix=_DEPLOY)
