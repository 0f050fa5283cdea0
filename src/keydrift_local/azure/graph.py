"""Microsoft Graph v1.0: service principals, their groups, groups. A managed identity is a service principal, listed or not."""

from __future__ import annotations

import re
import uuid

from keydrift.resource_id import ResourceId
from keydrift_local.azure.messages import Answer, Call, page
from keydrift_local.documents import JsonObject, text
from keydrift_local.membership import groups_of
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import Entry, Section

_BY_APP_ID = re.compile(r"serviceprincipals\(appid='([^']*)'\)", re.IGNORECASE)
_APP_ID_IS = re.compile(r"appId\s+eq\s+'([^']*)'", re.IGNORECASE)
_GROUP_CAST = "microsoft.graph.group"


def answer(call: Call, tenant: Tenant, page_size: int) -> Answer:
    """What Graph answers; the token has been checked."""
    if call.method != "GET":
        return graph_error(405, "Request_BadRequest", f"The simulated tenant answers GET only, not {call.method}.")
    if call.segments[:1] != ("v1.0",):
        return graph_error(400, "BadRequest", "Resource not found for the segment: only v1.0 is simulated.")
    parts, segments = call.parts[1:], call.segments[1:]
    keyed = _BY_APP_ID.fullmatch(parts[0]) if parts else None
    if keyed is not None:
        found, asked, rest = _by_app_id(tenant, keyed[1]), keyed[1], segments[1:]
    elif segments[:1] == ("serviceprincipals",) and len(parts) == 1:
        return _search(call, tenant, page_size)
    elif len(parts) >= 2 and segments[0] in ("serviceprincipals", "groups"):
        read = _service_principal if segments[0] == "serviceprincipals" else _group
        found, asked, rest = read(tenant, parts[1]), parts[1], segments[2:]
    else:
        return graph_error(400, "BadRequest", f"Resource not found for the segment '{parts[0] if parts else ''}'.")
    if found is None:
        return _missing(asked)
    if not rest:
        return Answer(body=_selected(call, found, "$entity"))
    if rest[0] == "transitivememberof" and rest[1:] in ((), (_GROUP_CAST,)):
        kind: JsonObject = {} if rest[1:] else {"@odata.type": "#microsoft.graph.group"}
        groups = groups_of(tenant, str(found["id"]))
        return page(
            call, groups, page_size, lambda entry: kind | _selected(call, _shown_group(entry), None), link="@odata.nextLink"
        )
    return graph_error(400, "BadRequest", f"Resource not found for the segment '{rest[0]}'.")


def graph_error(status: int, code: str, message: str) -> Answer:
    """Graph's error body, whose inner error names the request."""
    inner: JsonObject = {"request-id": str(uuid.uuid4()), "client-request-id": str(uuid.uuid4())}
    return Answer(status=status, body={"error": {"code": code, "message": message, "innerError": inner}})


def _search(call: Call, tenant: Tenant, page_size: int) -> Answer:
    expression = call.options.get("$filter")
    found = [_shown_principal(entry.body) for entry in tenant.every(Section.SERVICE_PRINCIPALS)]
    found += [
        _implicit(object_id, owner)
        for object_id, owner in tenant.managed_identities().items()
        if _listed(tenant, object_id) is None
    ]
    if expression is not None:
        wanted = _APP_ID_IS.fullmatch(expression.strip())
        if wanted is None:
            return graph_error(400, "Request_UnsupportedQuery", f"Unsupported filter: {expression}")
        found = [each for each in found if str(each.get("appId", "")).lower() == wanted[1].lower()]
    return page(call, found, page_size, lambda each: _selected(call, each, None), link="@odata.nextLink")


def _by_app_id(tenant: Tenant, app_id: str) -> JsonObject | None:
    for entry in tenant.every(Section.SERVICE_PRINCIPALS):
        if (text(entry.body, "appId") or "").lower() == app_id.lower():
            return _shown_principal(entry.body)
    for object_id, owner in tenant.managed_identities().items():
        implicit = _implicit(object_id, owner)
        if str(implicit["appId"]).lower() == app_id.lower() and _listed(tenant, object_id) is None:
            return implicit
    return None


def _service_principal(tenant: Tenant, object_id: str) -> JsonObject | None:
    listed = _listed(tenant, object_id)
    if listed is not None:
        return _shown_principal(listed.body)
    owner = tenant.index.owner_of(object_id)
    return _implicit(object_id.lower(), owner) if owner is not None else None


def _listed(tenant: Tenant, object_id: str) -> Entry | None:
    return tenant.find(Section.SERVICE_PRINCIPALS, ResourceId.parse(f"/directory/servicePrincipals/{object_id}"))


def _group(tenant: Tenant, object_id: str) -> JsonObject | None:
    entry = tenant.find(Section.GROUPS, ResourceId.parse(f"/directory/groups/{object_id}"))
    return _shown_group(entry) if entry is not None else None


def _shown_principal(body: JsonObject) -> JsonObject:
    return {"accountEnabled": True, "displayName": None, "servicePrincipalType": "Application", **body}


def _shown_group(entry: Entry) -> JsonObject:
    shown: JsonObject = {
        "id": entry.id.name,
        "displayName": None,
        "groupTypes": [],
        "mailEnabled": False,
        "securityEnabled": True,
    }
    return shown | {name: value for name, value in entry.body.items() if name != "members"}


def _implicit(object_id: str, owner: Entry) -> JsonObject:
    stated = text(owner.body, "properties", "clientId") if text(owner.body, "properties", "principalId") else None
    return {
        "id": object_id,
        "appId": stated or str(uuid.uuid5(uuid.NAMESPACE_OID, object_id)),
        "displayName": owner.id.name,
        "accountEnabled": True,
        "servicePrincipalType": "ManagedIdentity",
        "appOwnerOrganizationId": None,
        "alternativeNames": [f"isExplicit={'identity' not in owner.body}", str(owner.id)],
    }


def _selected(call: Call, body: JsonObject, context: str | None) -> JsonObject:
    wanted = [each.strip() for each in call.options.get("$select", "").split(",") if each.strip()]
    shown = {name: value for name, value in body.items() if not wanted or name in wanted}
    if context is None:
        return shown
    return {"@odata.context": f"https://{call.host}/v1.0/$metadata#{call.parts[1].split('(')[0]}/{context}", **shown}


def _missing(asked: str) -> Answer:
    return graph_error(
        404,
        "Request_ResourceNotFound",
        f"Resource '{asked}' does not exist or one of its queried reference-property objects are not present.",
    )
