"""The rows that the SOC queries: names and meanings are the product's interface (`KeyDriftAlerts_CL`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from keydrift import __version__
from keydrift.alerts.actor import Confidence
from keydrift.alerts.actor_lookup import actor_lookup
from keydrift.alerts.blast_radius import first_backup_at_risk, item_count, items_of, last_recovery_point, owners
from keydrift.alerts.change import Change
from keydrift.alerts.row_size import fitted
from keydrift.alerts.wording import summary, title
from keydrift.catalogue import CODES, severity_of
from keydrift.declared import ExemptionOutcome
from keydrift.drift import Alert, Kind
from keydrift.model import Finding, KeyBinding, ProofStep, ProtectedItem, State, Verdict

SCHEMA_VERSION = "1"
CAPPED_AT = 50


def stamp(at: datetime | None) -> str | None:
    """RFC 3339 UTC with milliseconds."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finding_document(finding: Finding) -> dict[str, object]:
    """A finding as it stands in rows and in scan output."""
    return {
        "code": finding.code,
        "level": "notice" if CODES[finding.code].notice else str(finding.level),
        "summary": finding.summary,
        "evidence": {k: list(v) if isinstance(v, tuple) else v for k, v in finding.evidence.items()},
        "remediation": finding.remediation,
    }


def proof_document(step: ProofStep) -> dict[str, object]:
    """A weighed grant or deny as it stands in scan output and posture rows."""
    return {
        "kind": step.kind,
        "id": step.id,
        "scope": step.scope,
        "role": step.role,
        "effect": str(step.effect),
        "permissions": list(step.permissions),
        "reason": step.reason,
    }


def exemption_document(exemption: ExemptionOutcome) -> dict[str, object] | None:
    """The exemptions that hold or, where none does, those that lapsed: joined where there are several, the first expiry shown."""
    shown = exemption.by or exemption.lapsed
    if not shown:
        return None
    return {
        "reason": "; ".join(each.justification for each in shown),
        "author": ", ".join(dict.fromkeys(each.author for each in shown)),
        "expires": stamp(min(each.expires for each in shown)),
        "lapsed": not exemption.by,
    }


def alert_row(alert: Alert, tenant_id: str | None) -> dict[str, object]:
    """Render an alert as the row that is sent; every column of the contract is present, unknown ones null."""
    verdict, explanation = alert.verdict, alert.explanation
    notice, actor = explanation.notice, explanation.actor
    effective_by = _effective_by(alert)
    first_backup = None if alert.kind is Kind.RESOLVED or alert.is_notice else first_backup_at_risk(verdict, effective_by)
    row: dict[str, object] = {
        "TimeGenerated": stamp(alert.detected_at),
        "AlertId": alert.id,
        "SchemaVersion": SCHEMA_VERSION,
        "Kind": str(alert.kind),
        "Severity": _severity(alert),
        "Verdict": str(verdict.state),
        "PreviousVerdict": str(alert.previous),
        "Sequence": alert.sequence,
        "Title": title(alert),
        "AlertTitle": title(alert),
        "Summary": summary(alert, effective_by, first_backup),
        "Change": str(alert.change) if alert.change else None,
        "Reason": alert.reason,
        **_verdict_columns(verdict),
        "DetectedVia": str(alert.via),
        "EventId": notice.event_id if notice else None,
        "EventType": notice.event_type if notice else None,
        "OperationName": notice.operation if notice else None,
        "CorrelationId": notice.correlation_id if notice else None,
        "ActorObjectId": actor.object_id if actor else None,
        "ActorName": actor.name if actor else None,
        "ActorAppId": actor.app_id if actor else None,
        "ActorIp": actor.ip if actor else None,
        "ActorConfidence": str(explanation.confidence),
        "ActorLookup": actor_lookup(alert) if explanation.confidence is Confidence.NONE else None,
        "OccurredAt": stamp(explanation.occurred_at),
        "ReceivedAt": stamp(explanation.received_at),
        "ReadAt": stamp(verdict.read_at),
        "DetectedAt": stamp(alert.detected_at),
        "EffectiveBy": stamp(effective_by),
        "OutageSeconds": None if alert.outage is None else int(alert.outage.total_seconds()),
        "FirstBackupAtRiskAt": stamp(first_backup),
        "RepairableUntil": _repairable_until(verdict),
        "BlastRadius": _radius(verdict.binding),
        "Exempted": alert.exempted,
        "ExemptionReason": alert.exemption_reason,
        "CauseKey": alert.cause_key,
        "TenantId": tenant_id,
        "EntraTenantId": tenant_id,
        "MonitorVersion": __version__,
    }
    return fitted(row)


def posture_row(
    verdict: Verdict, exemption: ExemptionOutcome, sweep_id: str, at: datetime, tenant_id: str | None
) -> dict[str, object]:
    """Render the last proof of a key binding as the row that a sweep sends."""
    row: dict[str, object] = {
        "TimeGenerated": stamp(at),
        "SchemaVersion": SCHEMA_VERSION,
        "SweepId": sweep_id,
        "Verdict": str(verdict.state),
        "Severity": severity_of(verdict.state, verdict.findings),
        "Summary": "; ".join(finding.summary for finding in verdict.findings),
        **_verdict_columns(verdict),
        "Proof": [proof_document(step) for step in verdict.proof][:CAPPED_AT],
        "ReadAt": stamp(verdict.read_at),
        "Exempted": exemption.exempted,
        "ExemptionReason": exemption.reason,
        "EntraTenantId": tenant_id,
        "MonitorVersion": __version__,
    }
    return fitted(row)


def _verdict_columns(verdict: Verdict) -> Mapping[str, object]:
    binding = verdict.binding
    store = verdict.key_store.id if verdict.key_store else binding.target.store_id
    consumers = [str(consumer.id) for consumer in binding.consumers]
    consumer_owners, store_owners = owners(binding.consumers), binding.target.ownership
    return {
        "BindingId": binding.id,
        "Scenario": str(binding.scenario),
        "FindingCodes": list(dict.fromkeys(finding.code for finding in verdict.findings)),
        "Findings": [finding_document(finding) for finding in verdict.findings],
        "Missing": list(verdict.missing),
        "Remediation": "\n".join(dict.fromkeys(f.remediation for f in verdict.findings if f.remediation)),
        "PermissionModel": str(verdict.permission_model) if verdict.permission_model else None,
        "KeyStoreId": str(store) if store else None,
        "KeyStoreName": store.name if store else binding.target.uri.store_name,
        "KeyUri": str(binding.target.uri.versionless),
        "SubscriptionId": store.subscription_id if store else None,
        "ResourceGroup": store.resource_group if store else None,
        "PrincipalObjectId": verdict.principal.object_id if verdict.principal else None,
        "PrincipalName": verdict.principal.name if verdict.principal else None,
        "Consumers": consumers[:CAPPED_AT],
        "ConsumerCount": len(consumers),
        "ConsumerOwner": consumer_owners.owner,
        "ConsumerEnvironment": consumer_owners.environment,
        "KeyStoreOwner": store_owners.owner,
        "KeyStoreEnvironment": store_owners.environment,
        "ProtectedItemCount": item_count(binding),
        "ProtectedItems": [str(item.id) for item in items_of(binding)][:CAPPED_AT],
        "LastRecoveryPointAt": stamp(last_recovery_point(binding)),
    }


def _severity(alert: Alert) -> str:
    if alert.is_notice:
        return "Medium"  # whatever the verdict (catalogue, `key-changed`): a loss has an alert of its own
    return severity_of(State.HELD if alert.kind is Kind.RESOLVED else alert.verdict.state, alert.verdict.findings)


def _effective_by(alert: Alert) -> datetime:
    """When the change bites at the latest; what goes on unchanged bites since its beginning."""
    goes_on = alert.lost_at if alert.change is Change.SAME else None
    return (alert.explanation.occurred_at or goes_on or alert.verdict.read_at) + alert.lag


def _repairable_until(verdict: Verdict) -> str | None:
    """When a soft-deleted key store is purged (`key-store-not-found`, as Azure says)."""
    dates = [finding.evidence.get("scheduledPurgeDate") for finding in verdict.findings]
    return stamp(min((datetime.fromisoformat(each) for each in dates if isinstance(each, str)), default=None))


def _radius(binding: KeyBinding) -> list[dict[str, object]]:
    """Key → consumer, through its disk encryption set → protected items → newest recovery points; both capped."""
    left = CAPPED_AT
    shown: list[dict[str, object]] = []
    for consumer in binding.consumers[:CAPPED_AT]:
        items = consumer.protected_items[:left]
        left -= len(items)
        shown.append(
            {
                "consumer": str(consumer.id),
                "through": str(consumer.through) if consumer.through else None,
                "itemCount": consumer.item_count,
                "items": [_item(each) for each in items],
            }
        )
    return shown


def _item(item: ProtectedItem) -> dict[str, object]:
    return {
        "id": str(item.id),
        "name": item.name or item.id.name,
        "lastBackupAt": stamp(item.last_backup_at),
        "lastRecoveryPointAt": stamp(item.last_recovery_point_at),
    }
