"""What a well-formed object of each section holds: the members that the simulated tenant reads, and their types.

Anything else in an object is the writer's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from keydrift.errors import ConfigError, DecodeError
from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, member
from keydrift_local.tenant_objects import SYSTEM_TOPIC, Section


class Kind(StrEnum):
    """The types of members, by how an error calls them."""

    TEXT = "a string"
    ID = "an ARM resource id"
    OBJECT = "an object"
    FLAG = "true or false"


@dataclass(frozen=True, slots=True)
class Rule:
    """One member: its path, its type, whether it is an array of that type, whether it must be there."""

    path: str
    kind: Kind
    array: bool = False
    required: bool = False


_COMMON = (
    *(Rule(name, Kind.TEXT) for name in ("type", "name", "location")),
    *(Rule(name, Kind.OBJECT) for name in ("properties", "identity", "tags")),
)
_GRANT = (
    Rule("properties.principalId", Kind.TEXT, required=True),
    Rule("properties.roleDefinitionId", Kind.TEXT, required=True),
)
_PERMISSIONS = (Rule("properties.permissions", Kind.OBJECT, array=True),)

_RULES: dict[Section, tuple[Rule, ...]] = {
    Section.RESOURCES: (Rule("properties.accessPolicies", Kind.OBJECT, array=True),),
    Section.DELETED_VAULTS: (Rule("properties.vaultId", Kind.ID, required=True),),
    Section.DELETED_HSMS: (Rule("properties.mhsmId", Kind.ID, required=True),),
    Section.MANAGEMENT_GROUPS: (Rule("parent", Kind.TEXT), Rule("subscriptions", Kind.TEXT, array=True)),
    Section.ROLE_DEFINITIONS: (*_PERMISSIONS, Rule("properties.assignableScopes", Kind.ID, array=True)),
    Section.ROLE_ASSIGNMENTS: (*_GRANT, Rule("properties.scope", Kind.ID)),
    Section.SCHEDULE_INSTANCES: (*_GRANT, Rule("properties.scope", Kind.ID)),
    Section.DENY_ASSIGNMENTS: (Rule("properties.scope", Kind.ID), Rule("properties.principals", Kind.OBJECT, array=True)),
    Section.SERVICE_PRINCIPALS: (Rule("accountEnabled", Kind.FLAG), Rule("appId", Kind.TEXT)),
    Section.GROUPS: (Rule("members", Kind.TEXT, array=True),),
    Section.HSM_KEYS: (),
    Section.HSM_ROLE_DEFINITIONS: _PERMISSIONS,
    Section.HSM_ROLE_ASSIGNMENTS: (*_GRANT, Rule("properties.scope", Kind.TEXT)),
}
_SYSTEM_TOPIC_RULES = (Rule("properties.source", Kind.ID, required=True),)


def check(section: Section, identifier: ResourceId, body: JsonObject, path: str) -> None:
    """Whether an object's members are of the right type. Raises ConfigError with the JSON path and what was expected there."""
    extra = _SYSTEM_TOPIC_RULES if identifier.resource_type == SYSTEM_TOPIC else ()
    for rule in (*_COMMON, *_RULES[section], *extra):
        value = member(body, *rule.path.split("."))
        where = f"{path}.{rule.path}"
        if rule.array and value is not None:
            if not isinstance(value, list):
                raise ConfigError(f"{where}: expected an array")
            for position, each in enumerate(value):
                _check_value(rule, each, f"{where}[{position}]")
        elif value is not None:
            _check_value(rule, value, where)
        elif rule.required:
            raise ConfigError(f"{where}: expected {rule.kind}")


def _check_value(rule: Rule, value: object, where: str) -> None:
    match rule.kind:
        case Kind.TEXT:
            fits = isinstance(value, str) and (value != "" or not rule.required)
        case Kind.ID:
            fits = isinstance(value, str) and _is_id(value)
        case Kind.OBJECT:
            fits = isinstance(value, Mapping)
        case Kind.FLAG:
            fits = isinstance(value, bool)
    if not fits:
        raise ConfigError(f"{where}: expected {'a non-empty string' if value == '' else rule.kind}")


def _is_id(value: str) -> bool:
    try:
        ResourceId.parse(value)
    except DecodeError:
        return False
    return True
