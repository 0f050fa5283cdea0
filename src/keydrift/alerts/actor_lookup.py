"""The KQL that looks up who did it, where no event named anybody: the activity log, and the key store's own audit log. Pure.

Written for the tables AzureActivity and AzureDiagnostics (learn.microsoft.com/azure/azure-monitor/reference/tables/). Ids are
compared whole, or with the slash that follows them: never a part of a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from keydrift.alerts.actor import LAG
from keydrift.catalogue import CODES
from keydrift.drift import Alert, Kind
from keydrift.model import AppIdentity, KeyBinding
from keydrift.resource_id import ResourceId

# Where it is not known when it was seen otherwise
LOOK_BACK = timedelta(days=1)
_MOST_CONSUMERS = 5
_EVERY_CHANGE = ("microsoft.authorization/", "microsoft.keyvault/", "microsoft.managedidentity/")


def actor_lookup(alert: Alert) -> str:
    """One query that runs as it stands in a workspace that has either log."""
    binding = alert.verdict.binding
    until = alert.detected_at.astimezone(UTC)
    since = (alert.sought_since or until - LOOK_BACK).astimezone(UTC) - LAG
    between = f"TimeGenerated between (datetime({_time(since)}) .. datetime({_time(until + LAG)}))"
    store = alert.verdict.key_store.id if alert.verdict.key_store else binding.target.store_id
    return "\n".join(
        [
            "union isfuzzy=true",
            "(AzureActivity",
            f"| where {between}",
            f"| where {_operations(alert)}",
            f"| where {_changed(binding, store)}",
            "| project TimeGenerated, Operation = OperationNameValue, Who = Caller, Ip = CallerIpAddress, On = _ResourceId,"
            " CorrelationId),",
            "(AzureDiagnostics",
            f"| where {between}",
            f"| where ResourceProvider =~ 'MICROSOFT.KEYVAULT' and ResourceId =~ {_text(str(store or ''))}",
            "| where OperationName !endswith 'Get' and OperationName !endswith 'List' and OperationName != 'Authentication'",
            "| project TimeGenerated, Operation = OperationName,"
            f" Who = coalesce({_column('identity_claim_http_schemas_xmlsoap_org_ws_2005_05_identity_claims_upn_s')},"
            f" {_column('identity_claim_appid_g')}), Ip = CallerIPAddress, On = ResourceId, CorrelationId)",
            "| order by TimeGenerated asc",
        ]
    )


def _operations(alert: Alert) -> str:
    """The operations that the catalogue names for the findings; every change of rights and key stores where it names none."""
    resolved = alert.kind is Kind.RESOLVED
    codes = [CODES[finding.code] for finding in alert.verdict.findings]
    named = sorted({each for code in codes for each in code.causes if each.count("/") > 1})
    if resolved or not named:
        return " or ".join(f"OperationNameValue startswith {_text(each)}" for each in _EVERY_CHANGE)
    return f"OperationNameValue in~ ({', '.join(map(_text, named))})"


def _changed(binding: KeyBinding, store: ResourceId | None) -> str:
    """At the key store, below it, in role assignments and definitions above it, or at what uses the key."""
    changed = "_ResourceId"
    terms: list[str] = []
    for resource in _resources(binding, store):
        terms += [f"{changed} =~ {_text(str(resource))}", f"{changed} startswith {_text(f'{resource}/')}"]
    if store is not None and store.subscription_id:
        subscription = f"/subscriptions/{store.subscription_id}"
        above = [subscription] + ([f"{subscription}/resourceGroups/{store.resource_group}"] if store.resource_group else [])
        terms += [f"{changed} startswith {_text(f'{scope}/providers/Microsoft.Authorization/')}" for scope in above]
        terms += [f"{changed} =~ {_text(scope)}" for scope in above]
    terms.append(f"{changed} startswith '/providers/Microsoft.Management/managementGroups/'")
    return " or ".join(terms)


def _resources(binding: KeyBinding, store: ResourceId | None) -> Iterable[ResourceId]:
    identity = binding.identity
    owner = [] if isinstance(identity, AppIdentity) else [identity.resource_id, identity.user_assigned]
    consumers = [consumer.id for consumer in binding.consumers[:_MOST_CONSUMERS]]
    return dict.fromkeys(each for each in (store, *owner, *consumers) if each is not None)


def _column(name: str) -> str:
    """A column that a workspace's table has only once somebody's record did."""
    return f"tostring(column_ifexists({_text(name)}, ''))"


def _text(value: str) -> str:
    """A KQL string literal; its escapes are those of JSON."""
    return json.dumps(value)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
