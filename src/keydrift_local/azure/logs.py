"""Azure Monitor's two surfaces: the Logs Ingestion API and the query API, in front of the local workspace.

Sources: `logs-ingestion-api-overview` (azure-facts 6), the Log Analytics query API's response format.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib

from keydrift_local.azure.log_analytics import LogAnalytics, QueryError
from keydrift_local.azure.messages import Answer, Call, error
from keydrift_local.documents import JsonObject, text

DCR_RULE_ID = "dcr-6b6579647269667400000000000000ab"
_MOST_BYTES = 1_000_000
_STREAM = re.compile(r"Custom-(?P<table>[A-Za-z0-9_]+)")


def ingest(call: Call, logs: LogAnalytics) -> Answer:
    """`POST /dataCollectionRules/{id}/streams/{stream}`: 204, or why not. The token has been checked."""
    if (
        len(call.parts) != 4
        or (call.segments[0], call.segments[2]) != ("datacollectionrules", "streams")
        or call.method != "POST"
    ):
        return error(404, "NotFound", f"The path '{call.path}' is not simulated.")
    if not call.options.get("api-version"):
        return error(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required.")
    if call.parts[1] != DCR_RULE_ID:
        return error(404, "NotFound", f"Data collection rule with immutable Id '{call.parts[1]}' not found.")
    stream = _STREAM.fullmatch(call.parts[3])
    if stream is None:
        return error(400, "InvalidStream", f"The stream '{call.parts[3]}' was not configured in the data collection rule.")
    try:
        body = gzip.decompress(call.body) if call.headers.get("content-encoding", "").lower() == "gzip" else call.body
        if max(len(body), len(call.body)) > _MOST_BYTES:
            return error(413, "ContentLengthLimitExceeded", f"Maximum allowed content length: {_MOST_BYTES} bytes.")
        rows = json.loads(body)
    except (OSError, EOFError, zlib.error, ValueError) as problem:
        return error(400, "InvalidPayload", f"The payload could not be decoded: {problem}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return error(400, "InvalidPayload", "The payload should be a JSON array of objects.")
    table = stream["table"] if stream["table"].endswith("_CL") else f"{stream['table']}_CL"
    logs.accept(table, rows)
    return Answer(status=204)


def query(call: Call, logs: LogAnalytics) -> Answer:
    """`POST /v1/workspaces/{id}/query`: one table. The workspace id is free; a `timespan` is refused rather than ignored."""
    if len(call.segments) != 4 or (call.segments[1], call.segments[3]) != ("workspaces", "query") or call.method != "POST":
        return error(404, "PathNotFoundError", f"The requested path '{call.path}' does not exist")
    try:
        asked = call.json()
    except ValueError as problem:
        return error(400, "BadArgumentError", f"The request had some invalid properties: {problem}")
    kql = text(asked, "query")
    if kql is None:
        return error(400, "BadArgumentError", "The request had some invalid properties: query is missing")
    if text(asked, "timespan") is not None:
        return error(400, "BadArgumentError", "timespan is not simulated: filter on TimeGenerated in the query")
    try:
        result = logs.run(kql)
    except QueryError as problem:
        return error(400, "BadArgumentError", str(problem), inner={"code": "SemanticError", "message": str(problem)})
    rows = [[_wire(value) for value in row] for row in result.rows]
    columns = [{"name": name, "type": kind} for name, kind in result.columns]
    table: JsonObject = {"name": "PrimaryResult", "columns": columns, "rows": rows}
    return Answer(body={"tables": [table]})


def _wire(value: object) -> object:
    """The query API sends dynamic values as JSON text."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value
