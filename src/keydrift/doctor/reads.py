"""Every read that the product makes below one subscription, tried once, and the permission that would repair each."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from typing import Protocol

from keydrift.doctor.facts import (
    ENCRYPTION_SETTINGS,
    MANAGED_HSMS,
    PROTECTED_ITEMS,
    RECOVERY_VAULTS,
    SUBSCRIPTION_READS,
    Caller,
    Check,
    ListRead,
    Sample,
    Status,
    of_unread,
)
from keydrift.facts import Absent, Read, Unread
from keydrift.ports import ManagedHsms

_OK, _FAIL, _UNKNOWN = Status.OK, Status.FAIL, Status.UNKNOWN


class SampleReads(Protocol):
    """Single pages and documents by ARM. A read never raises."""

    async def sample(self, url: str, source: str, repair: str) -> Read[Sample]:
        """Return the first page of a list."""
        ...

    async def answers(self, url: str, source: str, repair: str) -> Read[bool]:
        """Return whether one document can be read."""
        ...


async def check_subscription(reads: SampleReads, hsms: ManagedHsms, subscription: str, caller: Caller) -> tuple[Check, ...]:
    scope = f"/subscriptions/{subscription}"
    read = await asyncio.gather(*(_sample(reads, each, scope, subscription, caller) for each in SUBSCRIPTION_READS))
    samples = {each.what: found for each, (found, _) in zip(SUBSCRIPTION_READS, read, strict=True)}
    below = await asyncio.gather(_recovery(reads, subscription, samples[RECOVERY_VAULTS], caller), _hsms(hsms, samples))
    return (*(check for _, check in read), *(check for group in below for check in group))


async def _sample(
    reads: SampleReads, what: ListRead, scope: str, subscription: str, caller: Caller
) -> tuple[Read[Sample], Check]:
    name = f"{subscription}: {what.what}"
    repair = _permission(what, scope, caller)
    read = await reads.sample(f"{scope}{what.path}", name, repair)
    match read:
        case Sample():
            count = f"{len(read.items)}{' or more' if read.more else ''} read"
            return read, Check(name=name, status=_OK, found=count)
        case Unread():
            return read, of_unread(name, read)
        case Absent():
            return read, Check(name=name, status=_FAIL, found="HTTP 404", fix=repair)


async def _recovery(reads: SampleReads, subscription: str, vaults: Read[Sample], caller: Caller) -> tuple[Check, ...]:
    if not isinstance(vaults, Sample):
        return tuple(
            Check(name=f"{subscription}: {each.what}", status=_UNKNOWN, found="not tried", fix=f"first repair {RECOVERY_VAULTS}")
            for each in (PROTECTED_ITEMS, ENCRYPTION_SETTINGS)
        )
    if not vaults.items:
        return (Check(name=f"{subscription}: {PROTECTED_ITEMS.what}", status=_OK, found="no Recovery Services vault to ask"),)
    vault = vaults.items[0].id.url_path
    _, items = await _sample(reads, PROTECTED_ITEMS, vault, subscription, caller)
    name, repair = f"{subscription}: {ENCRYPTION_SETTINGS.what}", _permission(ENCRYPTION_SETTINGS, vault, caller)
    read = await reads.answers(f"{vault}{ENCRYPTION_SETTINGS.path}", name, repair)
    settings = of_unread(name, read) if isinstance(read, Unread) else Check(name=name, status=_OK, found="read")
    return items, settings


async def _hsms(hsms: ManagedHsms, samples: Mapping[str, Read[Sample]]) -> tuple[Check, ...]:
    listed = samples[MANAGED_HSMS]
    if not isinstance(listed, Sample):
        return ()
    hosts = [each.host for each in listed.items if each.host]
    found = await asyncio.gather(*(_hsm(hsms, host) for host in hosts))
    return tuple(check for group in found for check in group)


async def _hsm(hsms: ManagedHsms, host: str) -> tuple[Check, ...]:
    definitions, assignments = await asyncio.gather(hsms.role_definitions(host), hsms.role_assignments(host, "/"))
    return (
        _local(f"Managed HSM {host}: local role definitions", definitions),
        _local(f"Managed HSM {host}: local role assignments", assignments),
    )


def _local(name: str, read: Read[tuple[object, ...]]) -> Check:
    match read:
        case Unread():
            return of_unread(name, read)
        case Absent():
            return Check(name=name, status=_FAIL, found="HTTP 404", fix="check that the Managed HSM is activated")
        case _:
            return Check(name=name, status=_OK, found=f"{len(read)} read")


def _permission(what: ListRead, scope: str, caller: Caller) -> str:
    return f"{what.permission} (the role {what.role} holds it): {assign_role(scope, what.role, caller)}"


def assign_role(scope: str, role: str, caller: Caller) -> str:
    """The command that gives the monitor's identity a role."""
    who = caller.object_id or "<object id of the monitor's identity>"
    return f'az role assignment create --assignee-object-id {who} --role "{role}" --scope {shlex.quote(scope)}'
