"""`keydrift doctor`: may the monitor do what it has to, and if not, what would repair it? Checks run together and never raise.

The monitor's own adapters are asked wherever they make the read; nothing here decides about key bindings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from logging import getLogger
from uuid import uuid4

from keydrift.doctor.alert import check_log_analytics
from keydrift.doctor.events import check_events
from keydrift.doctor.examined import Examined
from keydrift.doctor.facts import Caller, Check, Status, of_unread
from keydrift.doctor.reads import assign_role, check_subscription
from keydrift.doctor.settings import check_settings
from keydrift.facts import Absent, Principal, Read, Unread
from keydrift.outbox import OutboxName
from keydrift.ports import (
    Delete,
    Entity,
    StateConflictError,
    StateError,
    Write,
)
from keydrift.settings import Settings
from keydrift.state import State

log = getLogger(__name__)

ARM, GRAPH, HSM, MONITOR = "Azure Resource Manager", "Microsoft Graph", "Managed HSM", "Azure Monitor"
_OK, _WARN, _FAIL, _UNKNOWN = Status.OK, Status.WARN, Status.FAIL, Status.UNKNOWN
_PARTITION = "doctor"


async def examine(examined: Examined, *, send_test: bool = False) -> tuple[Check, ...]:
    """Run every check. `send_test` sends one marked row to Log Analytics; else only a token is asked for."""
    settings, clock = examined.settings, examined.clock
    callers = dict(zip(_services(settings), await asyncio.gather(*map(examined.reads.caller, _services(settings))), strict=True))
    visible = await _guarded("visible subscriptions", _Visible(examined, callers[ARM]).read())
    watched = visible.watched if isinstance(visible, _Seen) else ()
    who = callers[ARM]
    caller = who if isinstance(who, Caller) else Caller()
    jobs: list[tuple[str, Coroutine[object, object, tuple[Check, ...]]]] = [
        ("Backup service", _backup_service(examined)),
        ("state store", _state(examined)),
        ("recheck queue", _queue(examined)),
        ("kept aside", _kept_aside(examined)),
        ("Log Analytics", check_log_analytics(settings, callers[MONITOR], examined.sink, clock, send_test=send_test)),
    ]
    for each in watched:
        role = assign_role(f"/subscriptions/{each}", "Reader", caller)
        jobs.append((each, check_subscription(examined.reads, examined.managed_hsms, each, caller)))
        jobs.append((f"{each}: events", check_events(examined.reads, each, clock, role)))
    found = await asyncio.gather(*(_guarded(name, job) for name, job in jobs))
    checks = [check for group in found if isinstance(group, tuple) for check in group]
    checks += [group for group in found if isinstance(group, Check)]
    seen = visible.checks if isinstance(visible, _Seen) else (visible,)
    hsm_seen = any(check.name.startswith("Managed HSM ") for check in checks)
    tokens = (_token(service, read, needed=service != HSM or hsm_seen) for service, read in callers.items())
    tenant = caller.tenant_id
    return (*check_settings(settings, examined.surroundings, tenant), *tokens, *seen, *checks)


async def _guarded[T](name: str, job: Coroutine[object, object, T]) -> T | Check:
    # The doctor has to report on everything, its own defects included, so one check never takes the others with it
    try:
        return await job
    except Exception as error:
        log.exception("a check failed", extra={"check": name})
        fix = "report this, with the log that `keydrift doctor` wrote to stderr"
        return Check(name=name, status=_UNKNOWN, found=f"the check itself failed ({type(error).__name__})", fix=fix)


# --- tokens and subscriptions ------------------------------------------------------------------------------------------


def _services(settings: Settings) -> tuple[str, ...]:
    # Whoever sets the object id by hand says that Graph is not to be asked
    return (ARM, HSM, MONITOR) if settings.backup_object_id else (ARM, GRAPH, HSM, MONITOR)


def _token(service: str, read: Read[Caller], *, needed: bool) -> Check:
    name = f"token for {service}"
    match read:
        case Caller(object_id=None):
            return Check(name=name, status=_OK, found="a token")
        case Caller():
            return Check(name=name, status=_OK, found=f"a token for object id {read.object_id} of tenant {read.tenant_id}")
        case Unread():
            failed = of_unread(name, read)
            if needed or failed.status is not _FAIL:
                return failed
            return Check(name=name, status=_WARN, found=f"{failed.found}; no Managed HSM was seen", fix=failed.fix)
        case Absent():
            return Check(name=name, status=_FAIL, found="no token endpoint", fix="give the function app a managed identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    watched: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class _Visible:
    """Which subscriptions there are to watch."""

    examined: Examined
    who: Read[Caller]

    async def read(self) -> _Seen:
        name, caller = "visible subscriptions", self.who if isinstance(self.who, Caller) else Caller()
        read = await self.examined.consumers.subscriptions()
        configured = self.examined.settings.subscriptions
        match read:
            case Unread():
                return _Seen(watched=configured, checks=(of_unread(name, read),))
            case Absent() | ():
                role = assign_role("/subscriptions/<id>", "Reader", caller)
                return _Seen(watched=configured, checks=(Check(name=name, status=_FAIL, found="none", fix=role),))
        visible = {each.lower() for each in read}
        checks = [Check(name=name, status=_OK, found=f"{len(visible)}: {', '.join(sorted(visible)[:5])}")]
        for each in configured:
            fix = "" if each in visible else assign_role(f"/subscriptions/{each}", "Reader", caller)
            found = "visible" if each in visible else "not visible, though `KEYDRIFT_SUBSCRIPTIONS` names it"
            checks.append(Check(name=f"subscription {each}", status=_FAIL if fix else _OK, found=found, fix=fix))
        watched = tuple(each for each in configured if each in visible) if configured else tuple(sorted(visible))
        return _Seen(watched=watched, checks=tuple(checks))


# --- the Backup service, state, queue ----------------------------------------------------------------------------------


async def _backup_service(examined: Examined) -> tuple[Check, ...]:
    name, by_hand = f"service principal of {examined.app_name}", "or set `KEYDRIFT_BACKUP_OBJECT_ID`"
    if examined.settings.backup_object_id:
        found = f"object id {examined.settings.backup_object_id}, set by hand; Microsoft Graph was not asked"
        return (Check(name=name, status=_OK, found=found),)
    read = await examined.directory.service_principal(examined.app_id)
    match read:
        case Absent():
            fix = f"check `KEYDRIFT_CLOUD` and `KEYDRIFT_BACKUP_APP_ID`; az ad sp create --id {examined.app_id}; {by_hand}"
            return (Check(name=name, status=_FAIL, found=f"no application {examined.app_id} in this tenant", fix=fix),)
        case Unread():
            failed = of_unread(name, read)
            return (Check(name=name, status=failed.status, found=failed.found, fix=f"{failed.fix}, {by_hand}"),)
        case Principal():
            groups = await examined.directory.groups(read.object_id)
    status = _OK if read.enabled else _FAIL
    found = f"object id {read.object_id}" + ("" if read.enabled else ", disabled")
    fix = "" if read.enabled else f"az ad sp update --id {read.object_id} --set accountEnabled=true"
    return (Check(name=name, status=status, found=found, fix=fix), _groups(groups))


def _groups(read: Read[frozenset[str]]) -> Check:
    name = "group memberships"
    if isinstance(read, frozenset):
        return Check(name=name, status=_OK, found=f"{len(read)} read")
    if isinstance(read, Absent):
        return Check(name=name, status=_UNKNOWN, found="HTTP 404", fix="run the check again: the principal has just gone")
    failed = of_unread(name, read)
    # Only grants that are given to groups need them
    status = _WARN if failed.status is _FAIL else failed.status
    return Check(name=name, status=status, found=f"{failed.found}; grants through groups stay unknown", fix=failed.fix)


async def _state(examined: Examined) -> tuple[Check, ...]:
    name, entities, row = f"state store {examined.settings.state.partition('?')[0]}", examined.entities, uuid4().hex
    marked = Entity(partition=_PARTITION, row=row, body={"written": "by keydrift doctor, to be deleted at once"})
    try:
        await entities.transact([Write(entity=marked)])
        found = await entities.get(_PARTITION, row)
        await entities.transact([Delete(partition=_PARTITION, row=row)])
    except (StateError, StateConflictError) as error:
        return (_refused(name, error),)
    if found is None or found.body != marked.body:
        fix = "check that nothing else deletes from this table, then report it"
        return (Check(name=name, status=_FAIL, found="what was written was not there", fix=fix),)
    return (Check(name=name, status=_OK, found="written, read and deleted"),)


async def _queue(examined: Examined) -> tuple[Check, ...]:
    name = f"queue {examined.settings.recheck_queue}"
    try:
        await examined.queue.try_out()
    except StateError as error:
        return (_refused(name, error),)
    return (Check(name=name, status=_OK, found="a message added and deleted"),)


async def _kept_aside(examined: Examined) -> tuple[Check, ...]:
    """What did not go the straight way: events within a day, and rows that a sink refused for good."""
    state = State(examined.entities, tuple(OutboxName))
    since = examined.clock.now() - timedelta(days=1)
    try:
        letters = await state.dead_letters_since(since)
        rejected = [each for outbox in state.outboxes for each in await outbox.rejected()]
    except StateError:
        return ()  # the line of the state store says so
    fix = (
        "look at the partition `dead-letters` of the state store for the reasons; a sweep has looked into each" if letters else ""
    )
    events = Check(name="dead letters", status=_WARN if letters else _OK, found=f"{letters} events within a day", fix=fix)
    if not rejected:
        return events, Check(name="rejected rows", status=_OK, found="none")
    found = f"{len(rejected)}, the first: {rejected[0].reason}"
    return events, Check(name="rejected rows", status=_FAIL, found=found, fix="repair the reason: they are sent again once a day")


def _refused(name: str, error: StateError | StateConflictError) -> Check:
    found, _, fix = str(error).partition(": ")
    return Check(name=name, status=_FAIL, found=found, fix=fix or "try again")


def worst_first(checks: Iterable[Check]) -> Sequence[Check]:
    """Failures, then what could not be told, then warnings, then the rest; in order within each."""
    order = (_FAIL, _UNKNOWN, _WARN, _OK)
    return sorted(checks, key=lambda check: order.index(check.status))
