"""The whole product in a process of its own: an event goes in over HTTP, and a row comes out of Log Analytics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.events import key_vault_event

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import asyncio, json, logging, sys, time
from pathlib import Path
import aiohttp
from keydrift_local.azure.event_topic import TOPIC_ENDPOINT
from keydrift_local.event_delivery import leave_dead_letter
from azure.identity import ManagedIdentityCredential
from azure.monitor.query import LogsQueryClient
from azure.storage.blob.aio import ContainerClient
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.adapters.storage_queue import StorageQueue
from keydrift.bootstrap import SystemClock
from keydrift_local.laptop import hosting
from keydrift_local.log_tables import declare_tables
from keydrift_local.tenant_file import parse_tenant

logging.basicConfig(level=logging.WARNING)
told = json.loads(sys.stdin.read())
NOTICE = {"aeg-event-type": "Notification"}
QUERY = '''KeyDriftAlerts_CL
| project Sequence, Kind, Verdict, FindingCodes, ActorName, ConsumerCount, DetectedVia
| order by Sequence asc'''

async def until(what, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        found = await what()
        if found is not None or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.05)

async def put_on_queue(told, body):
    # As Event Grid does: base64 on a storage queue; on a laptop, the queue that stands for it
    name = told["settings"].get("KEYDRIFT_EVENTS_QUEUE", "keydrift-events")
    if "AzureWebJobsStorage" in told["settings"]:
        queue = StorageQueue.from_connection_string(told["settings"]["AzureWebJobsStorage"], name)
    else:
        queue = SqliteQueue(told["state"], name, SystemClock())
    await queue.put(body)
    await queue.close()

async def leave(told, event):
    # As Event Grid does: a blob in the dead-letter container; on a laptop, a file in the folder that stands for it
    folder = Path(told["state"]).parent / told["container"]
    path = leave_dead_letter(folder, event, 30, SystemClock().now())
    if "AzureWebJobsStorage" in told["settings"]:
        async with ContainerClient.from_connection_string(told["settings"]["AzureWebJobsStorage"], told["container"]) as blobs:
            if not await blobs.exists():
                await blobs.create_container()
            await blobs.upload_blob(path.relative_to(folder).as_posix(), path.read_bytes())
        path.unlink()

async def main():
    answers = {"rejected": [], "taken": []}
    tenant = parse_tenant(told["tenant"], "test")
    settings = {**told["settings"], "KEYDRIFT_ALERT_TOPIC_ENDPOINT": TOPIC_ENDPOINT if told["topic"] else ""}
    async with hosting(tenant, Path(told["state"]), port=0, settings=settings) as (laptop, host):
        declare_tables(laptop.azure.logs)
        base = f"http://127.0.0.1:{host.port}"
        hook = f"{base}/runtime/webhooks/EventGrid?functionName=receive"
        async with aiohttp.ClientSession() as session:
            async def post(body):
                async with session.post(hook, data=body, headers=NOTICE) as answer:
                    return answer.status

            async def posture():
                async with session.get(f"{base}/api/posture") as answer:
                    return await answer.json()

            async def verdict(wanted):
                async def look():
                    document = await posture()
                    return document if [each["verdict"] for each in document["bindings"]] == [wanted] else None
                return await until(look)

            async with session.post(f"{base}/admin/functions/sweep", json={"input": ""}) as answer:
                answer.raise_for_status()
            answers["before"] = await verdict("held")
            for body in told["rejected"]:
                answers["rejected"].append(await post(body))
            for body in told["taken"]:
                answers["taken"].append(await post(body))
            for change, wanted in told["changes"]:
                events = laptop.azure.change(change, told["actor"])
                started = time.monotonic()
                if told["way"] == "function":
                    answers["taken"].append(await post(json.dumps([*told["noise"], *events, *told["noise"]])))
                for event in events:
                    if told["way"] == "queue":
                        await put_on_queue(told, json.dumps(event))
                    elif told["way"] == "dead letters":
                        await leave(told, event)
                        async with session.post(f"{base}/admin/functions/take_back", json={"input": ""}) as answer:
                            answer.raise_for_status()
                answers[wanted] = await verdict(wanted)
                answers[f"{wanted} after"] = time.monotonic() - started
            async with session.get(f"{base}/api/posture", headers={"Accept": "text/html, */*;q=0.8"}) as answer:
                answers["page"] = [answer.status, answer.headers["Content-Type"], dict(answer.headers), await answer.text()]
            async with session.get(f"{base}/api/posture?format=xml") as answer:
                answers["refused"] = [answer.status, await answer.text()]

        with ManagedIdentityCredential() as identity, LogsQueryClient(identity) as logs:
            async def rows():
                found = await asyncio.to_thread(logs.query_workspace, "any", QUERY, timespan=None)
                # Delivery is at least once: the same alert twice is one
                table = [dict(zip(found.tables[0].columns, row)) for row in found.tables[0].rows]
                table = list({row["Sequence"]: row for row in table}.values())
                return table if len(table) >= len(told["changes"]) else None
            answers["rows"] = await until(rows)
            async def published():
                found = list({each["id"]: each for each in laptop.azure.topic.events}.values())
                return found if len(found) >= len(told["changes"]) or not told["topic"] else None
            answers["published"] = await until(published)
        answers["requests"] = sum(1 for each in laptop.azure.requests if "ingest" in each.host)
    print(json.dumps(answers, default=str))

asyncio.run(main())
"""

ACTOR = {"objectId": tenants.guid(501), "upn": "iam-admin@contoso.com", "ip": "203.0.113.7"}
ASSIGNMENT = tenants.role_assignment(3, tenants.vault_id(), tenants.CRYPTO_SERVICE_ENCRYPTION_USER, tenants.IDENTITY_OBJECT_ID)
NOISE = [{"id": "e1", "eventType": None}, "text", None, key_vault_event("KeyNewVersionCreated", topic="nowhere")]


@pytest.fixture(params=["sqlite", "azurite"])
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a state store: a SQLite file, or a storage account as Azurite serves it, fresh for each test."""
    if request.param == "sqlite":
        return {}
    connection = request.getfixturevalue("azurite")
    return {"KEYDRIFT_STATE": "AzureWebJobsStorage", "AzureWebJobsStorage": connection, **_names(uuid.uuid4().hex)}


def _names(unique: str) -> dict[str, str]:
    kinds = ("TABLE", "RECHECK_QUEUE", "EVENTS_QUEUE", "DEAD_LETTER_CONTAINER")
    return {f"KEYDRIFT_{kind}": f"t{number}{unique}" for number, kind in enumerate(kinds)}


def _run(
    folder: Path, settings: Mapping[str, str], *, noisy: bool = False, way: str = "function", topic: bool = False
) -> dict[str, Any]:
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    del tenant["now"]  # real time
    told = {
        "tenant": tenant,
        "state": str(folder / "state.db"),
        "settings": dict(settings),
        "container": settings.get("KEYDRIFT_DEAD_LETTER_CONTAINER", "keydrift-dead-letters"),
        "way": way,
        "topic": topic,
        "actor": ACTOR,
        "changes": [[{"delete": ASSIGNMENT["id"]}, "lost"], [{"put": ASSIGNMENT}, "held"]],
        "noise": NOISE if noisy else [],
        "rejected": ["", "not json", "12", "[" * 100_000, "{", '"text"'],
        "taken": [] if not noisy else ["{}", "[]", "[12]", json.dumps([NOISE[0]] * 50), json.dumps(["x" * 1_000_000])],
    }
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(told),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers: dict[str, Any] = json.loads(ended.stdout)
    return answers


def _judge(answers: dict[str, Any]) -> None:
    rows = answers["rows"]
    shown = [(row["Kind"], row["Verdict"], row["ActorName"], row["ConsumerCount"], row["DetectedVia"]) for row in rows]
    assert shown == [
        ("opened", "lost", ACTOR["upn"], 1, "event"),
        ("resolved", "held", ACTOR["upn"], 1, "event"),
    ]
    assert json.loads(rows[0]["FindingCodes"]) == ["role-assignment-absent"]
    (lost,) = answers["lost"]["bindings"]
    assert [finding["code"] for finding in lost["findings"]] == ["role-assignment-absent"]
    assert answers["before"]["bindings"][0]["verdict"] == "held"
    assert answers["lost after"] < 10


@pytest.mark.parametrize("way", ["function", "queue", "dead letters"])
def test_an_event_becomes_a_row(tmp_path: Path, store: dict[str, str], way: str) -> None:
    """An event becomes a row that the Log Analytics client reads by KQL, and shows in the posture, whichever way it comes in."""
    answers = _run(tmp_path, store, way=way)
    _judge(answers)
    assert (tmp_path / "state.db").exists() == (not store)
    assert answers["published"] == []
    _judge_page(answers)


def _judge_page(answers: dict[str, Any]) -> None:
    """The function answers a browser with the page and the alerts in its history, and refuses a format that there is none of."""
    status, content_type, headers, html = answers["page"]
    assert (status, content_type.replace(" ", "")) == (200, "text/html;charset=utf-8")
    assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    assert headers["Cache-Control"] == "no-store"
    columns = json.loads(html.partition('id="data">')[2].partition("</script>")[0])["columns"]
    (history,) = columns["history"]
    assert [(each["kind"], each["verdict"], each["actor"]) for each in history] == [
        ("opened", "lost", ACTOR["upn"]),
        ("resolved", "held", ACTOR["upn"]),
    ]
    assert columns["since"] == [history[1]["at"]]
    assert answers["refused"] == [400, "there is no format `xml`: use json or html\n"]


def test_the_webhook_survives_whatever_is_posted(tmp_path: Path, store: dict[str, str]) -> None:
    """What is no JSON document is refused, every other delivery is acknowledged, and events beside noise still count."""
    answers = _run(tmp_path, store, noisy=True)
    assert set(answers["rejected"]) == {400}
    assert set(answers["taken"]) == {202}
    assert len(answers["taken"]) == 7
    assert [row["Kind"] for row in answers["rows"]] == ["opened", "resolved"]


def test_a_topic_gets_every_alert_too(tmp_path: Path, store: dict[str, str]) -> None:
    """With an Event Grid topic set, each alert is a row and a CloudEvent of the same id."""
    answers = _run(tmp_path, store, topic=True)
    _judge(answers)
    kinds = [(event["type"], event["data"]["Verdict"]) for event in answers["published"]]
    assert kinds == [("Keydrift.KeyBinding.Opened", "lost"), ("Keydrift.KeyBinding.Resolved", "held")]
    assert all(event["id"] == event["data"]["AlertId"] for event in answers["published"])
