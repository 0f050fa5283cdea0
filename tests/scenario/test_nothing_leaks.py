"""Everything that the monitor writes while it is played at, searched for tokens, secrets and others' claims."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from keydrift.adapters import http
from keydrift.adapters.http import ClockTransport
from keydrift.logs import WithExtras
from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.events import CLAIMS, OBJECT_ID_CLAIM, UPN_CLAIM, as_cloud_event, key_vault_event, resource_event
from support.rehearsals import SWEEP, Played, advance, rehearsal

VAULT = tenants.vault_id()
ASSIGNMENT = f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/{tenants.guid(3)}"
DELETE = "Microsoft.Authorization/roleAssignments/delete"
# Members of a real token (azure-facts 3.4) beside the four that are documented, each with a value of its own
HIDDEN = {
    name: f"hidden-{number}-of-claims"
    for number, name in enumerate(
        ("puid", "groups", "wids", "uti", "aio", "sub", "idtyp", "xms_mirid", "xms_tcdt", "_claim_sources", "family_name",
         "http://schemas.microsoft.com/identity/claims/tenantid", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")
    )
}  # fmt: skip
MORE: dict[str, Any] = {
    "claims": {**CLAIMS, **HIDDEN},
    "authorization": {"scope": ASSIGNMENT, "action": DELETE, "evidence": {"role": "Owner", "principalId": "hidden-evidence"}},
    "httpRequest": {"clientIpAddress": "203.0.113.9", "method": "DELETE", "url": "https://x/?sig=hidden-signature"},
}
GOOD = resource_event(DELETE, ASSIGNMENT, "DeleteSuccess", **MORE)
EVENTS: tuple[Any, ...] = (
    GOOD,
    as_cloud_event(GOOD),
    key_vault_event("VaultAccessPolicyChanged") | {"data": {**MORE, "VaultName": "kv1"}},
    {**GOOD, "data": {**MORE, "resourceUri": "kv1", "operationName": DELETE}, "subject": "x"},
    {**GOOD, "eventType": 5},
    {**GOOD, "data": json.dumps({**MORE, "resourceUri": "nothing"}), "subject": "x"},
    json.dumps(GOOD)[:-9],
    "noise " + json.dumps(GOOD),
    resource_event("Microsoft.Web/sites/write", "/subscriptions/s/x/y", **MORE),
)
FAULTS: tuple[dict[str, Any], ...] = (
    {"match": "GET https://management.azure.com*", "status": 403},
    {"match": "GET https://management.azure.com*", "status": 500},
    {"match": "GET https://management.azure.com*", "status": 429, "headers": {"Retry-After": "400"}},
    {"match": "GET https://management.azure.com*", "status": 0},
    {"match": "GET https://management.azure.com*", "status": 200, "body": {"id": 5}},
    {"match": "GET https://management.azure.com*", "status": 302, "headers": {"Location": "https://evil.example/"}},
    {"match": "GET https://graph.microsoft.com*", "status": 401},
    {"match": "GET *msi/token*", "status": 400},
    {"match": "POST *ingest*", "status": 500},
    {"match": "POST *ingest*", "status": 403},
)


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The `Authorization` of everything that the process's transport sends."""
    found: set[str] = set()

    class Listening(ClockTransport):
        async def send(self, request: Any, **options: Any) -> Any:
            found.add(str(request.headers.get("Authorization", "")))
            return await super().send(request, **options)

    monkeypatch.setattr(http, "ClockTransport", Listening)
    return found


def written(records: list[logging.LogRecord]) -> str:
    """Log records as any handler could write them: the message, every extra, and the whole traceback."""
    formatter = WithExtras("%(asctime)s %(levelname)s %(name)s %(message)s")
    return "\n".join(f"{formatter.format(each)} {each.__dict__!r}" for each in records)


def stored() -> str:
    """Every row of every table of the state, as text."""
    base = sqlite3.connect(os.environ["KEYDRIFT_STATE"].removeprefix("sqlite:"))
    try:
        names = [name for (name,) in base.execute("select name from sqlite_master where type = 'table'")]
        return "\n".join(repr(row) for name in names for row in base.execute(f'select * from "{name}"'))
    finally:
        base.close()


async def played_at(played: Played) -> None:
    """Every event twice, every fault once with an event and a sweep in it."""
    await played.play({"change": {"delete": ASSIGNMENT}, "silent": True})
    for event in (*EVENTS, *EVENTS):
        await played.play({"event": event}, advance("PT20S"))
    for fault in FAULTS:
        await played.play({"fault": fault}, {"event": GOOD}, SWEEP, advance("PT16M"), {"fault": None}, advance("PT5M"))


async def test_no_token_secret_or_claim_is_written_anywhere(
    tokens: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Logs at DEBUG with their extras and tracebacks, rows, the state, the posture and both streams hold no token, no identity
    secret, no `Authorization` header, and of the callers' claims only the four that are documented."""
    caplog.set_level(logging.DEBUG)
    document = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    async with rehearsal(tmp_path, document, SWEEP) as played:
        secret = os.environ["IDENTITY_HEADER"]
        await played_at(played)
        rows = json.dumps(
            [row for table in ("KeyDriftAlerts_CL", "KeyDriftPosture_CL") for row in played.azure.logs.rows(table)], default=str
        )
        state = stored()
        async with played.state() as kept:
            letters = len(await kept.dead_letters())
    streams = capfd.readouterr()
    places = {"logs": written(caplog.records), "rows": rows, "state": state, "stdout": streams.out, "stderr": streams.err}
    headers = {each for each in tokens if each}
    assert len(headers) >= 2
    assert len(secret) > 8
    assert letters >= 5
    for name in (OBJECT_ID_CLAIM, UPN_CLAIM, "appid", "ipaddr"):
        assert str(CLAIMS[name]) in rows, f"{name} is documented as kept, so the search has something to find"
    assert len(places["logs"]) > 100_000
    needles = {secret, "hidden-", *headers, *(each.split()[-1] for each in headers), *(each.split(".")[1] for each in headers)}
    for where, text in places.items():
        for needle in needles:
            assert needle not in text, (
                f"{where} hold `{needle[:30]}`: …{text[max(0, text.find(needle) - 300) : text.find(needle) + 80]}"
            )
