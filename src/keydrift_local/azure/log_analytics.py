"""A local Log Analytics workspace: rows in DuckDB, queried in KQL by `duckdb-kql`.

Columns come from a declared schema or from what arrives: a table is made, and widened, as rows need it, when somebody asks. Most
who send rows never query them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import duckdb
import duckdb_kql
from duckdb_kql.stored_functions import StoredFunction, parse_functions

from keydrift_local.documents import JsonObject, parse_time

_KQL_TYPES = {
    "string": "VARCHAR",
    "guid": "VARCHAR",
    "long": "BIGINT",
    "int": "BIGINT",
    "real": "DOUBLE",
    "bool": "BOOLEAN",
    "boolean": "BOOLEAN",
    "datetime": "TIMESTAMP",
    "dynamic": "JSON",
}
_REPORTED = {
    "BIGINT": "long",
    "INTEGER": "int",
    "HUGEINT": "long",
    "UBIGINT": "long",
    "DOUBLE": "real",
    "FLOAT": "real",
    "BOOLEAN": "bool",
    "JSON": "dynamic",
    "INTERVAL": "timespan",
    "UUID": "guid",
}
_UNTYPED = "UNTYPED"


class QueryError(ValueError):
    """A KQL query that cannot be parsed, is not supported, or names what is not there."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns as (name, KQL type) and rows as JSON values: datetimes ISO 8601, dynamic values decoded."""

    columns: list[tuple[str, str]]
    rows: list[list[object]]


class LogAnalytics:
    """The workspace. `on_rows(table, rows)` is called, when set, as rows are accepted, on the thread that accepts them."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.on_rows: Callable[[str, list[JsonObject]], None] | None = None
        self._lock = threading.RLock()
        self._declared: dict[str, dict[str, str]] = {}
        self._rows: dict[str, list[JsonObject]] = {}
        self._stored: dict[str, int] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._functions: dict[str | None, dict[str, StoredFunction]] = {None: {}}
        self._connection = duckdb_kql.connect()

    def declare(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table with columns of KQL types (`string`, `datetime`, `dynamic` …), as a deployment does. Raises ValueError."""
        unknown = [kind for kind in columns.values() if kind not in _KQL_TYPES]
        if unknown:
            raise ValueError(f"`{unknown[0]}` is no column type of Log Analytics")
        with self._lock:
            self._declared[table] = dict(columns)
            self._create(table, {name: _KQL_TYPES[kind] for name, kind in columns.items()})

    def save(self, name: str, parameters: str, query: str) -> None:
        """Save a function, as a workspace does; `parameters` as in `hours:int=24`. Raises ValueError where it does not parse."""
        try:
            parsed = _function(f"function {name}({parameters}) {{\n{query}\n}}")
        except ValueError as error:
            raise ValueError(f"`{name}` is no function that runs here: {error}") from error
        with self._lock:
            self._functions[None][parsed.name] = parsed

    def rows(self, table: str) -> list[JsonObject]:
        """The rows accepted for a table, as they were sent, in order; empty where there is no such table."""
        with self._lock:
            return [dict(row) for row in self._rows.get(table, [])]

    def query(self, kql: str) -> list[JsonObject]:
        """Run a query. Raises QueryError."""
        result = self.run(kql)
        return [dict(zip([name for name, _ in result.columns], row, strict=True)) for row in result.rows]

    def run(self, kql: str) -> QueryResult:
        """Run a query and tell its columns' types. `now()` and `ago()` follow the clock. Raises QueryError."""
        with self._lock:
            self._store()
            try:
                relation = duckdb_kql.query(
                    self._connection, kql, allow_write=False, query_now=self.clock(), functions=self._functions
                )
                names, types, found = relation.columns, [str(each) for each in relation.types], relation.fetchall()
            except (duckdb_kql.KqlError, duckdb.Error) as error:
                raise QueryError(str(error)) from error
        kinds = [_reported(kind) for kind in types]
        rows = [[_shown(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in found]
        return QueryResult(list(zip(names, kinds, strict=True)), rows)

    def accept(self, table: str, rows: Sequence[JsonObject]) -> None:
        """Store rows; a missing TimeGenerated becomes the time of arrival, as in Azure."""
        with self._lock:
            kept = [row if row.get("TimeGenerated") else {**row, "TimeGenerated": _iso(self.clock())} for row in rows]
            self._rows.setdefault(table, []).extend(dict(row) for row in kept)
        if self.on_rows is not None:
            self.on_rows(table, [dict(row) for row in kept])

    def clear(self) -> None:
        """Forget all rows and every table that was not declared."""
        with self._lock:
            for table in self._types:
                self._connection.execute(f"DROP TABLE {_quoted(table)}")
            self._types.clear()
            self._rows.clear()
            self._stored.clear()
            for table, columns in self._declared.items():
                self._create(table, {name: _KQL_TYPES[kind] for name, kind in columns.items()})

    def _create(self, table: str, types: dict[str, str]) -> None:
        definition = ", ".join(f"{_quoted(name)} {_sql(kind)}" for name, kind in types.items())
        self._connection.execute(f"CREATE TABLE {_quoted(table)} ({definition})")
        self._types[table] = dict(types)

    def _store(self) -> None:
        """Put what has come since the last query into its tables."""
        for table, rows in self._rows.items():
            fresh = rows[self._stored.get(table, 0) :]
            if not fresh:
                continue
            self._widen(table, fresh)
            columns = list(self._types[table])
            marks = ", ".join("?" for _ in columns)
            named = ", ".join(_quoted(name) for name in columns)
            values = [[_stored(row.get(name), self._types[table][name]) for name in columns] for row in fresh]
            self._connection.executemany(f"INSERT INTO {_quoted(table)} ({named}) VALUES ({marks})", values)
            self._stored[table] = len(rows)

    def _widen(self, table: str, rows: Sequence[JsonObject]) -> None:
        known = self._types.get(table)
        types = {"TimeGenerated": "TIMESTAMP"} if known is None else dict(known)
        for row in rows:
            for name, value in row.items():
                kind = _kind(name, value)
                types[name] = _wider(types[name], kind) if name in types else kind
        if known is None:
            self._create(table, types)
            return
        for name, kind in types.items():
            if name not in known:
                self._connection.execute(f"ALTER TABLE {_quoted(table)} ADD COLUMN {_quoted(name)} {_sql(kind)}")
            elif kind != known[name]:
                self._connection.execute(f"ALTER TABLE {_quoted(table)} ALTER COLUMN {_quoted(name)} TYPE {_sql(kind)}")
        self._types[table] = types


@lru_cache(maxsize=100)
def _function(definition: str) -> StoredFunction:
    """Parsing takes a twentieth of a second, and several workspaces save the same."""
    parsed = parse_functions([definition])
    assert parsed is not None
    (function,) = parsed[None].values()
    return function


def _kind(name: str, value: object) -> str:
    if name == "TimeGenerated" or name.endswith(("At", "By")):
        if value is None:
            return "TIMESTAMP" if name == "TimeGenerated" else _UNTYPED
        if isinstance(value, str) and _moment(value) is not None:
            return "TIMESTAMP"
    match value:
        case None:
            return _UNTYPED
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT"
        case float():
            return "DOUBLE"
        case list() | dict():
            return "JSON"
        case _:
            return "VARCHAR"


def _wider(known: str, kind: str) -> str:
    if kind in (known, _UNTYPED):
        return known
    if known == _UNTYPED:
        return kind
    if {known, kind} == {"BIGINT", "DOUBLE"}:
        return "DOUBLE"
    return known if known == "JSON" else "VARCHAR"


def _sql(kind: str) -> str:
    return "VARCHAR" if kind == _UNTYPED else kind


def _stored(value: object, kind: str) -> object:
    if value is None:
        return None
    match kind:
        case "TIMESTAMP":
            return _moment(str(value))
        case "JSON":
            return json.dumps(value)
        case "VARCHAR" if not isinstance(value, str):
            return json.dumps(value)
        case _:
            return value


def _moment(value: str) -> datetime | None:
    try:
        return parse_time(value).replace(tzinfo=None)
    except ValueError:
        return None


def _reported(kind: str) -> str:
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return "datetime"
    if kind.endswith("[]") or kind.startswith(("STRUCT", "MAP")):
        return "dynamic"
    return "real" if kind.startswith("DECIMAL") else _REPORTED.get(kind, "string")


def _shown(value: Any, kind: str) -> object:
    match value:
        case datetime():
            return _iso(value)
        case date():
            return f"{value.isoformat()}T00:00:00Z"
        case Decimal():
            return float(value)
        case timedelta():
            return str(value)
        case str() if kind == "dynamic":
            return json.loads(value)
        case None | bool() | int() | float() | str() | list() | dict():
            return value
        case _:
            return str(value)


def _iso(moment: datetime) -> str:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat().removesuffix("+00:00") + "Z"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
