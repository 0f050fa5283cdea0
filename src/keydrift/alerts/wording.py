"""What an analyst reads first: a title, and a summary of two sentences. Pure.

The first sentence says what was lost by whom and which backups are in danger, the second who did it (or that nobody is known) and
by when it bites.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keydrift.alerts.actor import Confidence
from keydrift.alerts.blast_radius import item_count, items_of, last_recovery_point
from keydrift.alerts.change import Change
from keydrift.alerts.flapping import CALMED, FLAPPING
from keydrift.alerts.reminder import REMINDER
from keydrift.catalogue import CODES
from keydrift.drift import RETIRED, Alert, Kind
from keydrift.model import Actor, KeyBinding, ResourceIdentity, Scenario, State, Verdict

_OWNERS = {
    Scenario.BACKUP_VAULT_CMK: "backup vault",
    Scenario.RSV_CMK: "Recovery Services vault",
    Scenario.CVM_DES: "disk encryption set",
}
_NAMED = 3


def title(alert: Alert) -> str:
    """One line for a list of incidents."""
    key = key_name(alert.verdict)
    if alert.reason == RETIRED:
        return f"Nothing needs {key} any more"
    if alert.kind is Kind.RESOLVED:
        return f"Azure Backup can use {key} again"
    findings = alert.verdict.findings
    what = f"{CODES[findings[0].code].title}: {key}" if findings else key
    prefix = {REMINDER: "Still lost", FLAPPING: "Flapping", CALMED: "No longer flapping"}.get(alert.reason or "")
    return f"{prefix}: {what}" if prefix else what


def summary(alert: Alert, effective_by: datetime, first_backup: datetime | None) -> str:
    """Two sentences to act on. `effective_by` is when the change bites at the latest, `first_backup` when the first backup would
    fail, if that can be told."""
    if alert.reason == RETIRED:
        was = f"nothing needs {key_name(alert.verdict)} any more, which was {_said(alert.previous)} (retired)"
        return _sentences(was, "no backup depends on it, so there is nothing to repair")
    return _sentences(_what(alert), _who_and_when(alert, effective_by, first_backup))


def key_name(verdict: Verdict) -> str:
    """The key or secret and its key store."""
    uri = verdict.binding.target.uri
    word = "key" if uri.kind == "keys" else "secret"
    return f"{word} {uri.object_name} in {uri.store_name}"


def _sentences(*parts: str) -> str:
    return " ".join(f"{part[:1].upper()}{part[1:].rstrip('. ')}." for part in parts)


def _said(state: State) -> str:
    return "at risk" if state is State.AT_RISK else str(state)


def _what(alert: Alert) -> str:
    verdict, key = alert.verdict, key_name(alert.verdict)
    whose = _principal(verdict)
    if alert.kind is Kind.RESOLVED:
        after = f" after {_length(alert.outage)} without it" if alert.outage else ""
        return f"{whose} can use {key} again{after}{_flapped(alert)}; it guards {_guarded(verdict.binding)}"
    said = _found(verdict)
    danger = _guarded(verdict.binding)
    if alert.is_notice:
        return f"{said}; the key guards {danger}"
    match verdict.state:
        case State.LOST:
            still = f" has been unable to use {key} since {_clock(alert.lost_at)}" if _goes_on(alert) else f" cannot use {key}"
            return f"{whose}{still}{_flapped(alert)}: {said}; in danger: {danger}"
        case State.UNKNOWN:
            return f"keydrift cannot tell whether {whose} can use {key}{_flapped(alert)}: {said}; possibly in danger: {danger}"
        case _:
            better = "again, though not safely" if alert.previous is State.LOST else "still, though not safely"
            return f"{whose} can use {key} {better}{_flapped(alert)}: {said}; at risk: {danger}"


def _who_and_when(alert: Alert, effective_by: datetime, first_backup: datetime | None) -> str:
    return f"{_who(alert)}; {_when(alert, effective_by, first_backup)}"


def _who(alert: Alert) -> str:
    explanation = alert.explanation
    actor, at = explanation.actor, explanation.occurred_at
    if explanation.confidence is Confidence.NONE or actor is None:
        if alert.reason in (REMINDER, CALMED):
            return "who did it stands in the earlier alerts of the same CauseKey"
        seen = f"a change was seen at {_clock(at)}, but " if at is not None else ""
        return f"{seen}nobody is named: the query in ActorLookup looks in the activity and audit logs"
    done = "repaired" if alert.kind is Kind.RESOLVED else "changed"
    sure = "" if explanation.confidence is Confidence.CERTAIN else "probably "
    return f"{sure}{done} by {_person(actor)} at {_clock(at)}"


def _person(actor: Actor) -> str:
    named = actor.name or (f"object {actor.object_id}" if actor.object_id else f"application {actor.app_id}")
    return named + (f" from {actor.ip}" if actor.ip else "")


def _when(alert: Alert, effective_by: datetime, first_backup: datetime | None) -> str:
    if alert.reason == FLAPPING:
        return "further changes of no higher severity are held back until it keeps one state"
    if alert.kind is Kind.RESOLVED:
        return f"usable by {_clock(effective_by)} at the latest"
    if alert.is_notice:
        return "whether the new key may be used stands in Verdict"
    match alert.verdict.state:
        case State.LOST:
            due = f", and a daily backup would fail first at {_clock(first_backup)}" if first_backup else ""
            return f"it bites by {_clock(effective_by)}{due}"
        case State.UNKNOWN:
            return "until it can be read nobody knows whether backups succeed"
        case _:
            ending = any(CODES[finding.code].by_itself for finding in alert.verdict.findings)
            return "it gets lost with time alone" if ending else "nothing is lost yet"


def _goes_on(alert: Alert) -> bool:
    return alert.lost_at is not None and alert.change is Change.SAME


def _flapped(alert: Alert) -> str:
    return f" (lost or endangered and well again {alert.ends} times)" if alert.ends else ""


def _found(verdict: Verdict) -> str:
    # One sentence, whatever the finding says
    first, *others = [finding.summary.rstrip(".").replace(". ", "; ") for finding in verdict.findings] or ["no finding"]
    return first + (f" (and {len(others)} more findings)" if len(others) > 1 else " (and 1 more finding)" if others else "")


def _principal(verdict: Verdict) -> str:
    binding = verdict.binding
    if isinstance(binding.identity, ResourceIdentity):
        return f"the identity of {_OWNERS.get(binding.scenario, 'resource')} {binding.identity.resource_id.name}"
    name = verdict.principal.name if verdict.principal else None
    return name or "the Backup Management Service"


def _guarded(binding: KeyBinding) -> str:
    """Which backups, and how old the newest recovery point is."""
    count = item_count(binding)
    named = [item.name or item.id.name for item in items_of(binding)]
    if binding.scenario not in (Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK):
        named = [consumer.id.name for consumer in binding.consumers]
        count = len(named)
    if not count:
        return "no protected item that is known"
    more = count - len(named[:_NAMED])
    shown = ", ".join(named[:_NAMED]) + (f" and {more} more" if more else "")
    newest = last_recovery_point(binding)
    point = f"newest recovery point {_clock(newest)}" if newest else "recovery points not shown"
    return f"{count} backup item{'' if count == 1 else 's'} ({shown}; {point})"


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


def _length(span: timedelta) -> str:
    """A span in its two largest units."""
    seconds = int(span.total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts: list[str] = []
    for size, unit in units:
        amount, seconds = divmod(seconds, size)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "less than a second"
