"""`keydrift doctor --probe`: read-only calls that settle what documents leave open about Azure (docs/assumptions.md).

Each probe says which way it fell on this tenant, or why nothing here can tell. What the product relies on fails where it is
false; what it does not rely on is told, and is ok either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass

from keydrift.doctor.examined import Examined, Probes
from keydrift.doctor.facts import Check, SeenVault, Standing, Status, of_unread
from keydrift.facts import Absent, Principal, Read, RoleDefinition, Unread
from keydrift.ports import Grants
from keydrift.resource_id import ResourceId

_VAULT = "microsoft.keyvault/vaults"
# Managed HSM Crypto Auditor (azure-facts 0.3), and what its table says that contradicts "read but not use"
_AUDITOR = "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3"
_DELETES = "microsoft.keyvault/managedhsm/keys/deletedkeys/delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """What there is to probe with; what could not be read is in `unread`."""

    standing: tuple[Standing, ...]
    vaults: tuple[SeenVault, ...]
    hosts: tuple[str, ...]
    unread: tuple[Unread, ...]


async def probe(examined: Examined) -> tuple[Check, ...]:
    """Every probe, together. Never raises for a failed read."""
    subscriptions = examined.settings.subscriptions or await _visible(examined)
    survey = await _survey(examined.probes, subscriptions)
    return tuple(
        await asyncio.gather(
            _below(survey, examined.grants),
            _above(survey),
            _schedules(survey, examined.grants),
            _key_scope(survey, examined.probes),
            _firewall(survey, examined.probes),
            _graph(survey, examined.probes),
            _auditor(survey, examined),
            _suffix(survey, examined),
            _application(examined),
        )
    )


async def _visible(examined: Examined) -> tuple[str, ...]:
    read = await examined.consumers.subscriptions()
    return read if isinstance(read, tuple) else ()


async def _survey(lists: Probes, subscriptions: Sequence[str]) -> Surveyed:
    unread: list[Unread] = []

    async def every[T](ask: Callable[[str], Coroutine[object, object, Read[tuple[T, ...]]]]) -> tuple[T, ...]:
        found: list[T] = []
        for each in await asyncio.gather(*map(ask, subscriptions)):
            if isinstance(each, tuple):
                found += each
            elif isinstance(each, Unread):
                unread.append(each)
        return tuple(found)

    standing, vaults, hosts = await asyncio.gather(every(lists.standing), every(lists.vaults), every(lists.hsm_hosts))
    return Surveyed(standing=standing, vaults=vaults, hosts=hosts, unread=tuple(unread))


def _check(number: int, what: str, status: Status, found: str, fix: str = "") -> Check:
    return Check(name=f"assumption {number}: {what}", status=status, found=found, fix=fix)


def _untold(number: int, what: str, survey: Surveyed, missing: str) -> Check:
    """Nothing here to tell it by: unknown where something could not be read, else a warning."""
    if survey.unread:
        first = survey.unread[0]
        return _check(number, what, Status.UNKNOWN, f"cannot be told: {first.source} could not be read", first.repair)
    return _check(number, what, Status.WARN, f"cannot be told here: {missing}", f"see docs/assumptions.md, {number}")


def _failed(number: int, what: str, read: Absent | Unread) -> Check:
    if isinstance(read, Unread):
        told = of_unread("", read)
        return _check(number, what, Status.UNKNOWN, f"cannot be told: {told.found}", told.fix)
    return _check(number, what, Status.UNKNOWN, "cannot be told: it has just gone", "run the probe again")


async def _below(survey: Surveyed, grants: Grants) -> Check:
    number, what = 1, "`assignedTo` lists what stands below a key vault"
    for each in survey.standing:
        vault = each.scope.up_to(_VAULT)
        if vault is None or vault == each.scope or each.of_group:
            continue
        read = await grants.role_assignments(vault, each.principal_id)
        if isinstance(read, Absent | Unread):
            return _failed(number, what, read)
        if any(found.id == each.id for found in read):
            return _check(number, what, Status.OK, f"holds: the assignment on {each.scope} was listed at its vault")
        fix = "grants on single keys are missed here: report this (docs/assumptions.md, 1)"
        return _check(number, what, Status.FAIL, f"false: the assignment on {each.scope} was not listed at its vault", fix)
    return _untold(number, what, survey, "no role assignment stands on a key or secret")


async def _above(survey: Surveyed) -> Check:
    number, what = 2, "assignments above a subscription are listed to a reader of it"
    above = [each for each in survey.standing if each.scope.subscription_id is None]
    if above:
        return _check(number, what, Status.OK, f"holds: {len(above)} at management groups or the root were listed")
    return _untold(number, what, survey, "none was listed, which is also what a tenant without any looks like")


async def _schedules(survey: Surveyed, grants: Grants) -> Check:
    number, what = 3, "time-bound assignments are listed at a key vault by `assignedTo`"
    if not survey.vaults:
        return _untold(number, what, survey, "no key vault was seen")
    who = next((each.principal_id for each in survey.standing if not each.of_group), None)
    if who is None:
        return _untold(number, what, survey, "no role assignment of a single principal was seen")
    read = await grants.schedule_instances(survey.vaults[0].id, who)
    if isinstance(read, Unread) and read.status == 400:
        fix = "time-bound grants are not seen to end here: report this (docs/assumptions.md, 3)"
        return _check(number, what, Status.FAIL, f"false: HTTP 400 {read.code}", fix)
    if isinstance(read, Absent | Unread):
        return _failed(number, what, read)
    return _check(number, what, Status.OK, f"holds: ARM answered with {len(read)}, or the tenant has no licence for them")


async def _key_scope(survey: Surveyed, probes: Probes) -> Check:
    number, what = 4, "ARM lists role assignments at a single key"
    key = await _some_key(survey.vaults, probes)
    if not isinstance(key, ResourceId):
        return _failed(number, what, key) if isinstance(key, Unread) else _untold(number, what, survey, "no key was seen")
    read = await probes.assignments_at(key)
    if isinstance(read, int):
        return _check(number, what, Status.OK, f"it does: {read} at and above {key}; nothing relies on it")
    if isinstance(read, Absent) or read.status in (400, 404, 405):
        return _check(number, what, Status.OK, "it does not: nothing relies on it")
    return _failed(number, what, read)


async def _firewall(survey: Surveyed, probes: Probes) -> Check:
    number, what = 5, "ARM reads keys behind a key vault's firewall"
    closed = [each for each in survey.vaults if each.restricted]
    if not closed:
        return _untold(number, what, survey, "no key vault with a firewall was seen")
    read = await probes.keys(closed[0].id)
    if isinstance(read, tuple):
        return _check(number, what, Status.OK, f"holds: the keys of {closed[0].id.name} were listed")
    if isinstance(read, Unread) and read.status == 403:
        fix = "the answer does not tell a firewall from a missing right: compare with an open vault (docs/assumptions.md, 5)"
        return _check(number, what, Status.FAIL, f"HTTP 403 {read.code} for the keys of {closed[0].id.name}", fix)
    return _failed(number, what, read)


async def _graph(survey: Surveyed, probes: Probes) -> Check:
    number, what = 6, "Resource Graph tells access policies"
    having = [each for each in survey.vaults if each.policies]
    if not having:
        return _untold(number, what, survey, "no key vault with access policies was seen")
    read = await probes.policies_in_graph(having[0].id)
    if isinstance(read, int):
        answer = "it does" if read == having[0].policies else "it does not, or lags"
        found = f"{answer}: {read} of {having[0].policies} of {having[0].id.name}; nothing relies on it"
        return _check(number, what, Status.OK, found)
    return _failed(number, what, read)


async def _auditor(survey: Surveyed, examined: Examined) -> Check:
    number, what = 7, "Managed HSM Crypto Auditor only reads"
    if not survey.hosts:
        return _untold(number, what, survey, "no Managed HSM was seen")
    read = await examined.managed_hsms.role_definitions(survey.hosts[0])
    if isinstance(read, Absent | Unread):
        return _failed(number, what, read)
    role = next((each for each in read if each.id.rpartition("/")[2].lower() == _AUDITOR), None)
    if role is None:
        return _untold(number, what, survey, "the Managed HSM lists no such role")
    actions = sorted(_data_actions(role))
    if any(each.lower() == _DELETES for each in actions):
        fix = "give the monitor a custom local role of the three reads instead (infra/managed-hsm-role.json)"
        return _check(number, what, Status.WARN, f"false: it may also purge deleted keys ({', '.join(actions)})", fix)
    return _check(number, what, Status.OK, f"holds: {', '.join(actions)}")


async def _suffix(survey: Surveyed, examined: Examined) -> Check:
    number, what = 8, f"Managed HSMs of this cloud are below {examined.hsm_suffix}"
    if not survey.hosts:
        return _untold(number, what, survey, "no Managed HSM was seen")
    foreign = [each for each in survey.hosts if not each.endswith(f".{examined.hsm_suffix}")]
    if foreign:
        fix = "check `KEYDRIFT_CLOUD`; where it is right, report this (docs/assumptions.md, 8)"
        return _check(number, what, Status.FAIL, f"false: {foreign[0]}", fix)
    return _check(number, what, Status.OK, f"holds: {survey.hosts[0]}")


async def _application(examined: Examined) -> Check:
    number, what = 9, f"{examined.app_name} is application {examined.app_id} in this cloud"
    if examined.settings.backup_object_id:
        return _check(number, what, Status.WARN, "not asked: `KEYDRIFT_BACKUP_OBJECT_ID` is set by hand")
    read = await examined.directory.service_principal(examined.app_id)
    match read:
        case Principal():
            named = read.name == examined.app_name
            found = f"holds: object id {read.object_id}" + ("" if named else f", called `{read.name}`")
            return _check(number, what, Status.OK, found)
        case Absent():
            fix = "check `KEYDRIFT_CLOUD`; set `KEYDRIFT_BACKUP_APP_ID` to what the tenant's enterprise applications show"
            return _check(number, what, Status.FAIL, "false, or Azure Backup was never used here: no such application", fix)
        case Unread():
            return _failed(number, what, read)


async def _some_key(vaults: Iterable[SeenVault], probes: Probes) -> ResourceId | Unread | None:
    failed: Unread | None = None
    for each in list(vaults)[:20]:
        read = await probes.keys(each.id)
        if isinstance(read, tuple) and read:
            return read[0]
        failed = read if isinstance(read, Unread) else failed
    return failed


def _data_actions(role: RoleDefinition) -> set[str]:
    return {action for block in role.permissions for action in block.data_actions}
