"""Of what an event's claims tell of a person four are kept: object id, UPN, application id, IP. Nothing else leaves."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from keydrift.model import PermissionModel, Scenario
from keydrift.tables import HEALTH, POSTURE
from support import tenants
from support.rehearsals import SWEEP, advance, rehearsal

MARK = "leak"
OBJECT_ID, APP_ID = tenants.guid(501), tenants.guid(502)
_MICROSOFT, _SOAP = "http://schemas.microsoft.com/identity/claims/", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
KEPT = {
    f"{_MICROSOFT}objectidentifier": OBJECT_ID,
    f"{_SOAP}upn": "iam-admin@contoso.com",
    "appid": APP_ID,
    "ipaddr": "203.0.113.7",
}
# Names as they stand in tokens of Entra (learn.microsoft.com/entra/identity-platform/access-token-claims-reference)
OTHERS = (
    "aud", "iss", "iat", "nbf", "exp", "aio", "uti", "rh", "ver", "sid", "groups", "wids", "puid", "altsecid", "idtyp",
    "xms_tcdt", "name", "given_name", "family_name", "email", "deviceid", "appidacr",
    "http://schemas.microsoft.com/claims/authnclassreference",
    "http://schemas.microsoft.com/claims/authnmethodsreferences", f"{_MICROSOFT}scope", f"{_MICROSOFT}tenantid",
    f"{_SOAP}givenname", f"{_SOAP}surname", f"{_SOAP}nameidentifier", f"{_SOAP}emailaddress",
)  # fmt: skip


def deletion(assignment: str, claims: dict[str, str]) -> dict[str, Any]:
    data = {
        "operationName": "Microsoft.Authorization/roleAssignments/delete",
        "resourceUri": assignment,
        "status": "Succeeded",
        "correlationId": tenants.guid(1302),
        "claims": claims,
        "authorization": {
            "scope": assignment,
            "action": "delete",
            "evidence": {"role": f"{MARK}-role", "principalId": f"{MARK}-p"},
        },
        "httpRequest": {"clientRequestId": f"{MARK}-request", "clientIpAddress": f"{MARK}-address", "method": "DELETE"},
        "subscriptionId": tenants.SUBSCRIPTION,
    }
    return {
        "event": {
            "id": tenants.guid(302),
            "topic": f"/subscriptions/{tenants.SUBSCRIPTION}",
            "subject": assignment,
            "eventType": "Microsoft.Resources.ResourceDeleteSuccess",
            "eventTime": "2026-01-01T00:00:00.0000000Z",
            "dataVersion": "2",
            "metadataVersion": "1",
            "data": data,
        }
    }


async def test_no_other_claim_leaves_or_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a row, nor a log record, nor anything that state and queue hold, shows any other claim; the four are in the row."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="keydrift")
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    assignment = next(each["id"] for each in tenant["roleAssignments"] if each["id"].endswith(tenants.guid(3)))
    event = deletion(assignment, KEPT | {name: f"{MARK}-{number}" for number, name in enumerate(OTHERS)})
    silently = {"change": {"delete": assignment}, "silent": True}
    async with rehearsal(tmp_path, tenant, SWEEP, silently, event, advance("PT1M")) as played:
        state = Path(os.environ["KEYDRIFT_STATE"].removeprefix("sqlite:"))
        kept = b"".join(path.read_bytes() for path in state.parent.glob(f"{state.name}*"))
        await played.play(SWEEP, advance("PT25H"))
        (opened, *later) = played.alerts
        logs = played.azure.logs
        rows = [*played.alerts, *logs.rows(POSTURE), *logs.rows(HEALTH)]
    assert {opened[name] for name in ("ActorObjectId", "ActorName", "ActorAppId", "ActorIp")} == set(KEPT.values())
    assert [each["Reason"] for each in later] == ["reminder"]
    assert len(rows) > 3
    assert caplog.records
    for told in (*map(json.dumps, rows), *(repr(vars(record)) + record.getMessage() for record in caplog.records)):
        assert MARK not in told
    # What state holds would show it, as it shows whom it kept
    assert OBJECT_ID.encode() in kept
    assert MARK.encode() not in kept
