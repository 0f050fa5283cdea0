"""The columns of the product's tables, as Log Analytics types: rows, data collection rule and queries agree on these."""

from __future__ import annotations

ALERTS = "KeyDriftAlerts_CL"
POSTURE = "KeyDriftPosture_CL"
HEALTH = "KeyDriftHealth_CL"


def _columns(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


ALERT_COLUMNS: dict[str, str] = {
    **_columns("datetime", "TimeGenerated OccurredAt ReceivedAt ReadAt DetectedAt EffectiveBy"),
    **_columns("datetime", "LastRecoveryPointAt FirstBackupAtRiskAt RepairableUntil"),
    **_columns("string", "AlertId SchemaVersion Kind Severity Verdict PreviousVerdict BindingId Scenario Title AlertTitle"),
    **_columns("string", "Summary Change Reason ConsumerOwner ConsumerEnvironment KeyStoreOwner KeyStoreEnvironment"),
    **_columns("string", "Remediation PermissionModel KeyStoreId KeyStoreName KeyUri SubscriptionId ResourceGroup"),
    **_columns("string", "PrincipalObjectId PrincipalName DetectedVia EventId EventType OperationName CorrelationId"),
    **_columns("string", "ActorObjectId ActorName ActorAppId ActorIp ActorConfidence ActorLookup"),
    **_columns("string", "ExemptionReason CauseKey TenantId EntraTenantId MonitorVersion"),
    **_columns("dynamic", "FindingCodes Findings Missing Consumers ProtectedItems BlastRadius"),
    **_columns("long", "Sequence OutageSeconds"),
    **_columns("int", "ConsumerCount ProtectedItemCount"),
    **_columns("boolean", "Exempted"),
}

# One row a key binding and sweep: the last proof
POSTURE_COLUMNS: dict[str, str] = {
    **_columns("datetime", "TimeGenerated ReadAt LastRecoveryPointAt"),
    **_columns("string", "SchemaVersion SweepId BindingId Scenario Verdict Severity Summary Remediation PermissionModel"),
    **_columns("string", "KeyStoreId KeyStoreName KeyUri SubscriptionId ResourceGroup PrincipalObjectId PrincipalName"),
    **_columns("string", "ExemptionReason EntraTenantId MonitorVersion"),
    **_columns("string", "ConsumerOwner ConsumerEnvironment KeyStoreOwner KeyStoreEnvironment"),
    **_columns("dynamic", "FindingCodes Findings Missing Proof Consumers ProtectedItems"),
    **_columns("int", "ConsumerCount ProtectedItemCount"),
    **_columns("boolean", "Exempted"),
}

# One row a check of the monitor itself (docs/formats.md says which there are, and what `Value` counts)
HEALTH_COLUMNS: dict[str, str] = {
    **_columns("datetime", "TimeGenerated"),
    **_columns("string", "HealthId SchemaVersion Check Status Source Summary Remediation Unit EntraTenantId MonitorVersion"),
    **_columns("real", "Value"),
    **_columns("dynamic", "Counters"),
}

# Log Analytics reserves these names for itself (docs/adr/0006): the rows carry them, the table in a workspace cannot. The data
# collection rule drops them on the way in; `AlertTitle` and `EntraTenantId` say the same.
RESERVED = frozenset({"Title", "TenantId"})
WORKSPACE_COLUMNS: dict[str, str] = {name: kind for name, kind in ALERT_COLUMNS.items() if name not in RESERVED}
TABLES: dict[str, dict[str, str]] = {ALERTS: ALERT_COLUMNS, POSTURE: POSTURE_COLUMNS, HEALTH: HEALTH_COLUMNS}


def stream_of(table: str) -> str:
    """The stream of the data collection rule that fills a table."""
    return f"Custom-{table}"
