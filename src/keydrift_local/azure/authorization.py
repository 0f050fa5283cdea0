"""Microsoft.Authorization: role assignments, role definitions, deny assignments, schedule instances, with their filters.

Semantics: `role-assignments-list-rest`. A list holds what stands at the scope, above it and below it; `atScope()` leaves out
what is below. "Above" is the path, then the management groups that contain the subscription, then the root.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from keydrift.resource_id import DENY_ASSIGNMENT, ROLE_ASSIGNMENT, ROLE_DEFINITION, ResourceId
from keydrift_local.azure.messages import Answer, Call, error, page
from keydrift_local.documents import JsonObject, items, member, members, text
from keydrift_local.membership import groups_of
from keydrift_local.roles import azure_roles
from keydrift_local.tenant import Tenant, management_group_subscriptions
from keydrift_local.tenant_objects import Entry, Section, full_type, scope_of

_SECTIONS = {
    ROLE_ASSIGNMENT: Section.ROLE_ASSIGNMENTS,
    ROLE_DEFINITION: Section.ROLE_DEFINITIONS,
    DENY_ASSIGNMENT: Section.DENY_ASSIGNMENTS,
    "microsoft.authorization/roleassignmentscheduleinstances": Section.SCHEDULE_INSTANCES,
}
_MISSING = {
    Section.ROLE_ASSIGNMENTS: ("RoleAssignmentNotFound", "The role assignment '{name}' is not found."),
    Section.ROLE_DEFINITIONS: ("RoleDefinitionDoesNotExist", "The specified role definition with ID '{name}' does not exist."),
    Section.DENY_ASSIGNMENTS: ("DenyAssignmentNotFound", "The deny assignment '{name}' is not found."),
    Section.SCHEDULE_INSTANCES: ("RoleAssignmentScheduleInstanceNotFound", "The schedule instance '{name}' is not found."),
}
_CALLED = re.compile(r"(atScope|atScopeAndBelow|asTarget)\(\s*\)|assignedTo\(\s*'(?P<to>[^']+)'\s*\)", re.IGNORECASE)
_EQUALS = re.compile(r"(principalId|type|roleName)\s+eq\s+'(?P<value>[^']*)'", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A parsed `$filter`; object ids are lower case."""

    at_scope: bool = False
    below: bool = False
    assigned_to: str | None = None
    principal_id: str | None = None
    role_type: str | None = None
    role_name: str | None = None

    @classmethod
    def parse(cls, expression: str) -> Filter | None:
        """Read terms joined by `and`; None where one of them is not known."""
        found: dict[str, str] = {}
        for term in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else []:
            called, equals = _CALLED.fullmatch(term.strip()), _EQUALS.fullmatch(term.strip())
            if called is not None:
                found["assignedto" if called["to"] else str(called[1]).lower()] = (called["to"] or "").lower()
            elif equals is not None:
                found[str(equals[1]).lower()] = equals["value"].lower()
            else:
                return None
        return cls(
            at_scope="atscope" in found,
            below="atscopeandbelow" in found,
            assigned_to=found.get("assignedto"),
            principal_id=found.get("principalid"),
            role_type=found.get("type"),
            role_name=found.get("rolename"),
        )


def is_asked(call: Call) -> bool:
    """Whether a path's last provider is Microsoft.Authorization."""
    return _asked(call) is not None


def answer(call: Call, tenant: Tenant, page_size: int) -> Answer:
    """One object by its name, or the list at a scope."""
    asked = _asked(call)
    assert asked is not None
    section, scope, name = asked
    if name is not None:
        return _one(tenant, section, scope, name)
    wanted = Filter.parse(call.options.get("$filter", ""))
    if wanted is None:
        return error(400, "InvalidFilter", f"The filter '{call.options['$filter']}' is not supported.")
    if section is Section.ROLE_DEFINITIONS:
        return page(call, _definitions(tenant, scope, wanted), page_size, dict)
    concerns = _concerned(tenant, wanted)
    found = [entry for entry in _standing(tenant, section, scope, wanted) if concerns(entry)]
    return page(call, found, page_size, partial(_assignment, tenant))


def management_groups_above(tenant: Tenant, scope: ResourceId) -> set[str]:
    """Normalised ids of the management groups that contain a scope; a management group contains itself."""
    waiting: list[str] = []
    for entry in tenant.every(Section.MANAGEMENT_GROUPS):
        holds = {each.lower() for each in management_group_subscriptions(entry.body)}
        if entry.id.contains(scope) or (scope.subscription_id is not None and scope.subscription_id in holds):
            waiting.append(entry.id.key)
    found: set[str] = set()
    while waiting:
        key = waiting.pop()
        group = tenant.find(Section.MANAGEMENT_GROUPS, ResourceId.parse(key))
        parent = parent_of(group) if group is not None and key not in found else None
        found.add(key)
        if parent is not None and parent.key not in found:
            waiting.append(parent.key)
    return found


def parent_of(group: Entry) -> ResourceId | None:
    """A management group's parent, given by its id or its name."""
    parent = text(group.body, "parent")
    if parent is None:
        return None
    return ResourceId.parse(parent if parent.startswith("/") else f"/providers/Microsoft.Management/managementGroups/{parent}")


def _asked(call: Call) -> tuple[Section, ResourceId, str | None] | None:
    provider = max((index for index, segment in enumerate(call.segments) if segment == "providers"), default=None)
    if provider is None or len(call.segments) - provider not in (3, 4):
        return None
    section = _SECTIONS.get("/".join(call.segments[provider + 1 : provider + 3]))
    if section is None:
        return None
    scope = ResourceId.parse("/" + "/".join(call.parts[:provider]))
    return section, scope, call.parts[provider + 3] if len(call.parts) == provider + 4 else None


def _one(tenant: Tenant, section: Section, scope: ResourceId, name: str) -> Answer:
    if section is Section.ROLE_DEFINITIONS:
        built_in = azure_roles().get(name.lower())
        if built_in is not None:
            return Answer(body=_built_in(built_in, scope))
        for entry in tenant.every(section):
            if entry.id.name.lower() == name.lower():
                return Answer(body=_definition(entry))
    else:
        kind = next(each for each, known in _SECTIONS.items() if known is section)
        found = tenant.find(section, scope.child("providers", kind, name))
        if found is not None:
            return Answer(body=_assignment(tenant, found))
    code, message = _MISSING[section]
    return error(404, code, message.replace("{name}", name))


def _standing(tenant: Tenant, section: Section, scope: ResourceId, wanted: Filter) -> list[Entry]:
    above = _scopes_above(tenant, scope)
    scopes = list(above)
    if not wanted.at_scope:
        scopes += [each for each in tenant.index.scopes(section) if each not in above and _is_below(tenant, scope, each)]
    return [entry for each in scopes for entry in tenant.index.standing_on(section, each)]


def _scopes_above(tenant: Tenant, scope: ResourceId) -> dict[str, None]:
    """Normalised ids of the scope and everything that contains it, the root first."""
    groups = sorted(management_groups_above(tenant, scope))
    if scope.is_management_group:
        return dict.fromkeys(("/", *groups, scope.key))
    path = ("/" + "/".join(scope.segments[:length]) for length in range(1, len(scope.segments) + 1))
    return dict.fromkeys(("/", *groups, *path))


def _is_below(tenant: Tenant, scope: ResourceId, other: str) -> bool:
    # Both are normalised, so a prefix that ends with a slash compares whole segments.
    if not scope.segments or other.startswith(scope.key + "/"):
        return True
    return scope.is_management_group and scope.key in management_groups_above(tenant, ResourceId.parse(other))


def _concerned(tenant: Tenant, wanted: Filter) -> Callable[[Entry], bool]:
    """Whether an assignment or deny is of the principal that the filter names."""
    holders: set[str] | None = None
    if wanted.assigned_to is not None:
        holders = {wanted.assigned_to, *(group.id.name.lower() for group in groups_of(tenant, wanted.assigned_to))}

    def concerns(entry: Entry) -> bool:
        named = items(entry.body, "properties", "principals")
        principals = {(text(each, "id") or "").lower() for each in named}
        if not named:
            principals = {(text(entry.body, "properties", "principalId") or "").lower()}
        if wanted.principal_id is not None and wanted.principal_id not in principals:
            return False
        return holders is None or bool(holders & principals)

    return concerns


def _assignment(tenant: Tenant, entry: Entry) -> JsonObject:
    body: JsonObject = {"id": str(entry.id), "type": full_type(entry.id), "name": entry.id.name, **entry.body}
    properties: JsonObject = {"scope": str(scope_of(entry)), **members(entry.body, "properties")}
    principal = text(properties, "principalId")
    if principal is not None and "principalType" not in properties:
        is_group = tenant.find(Section.GROUPS, ResourceId.parse(f"/directory/groups/{principal}")) is not None
        properties["principalType"] = "Group" if is_group else "ServicePrincipal"
    return {**body, "properties": properties}


def _definitions(tenant: Tenant, scope: ResourceId, wanted: Filter) -> list[JsonObject]:
    above = _scopes_above(tenant, scope)
    found = [_built_in(role, scope) for role in azure_roles().values()]
    for entry in tenant.every(Section.ROLE_DEFINITIONS):
        scopes = [ResourceId.parse(each) for each in items(entry.body, "properties", "assignableScopes") if isinstance(each, str)]
        if not scopes or any(each.key in above or (wanted.below and _is_below(tenant, scope, each.key)) for each in scopes):
            found.append(_definition(entry))
    tests: list[tuple[str | None, Callable[[JsonObject], str | None]]] = [
        (wanted.role_type, lambda body: text(body, "properties", "type")),
        (wanted.role_name, lambda body: text(body, "properties", "roleName")),
    ]
    return [body for body in found if all(value is None or (read(body) or "").lower() == value for value, read in tests)]


def _definition(entry: Entry) -> JsonObject:
    properties: JsonObject = {"type": "CustomRole", "roleName": entry.id.name, **members(entry.body, "properties")}
    body: JsonObject = {"id": str(entry.id), "type": full_type(entry.id), "name": entry.id.name, **entry.body}
    return {**body, "properties": properties}


def _built_in(role: JsonObject, scope: ResourceId) -> JsonObject:
    prefix = f"/subscriptions/{scope.parts[1]}" if scope.subscription_id else ""
    return {
        "id": f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{role['id']}",
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role["id"],
        "properties": {
            "roleName": role["roleName"],
            "type": "BuiltInRole",
            "description": role["description"],
            "assignableScopes": ["/"],
            "permissions": member(role, "permissions"),
        },
    }
