"""Event Grid's part: which system topics exist, what their event subscriptions let through, and in which schema it arrives.

Source: Event Grid `event-filtering` and `system-topics`. String comparison ignores letter case; filters are joined by *and*.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from keydrift.errors import ConfigError
from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, items, member, members, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import SYSTEM_TOPIC, Entry

CLOUD_EVENTS = "CloudEventSchemaV1_0"
_SUBSCRIPTION = f"{SYSTEM_TOPIC}/eventsubscriptions"
_DIRECT_SUBSCRIPTION = "microsoft.eventgrid/eventsubscriptions"

_TESTS: dict[str, Callable[[str, str], bool]] = {
    "In": lambda value, wanted: value == wanted,
    "BeginsWith": lambda value, wanted: value.startswith(wanted),
    "EndsWith": lambda value, wanted: value.endswith(wanted),
    "Contains": lambda value, wanted: wanted in value,
}


def delivered(tenant: Tenant, event: JsonObject) -> list[JsonObject]:
    """The event as each matching subscription receives it; itself where the tenant says nothing about Event Grid."""
    if not tenant.uses_event_grid:
        return [event]
    source = ResourceId.parse(text(event, "topic") or "/")
    arrived = []
    for subscription in _subscriptions_to(tenant, source):
        schema = text(subscription.body, "properties", "eventDeliverySchema")
        shaped = as_cloud_event(event) if schema and schema.lower() == CLOUD_EVENTS.lower() else event
        if _lets_through(subscription, event):
            arrived.append(shaped)
    return arrived


def as_cloud_event(event: JsonObject) -> JsonObject:
    """The CloudEvents 1.0 form of an Event Grid schema event."""
    return {
        "id": event["id"],
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "data": event["data"],
        "specversion": "1.0",
    }


def leave_dead_letter(folder: Path, event: object, attempts: int, at: datetime) -> Path:
    """Write an event that was given up as Event Grid does: an array in a blob of its own, with the reason beside the event.

    Source: learn.microsoft.com/azure/event-grid/delivery-and-retry and …/manage-event-delivery. CloudEvents: lower-case members.
    """
    told: JsonObject = {
        "deadLetterReason": "MaxDeliveryAttemptsExceeded",
        "deliveryAttempts": attempts,
        "lastDeliveryOutcome": "GenericError",
        "publishTime": at.isoformat(),
        "lastDeliveryAttemptTime": at.isoformat(),
    }
    if isinstance(event, Mapping) and "specversion" in event:
        told = {name.lower(): value for name, value in told.items()}
    path = folder / "KEYDRIFT" / f"{at.year}/{at.month}/{at.day}/{at.hour}" / f"{uuid4()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**event, **told} if isinstance(event, Mapping) else event]), encoding="utf-8")
    return path


def _subscriptions_to(tenant: Tenant, source: ResourceId) -> list[Entry]:
    topics = [
        entry
        for entry in tenant.index.of_type(SYSTEM_TOPIC)
        if ResourceId.parse(text(entry.body, "properties", "source") or "/") == source
    ]
    found = [each for topic in topics for each in tenant.index.resources_in(topic.id, _SUBSCRIPTION)]
    found += [
        entry for entry in tenant.index.of_type(_DIRECT_SUBSCRIPTION) if entry.id.extension_scope(_DIRECT_SUBSCRIPTION) == source
    ]
    return found


def _lets_through(subscription: Entry, event: JsonObject) -> bool:
    rules = members(subscription.body, "properties", "filter")
    types = [str(each).lower() for each in items(rules, "includedEventTypes")]
    if types and str(event["eventType"]).lower() not in types and "all" not in types:
        return False
    sensitive = member(rules, "isSubjectCaseSensitive") is True
    subject, begins, ends = (
        each if sensitive else each.lower()
        for each in (str(event["subject"]), text(rules, "subjectBeginsWith") or "", text(rules, "subjectEndsWith") or "")
    )
    if not (subject.startswith(begins) and subject.endswith(ends)):
        return False
    return all(_advanced(subscription, each, event) for each in items(rules, "advancedFilters"))


def _advanced(subscription: Entry, rule: object, event: JsonObject) -> bool:
    operator = text(rule, "operatorType") or ""
    negated = operator.startswith("StringNot")
    test = _TESTS.get(operator.removeprefix("StringNot" if negated else "String"))
    if test is None or not operator.startswith("String"):
        raise ConfigError(f"{subscription.id}: advanced filter `{operator}` is not simulated; use a String… operator")
    value = _value(event, text(rule, "key") or "")
    matched = value is not None and any(test(value.lower(), str(each).lower()) for each in items(rule, "values"))
    # A missing key passes the negated operators and fails the others.
    return not matched if negated else matched


def _value(event: JsonObject, key: str) -> str | None:
    found: object = event | {"type": event["eventType"], "source": event["topic"]}
    for step in key.split("."):
        if not isinstance(found, Mapping):
            return None
        found = next((value for name, value in found.items() if str(name).lower() == step.lower()), None)
    return None if found is None or isinstance(found, (Mapping, list)) else str(found)
