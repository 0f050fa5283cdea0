"""Azure Resource Graph: KQL over the tenant's resources, run by `duckdb-kql`, page by page.

Rules: learn.microsoft.com/azure/governance/resource-graph/concepts/{work-with-data, paging-results,
guidance-for-throttled-requests}. The quota is told, never enforced: a scenario throttles by a fault.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import random
import re
from dataclasses import dataclass

import duckdb
import duckdb_kql

from keydrift.resource_id import MANAGEMENT_GROUP, ResourceId
from keydrift_local.azure.authorization import management_groups_above
from keydrift_local.azure.messages import Answer, Call, error
from keydrift_local.azure.resources import served
from keydrift_local.documents import JsonObject, items, members, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import Entry, Section, is_resource_group

PATH = ("providers", "microsoft.resourcegraph", "resources")
QUOTA = {"x-ms-user-quota-remaining": "14", "x-ms-user-quota-resets-after": "00:00:05"}
_MOST_ROWS = 1000
_MOST_SUBSCRIPTIONS = 1000

_COLUMNS = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "type": "VARCHAR",
    "kind": "VARCHAR",
    "location": "VARCHAR",
    "resourceGroup": "VARCHAR",
    "subscriptionId": "VARCHAR",
    "tenantId": "VARCHAR",
    "identity": "JSON",
    "tags": "JSON",
    "properties": "JSON",
}
_TABLES = ("resources", "recoveryservicesresources")
_BACKUP_ITEMS = ("/protecteditems", "/backupinstances")
_ORDERED = re.compile(r"\|\s*(order|sort)\s+by\b|\|\s*top\b", re.IGNORECASE)
_LIMITED = re.compile(r"\|\s*(limit|take|sample)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as read: the subscriptions it looks at are lower case, None for all."""

    query: str
    subscriptions: frozenset[str] | None
    top: int
    skip: int

    @property
    def context(self) -> str:
        """What a `$skipToken` belongs to: it is good for the same query and scope only."""
        scope = "*" if self.subscriptions is None else ",".join(sorted(self.subscriptions))
        return hashlib.sha256(f"{scope}\n{self.query}".encode()).hexdigest()


class BadQueryError(ValueError):
    """A request that Resource Graph refuses; `code` is its detailed error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_asked(call: Call) -> bool:
    """Whether the call is for Resource Graph's query operation."""
    return call.segments == PATH


class ResourceGraph:
    """The tables, as they are or as they were. Not thread-safe: whoever serves it holds the lock."""

    def __init__(self) -> None:
        self._connection = duckdb_kql.connect()
        self._connection.execute("CREATE SCHEMA held")
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        for table in _TABLES:
            self._connection.execute(f"CREATE TABLE held.{table} ({columns})")
        self._shown: tuple[Tenant, list[Entry]] | None = None
        self._frozen = False

    def freeze(self, tenant: Tenant) -> None:
        """Keep showing the tenant as it is now, as Resource Graph does while it lags."""
        self._refresh(tenant)
        self._frozen = True

    def thaw(self) -> None:
        """Show the tenant as it is, from the next query on."""
        self._frozen = False

    def answer(self, call: Call, tenant: Tenant) -> Answer:
        """What Resource Graph answers; the token has been checked."""
        if not call.options.get("api-version"):
            return error(
                400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."
            )
        if call.method != "POST":
            return error(405, "MethodNotAllowed", f"Resource Graph is asked with POST, not {call.method}.")
        try:
            asked = _asked(call, tenant)
            if not self._frozen:
                self._refresh(tenant)
            return Answer(body=self._page(asked), headers=QUOTA)
        except BadQueryError as problem:
            return _refused(problem)

    def _refresh(self, tenant: Tenant) -> None:
        entries = tenant.every(Section.RESOURCES)
        if self._shown is not None and self._shown[0] is tenant and _same(self._shown[1], entries):
            return
        for table in _TABLES:
            rows = [_row(tenant, entry) for entry in entries if _table_of(entry.id) == table]
            picked = ", ".join(f"j->{'>' if kind == 'VARCHAR' else ''}'{name}'" for name, kind in _COLUMNS.items())
            self._connection.execute(f"DELETE FROM held.{table}")
            self._connection.execute(
                f"INSERT INTO held.{table} SELECT {picked} FROM (SELECT unnest(from_json(?, '[\"JSON\"]')) AS j)",
                [json.dumps(rows)],
            )
        self._shown = (tenant, entries)

    def _page(self, asked: _Asked) -> JsonObject:
        names, kinds, found = self._run(asked)
        if _ORDERED.search(asked.query) is None:
            # Without a stated order every page is drawn from another one, so that a client that pages without it is found out
            random.Random(asked.skip).shuffle(found)
        shown = found[asked.skip : asked.skip + asked.top]
        body: JsonObject = {
            "totalRecords": len(found),
            "count": len(shown),
            "resultTruncated": "false",
            "facets": [],
            "data": [{name: _shown(value, kind) for name, value, kind in zip(names, row, kinds, strict=True)} for row in shown],
        }
        following = asked.skip + len(shown)
        if following < len(found):
            if _LIMITED.search(asked.query) or all(kind == "JSON" for kind in kinds):
                body["resultTruncated"] = "true"
            else:
                token = json.dumps({"skip": following, "context": asked.context})
                body["$skipToken"] = base64.b64encode(token.encode()).decode()
        return body

    def _run(self, asked: _Asked) -> tuple[list[str], list[str], list[tuple[object, ...]]]:
        for table in _TABLES:
            scope = "" if asked.subscriptions is None else f"WHERE subscriptionId IN ({_literals(asked.subscriptions)})"
            self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM held.{table} {scope}")
        try:
            relation = duckdb_kql.query(self._connection, asked.query, allow_write=False)
            return list(relation.columns), [str(each) for each in relation.types], relation.fetchall()
        except duckdb.CatalogException as problem:
            raise BadQueryError("DisallowedLogicalTableName", str(problem)) from problem
        except duckdb_kql.KqlError as problem:
            raise BadQueryError("ParserFailure", str(problem)) from problem
        except duckdb.Error as problem:
            raise BadQueryError("SemanticError", str(problem)) from problem


def _asked(call: Call, tenant: Tenant) -> _Asked:
    try:
        body = call.json()
    except ValueError as problem:
        raise BadQueryError(
            "InvalidRequestContent", "The request content was invalid and could not be deserialized."
        ) from problem
    query, options = text(body, "query"), members(body, "options")
    if query is None:
        raise BadQueryError("InvalidRequestContent", "The query is missing.")
    if options.get("resultFormat", "objectArray") != "objectArray":
        raise BadQueryError("InvalidQueryOptions", "Only the result format objectArray is simulated.")
    subscriptions = [str(each).lower() for each in items(body, "subscriptions")]
    groups = [str(each) for each in items(body, "managementGroups")]
    if len(subscriptions) > _MOST_SUBSCRIPTIONS:
        raise BadQueryError("InvalidScope", f"A query names at most {_MOST_SUBSCRIPTIONS} subscriptions.")
    scope = frozenset(subscriptions) | _below(tenant, groups) if subscriptions or groups else None
    asked = _Asked(query, scope, _number(options, "$top", 1, _MOST_ROWS), _number(options, "$skip", 0, None))
    token = text(options, "$skipToken")
    return asked if token is None else _Asked(query, scope, asked.top, _position(token, asked))


def _below(tenant: Tenant, groups: list[str]) -> frozenset[str]:
    wanted = {ResourceId.parse(f"/providers/{MANAGEMENT_GROUP}/{name}").key for name in groups}
    return frozenset(
        each.lower()
        for each in tenant.subscriptions
        if wanted & management_groups_above(tenant, ResourceId.parse(f"/subscriptions/{each}"))
    )


def _number(options: JsonObject, name: str, least: int, most: int | None) -> int:
    found = options.get(name, most or 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < least or (most is not None and found > most):
        raise BadQueryError("InvalidQueryOptions", f"The option {name} is out of range.")
    return found


def _position(token: str, asked: _Asked) -> int:
    try:
        found = json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as problem:
        raise BadQueryError("InvalidSkipToken", "The skip token is not valid.") from problem
    skip = members(found).get("skip")
    if text(found, "context") != asked.context or not isinstance(skip, int):
        raise BadQueryError("InvalidSkipToken", "The skip token belongs to another query or scope.")
    return skip


def _table_of(identifier: ResourceId) -> str | None:
    """The table that shows a resource: tracked resources, or what backs up; keys and the like are in none."""
    if is_resource_group(identifier):
        return None
    if identifier.resource_type.endswith(_BACKUP_ITEMS):
        return "recoveryservicesresources"
    return "resources" if identifier.resource_type.count("/") == 1 else None


def _row(tenant: Tenant, entry: Entry) -> JsonObject:
    body = served(tenant, entry)
    row: JsonObject = {name: body[name] for name in ("name", "identity", "properties") if name in body}
    return {
        **row,
        "id": str(entry.id),
        "type": entry.id.resource_type,
        "kind": text(body, "kind") or "",
        "location": (text(body, "location") or "").lower(),
        "resourceGroup": (entry.id.resource_group or "").lower(),
        "subscriptionId": entry.id.subscription_id or "",
        "tenantId": tenant.tenant_id,
        "tags": members(body, "tags"),
    }


def _same(before: list[Entry], now: list[Entry]) -> bool:
    # Entries are replaced, never changed, so identity is enough and cheap
    return len(before) == len(now) and all(old is new for old, new in zip(before, now, strict=True))


def _shown(value: object, kind: str) -> object:
    match value:
        case str() if kind == "JSON":
            return json.loads(value)
        case None | bool() | int() | float() | str() | list() | dict():
            return value
        case _:
            return str(value)


def _literals(values: frozenset[str]) -> str:
    return ", ".join("'" + each.replace("'", "''") + "'" for each in sorted(values))


def _refused(problem: BadQueryError) -> Answer:
    """A recorded refusal's shape: the code of the cause stands in the details."""
    detail = {"code": problem.code, "message": str(problem)}
    body = {"code": "InvalidQuery", "message": "Query validation error", "details": [detail]}
    return Answer(status=400, body={"error": body})
