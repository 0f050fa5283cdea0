"""Can alerts reach Log Analytics? A token answers half of it; one marked row answers it all."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from keydrift import __version__
from keydrift.alerts.row import SCHEMA_VERSION, stamp
from keydrift.doctor.facts import Caller, Check, Status, of_unread
from keydrift.facts import Read, Unread
from keydrift.ports import Clock, DeliveryError, RowSink
from keydrift.settings import Settings
from keydrift.tables import ALERT_COLUMNS

_NAME = "Log Analytics"
_EMPTY: dict[str, object] = {"dynamic": [], "int": 0, "boolean": False}


async def check_log_analytics(
    settings: Settings, token: Read[Caller], sink: RowSink, clock: Clock, *, send_test: bool
) -> tuple[Check, ...]:
    """One check. Without `send_test` nothing is sent, and what the rule would say to a row stays open."""
    name = f"{_NAME} {settings.dcr_endpoint or ''}".strip()
    if not settings.dcr_endpoint or not settings.dcr_rule_id:
        fix = "set `KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID` (infra/README.md)"
        return (Check(name=name, status=Status.FAIL, found="not set: alerts wait in the state store", fix=fix),)
    if isinstance(token, Unread):
        return (of_unread(name, token),)
    if not send_test:
        fix = "`keydrift doctor --send-test` sends a marked row"
        return (Check(name=name, status=Status.OK, found="a token; no row was sent", fix=fix),)
    try:
        await sink.send([test_row(clock.now(), settings.tenant_id)])
    except DeliveryError as error:
        found, _, fix = str(error).partition(": ")
        return (Check(name=name, status=Status.FAIL, found=found, fix=fix or str(error)),)
    return (Check(name=name, status=Status.OK, found=f"a test row was accepted by `{settings.alert_stream}`"),)


def test_row(now: datetime, tenant_id: str | None) -> dict[str, object]:
    """A row of `KeyDriftAlerts_CL` with every column, which says of itself that it is a test. Its ids are never used again."""
    unique = uuid4()
    empty = {name: _EMPTY.get(kind) for name, kind in ALERT_COLUMNS.items()}
    return empty | {
        "TimeGenerated": stamp(now),
        "DetectedAt": stamp(now),
        "AlertId": str(unique),
        "BindingId": f"keydrift-doctor/{unique}",
        "SchemaVersion": SCHEMA_VERSION,
        "Kind": "opened",
        "Severity": "Informational",
        "Verdict": "held",
        "PreviousVerdict": "held",
        "Sequence": int(now.timestamp()),
        "Title": "Test of keydrift doctor",
        "AlertTitle": "Test of keydrift doctor",
        "Summary": "This is a test sent by `keydrift doctor --send-test`: no key is endangered",
        "Reason": "test",
        "DetectedVia": "manual",
        "ActorConfidence": "none",
        "CauseKey": f"keydrift-doctor/{unique}",
        "TenantId": tenant_id,
        "EntraTenantId": tenant_id,
        "MonitorVersion": __version__,
    }
