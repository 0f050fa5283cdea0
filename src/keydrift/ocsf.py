"""Rows as OCSF 1.5.0 events of class 2004, Detection Finding: for SIEMs and data lakes that read it (schema.ocsf.io). Pure.

`finding_info.uid` is the key binding's id, so that a scan's finding, an alert and the alert that closes it are one finding there.
`unmapped` holds what OCSF has no place for. Nothing is invented: who acted is told only where the row tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import NAMESPACE_URL, uuid5

from keydrift import __version__
from keydrift.catalogue import CODES
from keydrift.facts import Unread
from keydrift.model import State

type Row = Mapping[str, object]
type Event = dict[str, object]

OCSF_VERSION = "1.5.0"
_CLASS = 2004
_ACTIVITIES = {"opened": (1, "Create"), "changed": (2, "Update"), "resolved": (3, "Close")}
_SEVERITIES = {"Informational": 1, "Low": 2, "Medium": 3, "High": 4}
_IMPACT = {"uid": "TA0040", "name": "Impact"}
_RECOVERY = {"uid": "T1490", "name": "Inhibit System Recovery"}
_DESTRUCTION = {"uid": "T1485", "name": "Data Destruction"}
_DESTROYED = frozenset({"key-not-found", "secret-not-found", "key-store-not-found"})
# Protection against destruction that is missing: not a loss yet, and the technique nevertheless (T1490 names it)
_UNPROTECTED = frozenset({"purge-protection-off", "soft-delete-off"})
_UNMAPPED = (
    "Scenario", "Verdict", "PreviousVerdict", "FindingCodes", "Missing", "PermissionModel", "PrincipalObjectId", "PrincipalName",
    "ConsumerCount", "ProtectedItems", "ProtectedItemCount", "LastRecoveryPointAt", "FirstBackupAtRiskAt", "EffectiveBy",
    "DetectedVia", "ActorConfidence", "Reason", "Exempted", "ExemptionReason", "SchemaVersion",
)  # fmt: skip


def alert_finding(row: Row) -> Event:
    """A row of `KeyDriftAlerts_CL` as the event that creates, updates or closes its finding."""
    kind = str(row["Kind"])
    event = _finding(row, _ACTIVITIES[kind], str(row["Title"]), at=_ms(row["DetectedAt"]), closed=kind == "resolved")
    metadata = cast("Event", event["metadata"])
    metadata |= _present(uid=row["AlertId"], sequence=row["Sequence"], correlation_uid=row["CauseKey"])
    event |= _present(start_time=_ms(row.get("OccurredAt")), duration=_times(row.get("OutageSeconds"), 1000))
    change = _change(row)
    if change:
        event["evidences"] = [change, *cast("list[Event]", event.get("evidences", []))]
    return event


def scan_finding(row: Row) -> Event:
    """A row of `KeyDriftPosture_CL` that has findings as the event that creates its finding; a scan knows nothing of earlier."""
    codes = cast("Sequence[str]", row["FindingCodes"])
    title = f"{CODES[codes[0]].title}: {_named(row)}"
    return _finding(row, _ACTIVITIES["opened"], title, at=_ms(row["TimeGenerated"]), closed=False)


def unread_finding(unread: Unread, at: datetime, tenant_id: str | None) -> Event:
    """A source that could not be read: a key binding may hide there, or a verdict be unknown because of it."""
    status = f"HTTP {unread.status} {unread.code}" if unread.status else unread.code
    source = str(uuid5(NAMESPACE_URL, f"https://schemas.keydrift/unread/{unread.source}"))
    return {
        **_head(_ACTIVITIES["opened"], _epoch_ms(at), "Medium", tenant_id),
        "status_id": 1,
        "status": "New",
        "message": f"could not read {unread.source}: {status}",
        "cloud": {"provider": "Azure"},
        "finding_info": {
            "uid": source,
            "title": f"{CODES['facts-unreadable'].title}: {unread.source}",
            "desc": f"could not read {unread.source}: {status}",
            "types": ["facts-unreadable"],
            "analytic": _analytic("facts-unreadable"),
        },
        "remediation": {"desc": unread.repair or "look at the function app's log for the error"},
        "evidences": [
            {"name": "facts-unreadable", "data": {"source": unread.source, "status": unread.status, "code": unread.code}}
        ],
    }


def _finding(row: Row, activity: tuple[int, str], title: str, *, at: int | None, closed: bool) -> Event:
    codes = list(dict.fromkeys(cast("Sequence[str]", row["FindingCodes"])))
    status = (4, "Resolved") if closed else (3, "Suppressed") if row["Exempted"] else (1, "New")
    subscription, tenant = row["SubscriptionId"], cast("str | None", row.get("EntraTenantId"))
    account = {"uid": subscription, "name": subscription, "type_id": 99, "type": "Azure Subscription"} if subscription else None
    info = _present(
        uid=row["BindingId"],
        title=title,
        desc=row["Summary"] or title,
        types=codes,
        analytic=_analytic(codes[0] if codes else None),
        last_seen_time=_ms(row["ReadAt"]),
        attacks=[] if closed else _attacks(str(row["Verdict"]), codes),
    )
    return {
        **_head(activity, at, str(row["Severity"]), tenant),
        "status_id": status[0],
        "status": status[1],
        "is_alert": not closed and not row["Exempted"],
        "message": row["Summary"] or title,
        "cloud": _present(provider="Azure", account=account, org={"uid": tenant} if tenant else None),
        "finding_info": info,
        "resources": _resources(row),
        **_present(
            remediation={"desc": row["Remediation"]} if row["Remediation"] else None,
            evidences=[_evidence(each) for each in cast("Sequence[Row]", row["Findings"])],
        ),
        "unmapped": {name: row[name] for name in _UNMAPPED if row.get(name) not in (None, [], "")},
    }


def _head(activity: tuple[int, str], at: int | None, severity: str, tenant_id: str | None) -> Event:
    return {
        "activity_id": activity[0],
        "activity_name": activity[1],
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity[0],
        "type_name": f"Detection Finding: {activity[1]}",
        "time": at,
        "severity_id": _SEVERITIES[severity],
        "severity": severity,
        "metadata": _present(
            version=OCSF_VERSION,
            product={"name": "keydrift", "vendor_name": "keydrift", "version": __version__},
            profiles=["cloud"],
            tenant_uid=tenant_id,
        ),
    }


def _analytic(code: str | None) -> Event | None:
    return {"uid": code, "name": CODES[code].title, "type_id": 1, "type": "Rule"} if code in CODES else None


def _attacks(verdict: str, codes: Sequence[str]) -> list[Event]:
    """MITRE ATT&CK, where it fits: a lost key keeps backups from being restored, whoever or whatever took it away."""
    fitting = [_DESTRUCTION] if _DESTROYED.intersection(codes) else []
    if verdict == State.LOST or _UNPROTECTED.intersection(codes):
        fitting.append(_RECOVERY)
    return [{"technique": technique, "tactic": _IMPACT} for technique in fitting]


def _resources(row: Row) -> list[Event]:
    """The key and its store, then what needs them."""
    key, store = cast("str", row["KeyUri"]), cast("str | None", row["KeyStoreId"])
    group = {"name": row["ResourceGroup"], "type": "resource group"} if row["ResourceGroup"] else None
    name = str(row["KeyStoreName"])
    needed = [
        _present(uid=key, name=key.rpartition("/")[2], type="secret" if "/secrets/" in key else "key"),
        _present(uid=store, name=name, type=_type(store) if store else "key store", group=group),
    ]
    consumers = cast("Sequence[str]", row["Consumers"])
    return needed + [_present(uid=c, name=c.rpartition("/")[2], type=_type(c), labels=["consumer"]) for c in consumers]


def _evidence(finding: Row) -> Event:
    data = {name: finding[name] for name in ("level", "summary", "evidence", "remediation") if finding.get(name)}
    return {"name": finding["code"], "data": data}


def _change(row: Row) -> Event | None:
    """Who made the change that explains the alert, by which operation, from where; None where no event is known."""
    user = _present(uid=row["ActorObjectId"], name=row["ActorName"])
    actor = _present(user=user, app_uid=row["ActorAppId"])
    operation = row["OperationName"]
    if not actor and not operation:
        return None
    api = _present(operation=operation, request={"uid": row["CorrelationId"]} if row["CorrelationId"] else None)
    data = _present(event_id=row["EventId"], event_type=row["EventType"], confidence=row["ActorConfidence"])
    source = {"ip": row["ActorIp"]} if row["ActorIp"] else None
    return _present(name="change", actor=actor, api=api if operation else None, src_endpoint=source, data=data)


def _named(row: Row) -> str:
    key = str(row["KeyUri"])
    return f"{'secret' if '/secrets/' in key else 'key'} {key.rpartition('/')[2]} in {row['KeyStoreName']}"


def _type(resource_id: str) -> str:
    parts = resource_id.rpartition("/providers/")[2].split("/")
    return "/".join((parts[0], *parts[1::2]))


def _present(**members: object) -> Event:
    return {name: value for name, value in members.items() if value is not None and value not in ("", [], {})}


def _times(value: object, factor: int) -> int | None:
    return int(value) * factor if isinstance(value, int | float) else None


def _ms(stamped: object) -> int | None:
    return _epoch_ms(datetime.fromisoformat(stamped)) if isinstance(stamped, str) else None


def _epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
