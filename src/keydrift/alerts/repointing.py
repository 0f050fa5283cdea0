"""A consumer names another key now: one notice, whatever the new key's verdict (catalogue, `key-changed`). Pure.

The key binding of the new key tells it. INVARIANT (told once): a record remembers until when it has told, so that the notice
comes once for each time that a consumer is pointed elsewhere, and again when it is pointed back.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

from keydrift.access.finding import finding
from keydrift.access.remedies import point_back
from keydrift.alerts.actor import Explanation, Heard, explain, fitting_operations
from keydrift.alerts.record import BindingRecord
from keydrift.drift import Alert, Kind, Moment, alert_id
from keydrift.model import Consumer, Finding, KeyBinding, Repointing, ResourceIdentity, Scenario, Verdict

KEY_CHANGED = "key-changed"
_CAUSES = UUID("0b3a1c55-5d0b-5f43-8f2e-7d1f3b0c9a61")
_OF_MACHINES = frozenset({Scenario.CVM_CMK, Scenario.CVM_DES})
_ENCRYPTION_SET = "microsoft.compute/diskencryptionsets"


def tell_repointing(last: BindingRecord, verdict: Verdict, at: Moment) -> tuple[BindingRecord, Alert | None]:
    """The notice of the consumers that were pointed at this key since the record told last, and the record that remembers it."""
    fresh = [(c, c.repointed) for c in verdict.binding.consumers if c.repointed is not None and _is_news(last, c.repointed)]
    if not fresh:
        return last, None
    explanation = _explained(verdict.binding, [consumer for consumer, _ in fresh], at, last)
    sequence = last.sequence + 1
    notice = Alert(
        id=alert_id(last.binding_id, sequence),
        kind=Kind.CHANGED,
        sequence=sequence,
        verdict=replace(verdict, findings=(_finding(verdict.binding, fresh), *verdict.findings)),
        previous=last.state,
        via=at.via,
        detected_at=at.now,
        cause_key=_cause_key(verdict.binding, fresh[0][1], explanation),
        explanation=explanation,
        is_notice=True,
    )
    return replace(last, sequence=sequence, told_until=max(each.at for _, each in fresh)), notice


def _is_news(last: BindingRecord, repointed: Repointing) -> bool:
    return last.told_until is None or repointed.at > last.told_until


def _finding(binding: KeyBinding, fresh: list[tuple[Consumer, Repointing]]) -> Finding:
    consumer, repointed = fresh[0]
    others = f" and {len(fresh) - 1} more" if len(fresh) > 1 else ""
    word = "key" if binding.target.uri.kind == "keys" else "secret"
    return finding(
        KEY_CHANGED,
        binding,
        f"{consumer.id.name}{others} used {word} {repointed.previous} and now uses {binding.target.uri.versionless}",
        {
            "consumers": tuple(str(each.id) for each, _ in fresh),
            "previousKey": str(repointed.previous),
            "key": str(binding.target.uri.versionless),
        },
        point_back(binding, consumer, repointed.previous),
    )


def _explained(binding: KeyBinding, consumers: list[Consumer], at: Moment, last: BindingRecord) -> Explanation:
    """Who pointed them elsewhere: a change of one of these consumers, or of the disk encryption set that stands behind them."""
    owner = binding.identity.resource_id if isinstance(binding.identity, ResourceIdentity) else None
    concerned = [consumer.id for consumer in consumers] + ([owner] if owner else [])

    def concerns(heard: Heard) -> bool:
        changed = heard.notice.resource_id
        behind = binding.scenario in _OF_MACHINES and changed.resource_type == _ENCRYPTION_SET
        return behind or any(changed.contains(each) for each in concerned)

    heard = tuple(each for each in at.heard if concerns(each))
    return explain(
        fitting_operations(begun={KEY_CHANGED}), heard, after=None, before=at.now, explained_until=last.explained_until
    )


def _cause_key(binding: KeyBinding, repointed: Repointing, explanation: Explanation) -> str:
    notice = explanation.notice
    if notice is not None:
        cause = f"change|{notice.resource_id.key}|{notice.correlation_id or notice.event_id}"
    else:
        cause = f"repointed|{repointed.previous}|{binding.target.uri.versionless}"
    return str(uuid5(_CAUSES, cause))
