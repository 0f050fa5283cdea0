"""Reading a tenant file: the JSON document of `formats.md`, checked, with one-line errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from keydrift.errors import ConfigError, DecodeError
from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, parse_time
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import HSM_SECTIONS, MANAGED_HSM, Address, Section, address_in
from keydrift_local.tenant_rules import check

CLOUDS = ("AzureCloud", "AzureUSGovernment", "AzureChinaCloud")


def load_tenant(path: Path) -> Tenant:
    """Read a tenant file. Raises ConfigError: one line, `file: $.json.path: expected …` (malformed JSON: `file:line:column`)."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # a name that no file can have, or no UTF-8
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        document: object = json.loads(content)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: expected JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected JSON that is nested less deeply, and numbers of sensible length") from error
    return parse_tenant(document, str(path))


def parse_tenant(document: object, where: str) -> Tenant:
    """A tenant from a decoded document. Raises ConfigError: `where: $.json.path: expected …`."""
    try:
        return _tenant(document)
    except (ConfigError, DecodeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _tenant(document: object) -> Tenant:
    if not isinstance(document, dict):
        raise ConfigError("$: expected an object")
    tenant_id = document.get("tenantId")
    if not isinstance(tenant_id, str) or not tenant_id:
        raise ConfigError("$.tenantId: expected a non-empty string")
    cloud = document.get("cloud", CLOUDS[0])
    if cloud not in CLOUDS:
        raise ConfigError(f"$.cloud: expected one of {', '.join(CLOUDS)}")
    tenant = Tenant(tenant_id=tenant_id, cloud=cloud, now=_now(document.get("now")))
    places: dict[tuple[Section, str], str] = {}
    for address, body, path in _objects(document):
        check(address.section, address.id, body, path)
        taken = places.setdefault((address.section, address.id.key), path)
        if taken != path:
            raise ConfigError(f"{path}.id: expected an id of its own, `{address.id}` is also `{taken}`")
        tenant.add(address, body)
    return tenant


def _now(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_time(value)
    except ValueError as error:
        raise ConfigError(f"$.now: expected an RFC 3339 time: {error}") from error
    raise ConfigError("$.now: expected an RFC 3339 time such as 2026-01-01T00:00:00Z")


def _objects(document: JsonObject) -> Iterator[tuple[Address, JsonObject, str]]:
    for section in Section:
        if section in HSM_SECTIONS.values():
            continue
        holder: object = document
        path = "$"
        *above, name = section.value.split(".")
        for step in above:
            holder, path = _object(holder.get(step) if isinstance(holder, Mapping) else None, f"{path}.{step}"), f"{path}.{step}"
        for body, place in _list(holder, name, path):
            yield address_in(section, body, place), body, place
    for identifier, planes in _object(document.get("managedHsms"), "$.managedHsms").items():
        path = f"$.managedHsms['{identifier}']"
        hsm = ResourceId.parse(identifier) if identifier.startswith("/") else None
        if hsm is None or hsm.resource_type != MANAGED_HSM:
            raise ConfigError(f"{path}: expected the ARM id of a Managed HSM as the member's name")
        plane = _object(planes, path)
        for section in HSM_SECTIONS.values():
            for body, place in _list(plane, section.value.split(".")[1], path):
                yield address_in(section, body, place, hsm), body, place


def _object(value: object, path: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected an object")
    return value


def _list(holder: object, name: str, path: str) -> Iterator[tuple[JsonObject, str]]:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    if value is None:
        return
    if not isinstance(value, list):
        raise ConfigError(f"{path}.{name}: expected an array")
    for position, each in enumerate(value):
        if not isinstance(each, dict):
            raise ConfigError(f"{path}.{name}[{position}]: expected an object")
        yield each, f"{path}.{name}[{position}]"
