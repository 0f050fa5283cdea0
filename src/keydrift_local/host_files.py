"""The two files that a functions host reads beside function_app.py: local.settings.json and host.json.

https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file,
https://learn.microsoft.com/azure/azure-functions/functions-host-json. The queue members of host.json stand in `host_queue`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from keydrift.errors import ConfigError


def load_local_settings(app_directory: Path) -> None:
    """Make `Values` environment variables unless they are set already, as `func start` does. Raises `ConfigError`."""
    document = _read_object(app_directory / "local.settings.json")
    if document.get("IsEncrypted"):
        raise ConfigError("local.settings.json is encrypted; run `func settings decrypt`")
    values = document.get("Values", {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ConfigError("local.settings.json: `Values` must be an object of strings")
    for name, value in values.items():
        os.environ.setdefault(name, value)


def read_host_json(app_directory: Path) -> Mapping[str, object]:
    """The parsed host.json, empty where there is none. Raises `ConfigError` where it is no JSON object."""
    return _read_object(app_directory / "host.json")


def read_route_prefix(host_json: Mapping[str, object]) -> str:
    """`extensions.http.routePrefix` without slashes at its ends; `api` unless said otherwise. Raises `ConfigError`."""
    extensions = host_json.get("extensions", {})
    http = extensions.get("http", {}) if isinstance(extensions, dict) else None
    prefix = http.get("routePrefix", "api") if isinstance(http, dict) else None
    if not isinstance(prefix, str):
        raise ConfigError("host.json: `extensions.http.routePrefix` must be a string")
    return prefix.strip("/")


def _read_object(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path.name} must be a JSON object")
    return document
