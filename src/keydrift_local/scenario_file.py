"""Scenario files: read, checked, one line with file, JSON path and what was expected where something is wrong (docs/formats)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import isodate
from croniter import croniter

from keydrift.errors import ConfigError
from keydrift.settings import DELIVER_SCHEDULE, PULSE_SCHEDULE, SWEEP_SCHEDULE, Settings
from keydrift_local.documents import JsonObject
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import load_tenant, parse_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Refresh the inventory, then reconcile everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedChange:
    """One change of the tenant. `where` is its path in the file."""

    body: JsonObject
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Change the tenant, in one object or in several together; Azure's events for it follow unless it is silent."""

    changes: tuple[PlacedChange, ...]
    actor: Mapping[str, str] | None
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """Deliver this event (or batch) as it stands."""

    event: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Let Azure fail from now on; None clears all faults."""

    fault: JsonObject | None
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Move the clock; due timers and delayed messages run on the way."""

    by: timedelta


type Step = Sweep | Change | RawEvent | Fault | Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFile:
    """A scenario, ready to be played once (playing changes the tenant)."""

    tenant: Tenant
    settings: Mapping[str, str]
    steps: tuple[Step, ...]
    expect: tuple[JsonObject, ...] | None


def load_scenario(path: Path) -> ScenarioFile:
    """Read and check a scenario file. Raises ConfigError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON in UTF-8: {error}") from error
    return _Checker(path).scenario(document)


class _Checker:
    """Checks a document; every complaint names the file and the path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def scenario(self, document: object) -> ScenarioFile:
        body = self._object(document, "$")
        self._known(body, "$", {"tenant", "settings", "steps", "expect"})
        given = body.get("tenant")
        if isinstance(given, str):
            tenant = load_tenant(self._path.parent / given)
        elif isinstance(given, dict):
            tenant = parse_tenant(given, f"{self._path}: $.tenant")
        else:
            raise self._wrong("$.tenant", "a path beside this file or a tenant")
        expect = body.get("expect")
        return ScenarioFile(
            tenant=tenant,
            settings=self._settings(body.get("settings")),
            steps=tuple(self._step(each, f"$.steps[{i}]") for i, each in enumerate(self._list(body.get("steps"), "$.steps"))),
            expect=None
            if expect is None
            else tuple(self._object(each, f"$.expect[{i}]") for i, each in enumerate(self._list(expect, "$.expect"))),
        )

    def _settings(self, value: object) -> Mapping[str, str]:
        settings = self._object(value, "$.settings") if value is not None else {}
        for name in settings:
            if name not in Settings.names():
                raise self._wrong(f"$.settings.{name}", "the name of a setting (docs/settings.md)")
        found = {name: self._text(each, f"$.settings.{name}") for name, each in settings.items()}
        for name in (SWEEP_SCHEDULE, DELIVER_SCHEDULE, PULSE_SCHEDULE):
            if name in found and not croniter.is_valid(found[name], second_at_beginning=True):
                raise self._wrong(f"$.settings.{name}", "an NCRONTAB schedule such as `0 */15 * * * *`")
        try:
            Settings.from_environment(found)
        except ConfigError as error:
            raise ConfigError(f"{self._at('$.settings')}: {error}") from error
        return found

    def _text(self, value: object, path: str) -> str:
        match value:
            case str():
                return value
            case bool() | dict() | None:
                raise self._wrong(path, "a string or a number")
            case list():
                return ",".join(self._text(each, path) for each in value)
            case _:
                return str(value)

    def _step(self, value: object, path: str) -> Step:
        step = self._object(value, path)
        kinds = [kind for kind in ("sweep", "change", "event", "fault", "advance") if kind in step]
        if len(kinds) != 1:
            raise self._wrong(path, "exactly one of sweep, change, event, fault, advance")
        kind = kinds[0]
        self._known(step, path, {kind, *(("actor", "silent") if kind == "change" else ())})
        inner = f"{path}.{kind}"
        match kind:
            case "sweep":
                if step["sweep"] is not True:
                    raise self._wrong(inner, "true")
                return Sweep()
            case "change":
                return self._change(step, path)
            case "event":
                if not isinstance(step["event"], dict | list | str):
                    raise self._wrong(inner, "an event, a list of events or raw text")
                return RawEvent(event=step["event"])
            case "fault":
                fault = step["fault"]
                return Fault(fault=None if fault is None else self._object(fault, inner), where=self._at(inner))
            case _:
                return Advance(by=self._duration(step["advance"], inner))

    def _change(self, step: JsonObject, path: str) -> Change:
        actor = step.get("actor")
        if actor is not None:
            actor = self._object(actor, f"{path}.actor")
            self._known(actor, f"{path}.actor", {"objectId", "upn", "appId", "ip"})
            for name, each in actor.items():
                if not isinstance(each, str):
                    raise self._wrong(f"{path}.actor.{name}", "a string")
        silent = step.get("silent", False)
        if not isinstance(silent, bool):
            raise self._wrong(f"{path}.silent", "true or false")
        return Change(
            changes=self._changes(step["change"], f"{path}.change"),
            actor=cast("Mapping[str, str] | None", actor),
            silent=silent,
        )

    def _changes(self, value: object, path: str) -> tuple[PlacedChange, ...]:
        if not isinstance(value, list):
            return (PlacedChange(body=self._object(value, path), where=self._at(path)),)
        if not value:
            raise self._wrong(path, "at least one change")
        places = [(each, f"{path}[{position}]") for position, each in enumerate(value)]
        return tuple(PlacedChange(body=self._object(each, place), where=self._at(place)) for each, place in places)

    def _duration(self, value: object, path: str) -> timedelta:
        try:
            by = isodate.parse_duration(value) if isinstance(value, str) else None
        except isodate.ISO8601Error:
            by = None
        if not isinstance(by, timedelta) or by < timedelta():
            raise self._wrong(path, "an ISO 8601 duration such as PT10M")
        return by

    def _object(self, value: object, path: str) -> JsonObject:
        if not isinstance(value, dict):
            raise self._wrong(path, "an object")
        return value

    def _list(self, value: object, path: str) -> list[object]:
        if not isinstance(value, list):
            raise self._wrong(path, "a list")
        return value

    def _known(self, value: JsonObject, path: str, names: set[str]) -> None:
        for name in value:
            if name not in names:
                raise self._wrong(f"{path}.{name}", f"only {', '.join(sorted(names))} here")

    def _wrong(self, path: str, expected: str) -> ConfigError:
        return ConfigError(f"{self._at(path)}: expected {expected}")

    def _at(self, path: str) -> str:
        return f"{self._path}: {path}"
