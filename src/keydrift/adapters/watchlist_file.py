"""`watchlist.yaml`: read and checked as nodes, so that every complaint has its line and column (docs/watchlist.md).

Nothing is converted by YAML's own rules: a time, a number or a bare `yes` where text belongs is refused, not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import yaml
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from keydrift.catalogue import CODES
from keydrift.declared import EVERY_CODE, Declarations, DeclaredBinding, Exemption, Match, fits
from keydrift.errors import ConfigError, DecodeError
from keydrift.key_uri import KeyUri
from keydrift.model import ResourceIdentity, Scenario
from keydrift.resource_id import ResourceId

_TEXT, _NUMBER, _TIME = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "timestamp"))
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_STORES = ("microsoft.keyvault/vaults", "microsoft.keyvault/managedhsms")
_MACHINE, _DISK_SET = "microsoft.compute/virtualmachines", "microsoft.compute/diskencryptionsets"
_CONSUMERS = {
    Scenario.BACKUP_VAULT_CMK: "microsoft.dataprotection/backupvaults",
    Scenario.RSV_CMK: "microsoft.recoveryservices/vaults",
}
_OWN_IDENTITY = {Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK, Scenario.CVM_DES}


def read_watchlist(path: Path, shown: str | None = None) -> Declarations:
    """Read a watchlist file. `shown` is how errors call it (default: the path as given).

    Raises ConfigError of one line, `file:line:column: …`, both counted from 1.
    """
    name = shown or str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig")
        raise ConfigError(f"{name}:{_position(before)}: not UTF-8") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{at}: not YAML: {error.problem or error.context}") from error
    except ReaderError as error:
        raise ConfigError(f"{name}:{_position(text[: error.position])}: a character that YAML does not allow") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: nested too deeply") from error
    if root is None:
        raise ConfigError(f"{name}:1:1: expected `version: 1`, got nothing")
    return _Checker(name).declarations(root)


def _position(before: str) -> str:
    return f"{before.count('\n') + 1}:{len(before) - before.rfind('\n')}"


class _Checker:
    """Checks nodes; every complaint names the file and the position."""

    def __init__(self, name: str) -> None:
        self._name = name

    def declarations(self, root: Node) -> Declarations:
        body = self._members(root, "the file", required={"version"}, optional={"bindings", "exemptions"})
        version = body["version"]
        if not isinstance(version, ScalarNode) or version.tag != _NUMBER or version.value != "1":
            self._wrong(version, "expected version 1, the only one there is")
        bindings = self._each(body.get("bindings"), "`bindings`", self._binding)
        self._unique(bindings, lambda b: (b.scenario, b.identity and b.identity.reference, b.key.versionless, b.consumer))
        exemptions = self._each(body.get("exemptions"), "`exemptions`", self._exemption)
        self._unique(exemptions, lambda e: (e.match, e.codes))
        return Declarations(
            bindings=tuple(binding for _, binding in bindings), exemptions=tuple(exemption for _, exemption in exemptions)
        )

    def _each[T](self, node: Node | None, what: str, check: Callable[[Node], T]) -> list[tuple[Node, T]]:
        return [] if node is None else [(each, check(each)) for each in self._list(node, what)]

    def _unique[T](self, checked: list[tuple[Node, T]], identity: Callable[[T], object]) -> None:
        first: dict[object, Node] = {}
        for node, each in checked:
            known = first.setdefault(identity(each), node)
            if known is not node:
                self._wrong(node, f"the same as line {known.start_mark.line + 1}: join them or remove one")

    # --- key bindings

    def _binding(self, node: Node) -> DeclaredBinding:
        body = self._members(
            node, "a key binding", required={"scenario", "key", "consumer"}, optional={"key_store", "identity", "secrets"}
        )
        scenario = self._scenario(body["scenario"])
        consumer = self._resource(body["consumer"], _CONSUMERS.get(scenario, _MACHINE))
        secrets = self._secrets(node, body.get("secrets"), scenario)
        return DeclaredBinding(
            scenario=scenario,
            key=self._uri(body["key"], "secrets" if scenario is Scenario.ADE_BEK else "keys"),
            key_store=self._resource(body["key_store"], *_STORES) if "key_store" in body else None,
            consumer=consumer,
            identity=self._identity(node, body.get("identity"), scenario, consumer),
            secrets=secrets,
            where=self._at(node),
        )

    def _scenario(self, node: Node) -> Scenario:
        value = self._text(node, "a scenario")
        if value not in set(Scenario):
            self._wrong(node, f"expected a scenario ({', '.join(Scenario)}), got `{value}`")
        return Scenario(value)

    def _secrets(self, binding: Node, node: Node | None, scenario: Scenario) -> tuple[KeyUri, ...]:
        if scenario is not Scenario.ADE_KEK:
            if node is not None:
                self._wrong(node, f"`secrets` are for scenario ade-kek, not for {scenario}")
            return ()
        if node is None:
            self._wrong(binding, "a key binding of scenario ade-kek needs `secrets`: the encryption secrets that its key wraps")
        found = tuple(self._uri(each, "secrets") for each in self._list(node, "`secrets`"))
        if not found:
            self._wrong(node, "expected at least one secret")
        return found

    def _identity(self, binding: Node, node: Node | None, scenario: Scenario, consumer: ResourceId) -> ResourceIdentity | None:
        if scenario not in _OWN_IDENTITY:
            if node is not None:
                self._wrong(node, f"scenario {scenario} uses the Backup Management Service's identity: leave `identity` out")
            return None
        if node is None:
            self._wrong(binding, f"a key binding of scenario {scenario} needs `identity`: system_assigned or user_assigned")
        by_set = scenario is Scenario.CVM_DES
        owner = {"resource"} if by_set else set[str]()
        body = self._members(node, "`identity`", required=owner, optional={"system_assigned", "user_assigned"})
        if ("system_assigned" in body) is ("user_assigned" in body):
            self._wrong(node, "`identity` needs exactly one of system_assigned and user_assigned")
        resource = self._resource(body["resource"], _DISK_SET) if by_set else consumer
        if "system_assigned" in body:
            return ResourceIdentity(resource_id=resource, system_object_id=self._guid(body["system_assigned"], "an object id"))
        chosen = self._resource(body["user_assigned"], "microsoft.managedidentity/userassignedidentities")
        return ResourceIdentity(resource_id=resource, user_assigned=chosen, attached={chosen.key: None})

    # --- exemptions

    def _exemption(self, node: Node) -> Exemption:
        required = {"match", "codes", "justification", "author", "expires"}
        body = self._members(node, "an exemption", required=required, optional=set())
        return Exemption(
            match=self._match(body["match"]),
            codes=self._codes(body["codes"]),
            justification=self._text(body["justification"], "a justification"),
            author=self._text(body["author"], "an author"),
            expires=self._expiry(body["expires"]),
            where=self._at(node),
        )

    def _match(self, node: Node) -> Match:
        names = {"binding", "key", "scenario", "consumer"}
        body = self._members(node, "`match`", required=set(), optional=names)
        if not body:
            self._wrong(node, "`match` needs at least one of binding, consumer, key, scenario")
        found = {name: self._text(each, f"a {name}") for name, each in body.items() if name != "binding"}
        scenario = found.get("scenario")
        if scenario is not None and not any(fits(scenario, each) for each in Scenario):
            self._wrong(body["scenario"], f"no scenario ({', '.join(Scenario)}) fits `{scenario}`")
        binding = self._guid(body["binding"], "a key binding's id") if "binding" in body else None
        return Match(binding=binding, key=found.get("key"), scenario=scenario, consumer=found.get("consumer"))

    def _codes(self, node: Node) -> frozenset[str]:
        found: set[str] = set()
        for each in self._list(node, "`codes`"):
            code = self._text(each, "a finding code")
            if code not in CODES and code != EVERY_CODE:
                self._wrong(each, f'expected a finding code of the catalogue or "*", got `{code}`')
            if code in found:
                self._wrong(each, f"`{code}` stands here twice")
            found.add(code)
        if not found:
            self._wrong(node, 'expected at least one finding code, or "*"')
        return frozenset(found)

    def _expiry(self, node: Node) -> datetime:
        value = node.value if isinstance(node, ScalarNode) and node.tag in (_TEXT, _TIME) else None
        if not isinstance(value, str):
            self._wrong(node, "expected a date such as 2026-12-31, or a time with an offset such as 2026-12-31T18:00:00Z")
        if not _DATE.fullmatch(value) and not _MOMENT.fullmatch(value):
            self._wrong(node, f"expected a date, or a time with an offset such as 2026-12-31T18:00:00Z, got `{value}`")
        try:
            if _DATE.fullmatch(value):
                # Whoever writes a date means all of it
                return datetime.combine(datetime.fromisoformat(value), time.max, tzinfo=UTC)
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self._wrong(node, f"there is no such date or time as `{value}`")

    # --- values

    def _members(self, node: Node, what: str, *, required: set[str], optional: set[str]) -> Mapping[str, Node]:
        if not isinstance(node, MappingNode) or node.tag != "tag:yaml.org,2002:map":
            self._wrong(node, f"expected {what} to be a mapping with {', '.join(sorted(required | optional))}")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) and key.tag == _TEXT else None
            if name is None or name not in required | optional:
                known = ", ".join(sorted(required | optional))
                self._wrong(key, f"unknown member `{_shown(key)}` of {what}: only {known} here")
            if name in found:
                self._wrong(key, f"`{name}` stands here twice")
            found[name] = value
        missing = sorted(required - found.keys())
        if missing:
            self._wrong(node, f"{what} needs `{missing[0]}`")
        return found

    def _list(self, node: Node, what: str) -> list[Node]:
        if not isinstance(node, SequenceNode) or node.tag != "tag:yaml.org,2002:seq":
            self._wrong(node, f"expected {what} to be a list")
        return list(node.value)

    def _text(self, node: Node, what: str) -> str:
        if not isinstance(node, ScalarNode) or node.tag != _TEXT:
            quoting = ": put it in quotes" if isinstance(node, ScalarNode) and node.value else ""
            self._wrong(node, f"expected {what} as text{quoting}")
        value = " ".join(str(node.value).split())
        if not value:
            self._wrong(node, f"expected {what}, got nothing")
        return value

    def _guid(self, node: Node, what: str) -> str:
        value = self._text(node, what)
        try:
            return str(UUID(value))
        except ValueError:
            self._wrong(node, f"expected {what} (a GUID), got `{value}`")

    def _uri(self, node: Node, kind: str) -> KeyUri:
        value = self._text(node, "an address")
        try:
            found = KeyUri.parse(value)
        except DecodeError as error:
            self._wrong(node, error.problem)
        if found.kind != kind:
            self._wrong(node, f"expected the address of one of a key store's {kind}, got `{value}`")
        return found

    def _resource(self, node: Node, *types: str) -> ResourceId:
        value = self._text(node, "an ARM id")
        try:
            found = ResourceId.parse(value)
        except DecodeError as error:
            self._wrong(node, error.problem)
        if found.resource_type not in types:
            self._wrong(node, f"expected the ARM id of {' or '.join(types)}, got `{value}`")
        return found

    def _at(self, node: Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _wrong(self, node: Node, problem: str) -> NoReturn:
        raise ConfigError(f"{self._at(node)}: {problem}")


def _shown(node: Node) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else "not text"
