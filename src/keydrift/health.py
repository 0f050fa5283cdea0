"""The monitor's own health as rows (`KeyDriftHealth_CL`): one row a check, so that silence is never taken for health. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID, uuid5

from keydrift import __version__
from keydrift.alerts.row import SCHEMA_VERSION, stamp

_READINGS = UUID("6b3f0c7e-6a0f-5a35-9a3d-0a4de5c1f7d2")


class HealthCheck(StrEnum):
    """What is looked at (docs/formats.md says what `Value` counts for each)."""

    HEARTBEAT = "heartbeat"
    SWEEP = "sweep"
    WATCHLIST = "watchlist"
    DELIVERIES = "deliveries"
    REJECTED_ROWS = "rejected-rows"
    DEAD_LETTERS = "dead-letters"
    EVENT_SUBSCRIPTION = "event-subscription"
    CANARY = "canary"
    UNREAD_SOURCE = "unread-source"


class HealthStatus(StrEnum):
    """What a check came to. `unknown` where it could not be made."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReading:
    """One check at one moment. `source` names what was looked at where a check looks at several things."""

    check: HealthCheck
    status: HealthStatus
    summary: str
    source: str = ""
    remediation: str = ""
    value: float | None = None
    unit: str = ""
    counters: Mapping[str, int | float] = field(default_factory=lambda: MappingProxyType({}))


def health_row(reading: HealthReading, at: datetime, tenant_id: str | None) -> dict[str, object]:
    """Render a reading as the row that is sent. The id is the same for the same check at the same moment."""
    return {
        "TimeGenerated": stamp(at),
        "HealthId": str(uuid5(_READINGS, f"{reading.check}|{reading.source}|{stamp(at)}")),
        "SchemaVersion": SCHEMA_VERSION,
        "Check": str(reading.check),
        "Status": str(reading.status),
        "Source": reading.source,
        "Summary": reading.summary,
        "Remediation": reading.remediation,
        "Value": reading.value,
        "Unit": reading.unit,
        "Counters": dict(reading.counters),
        "EntraTenantId": tenant_id,
        "MonitorVersion": __version__,
    }
