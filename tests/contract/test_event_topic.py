"""Alerts to an Event Grid custom topic: each is a CloudEvent with the alert's own id, and what is refused says what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from keydrift.adapters.event_topic import EventTopicSink
from keydrift.alerts.actor import Explanation
from keydrift.alerts.row import alert_row
from keydrift.bootstrap import alert_sinks
from keydrift.drift import Alert, Kind, Via
from keydrift.model import Scenario, State
from keydrift.ocsf import alert_finding
from keydrift.outbox import OutboxName
from keydrift.ports import DeliveryError
from keydrift.settings import Settings
from keydrift_local.azure.event_topic import TOPIC_ENDPOINT
from keydrift_local.local_azure import LocalAzure, Request
from support.azure import asked, reading
from support.builders import NOW, RBAC, TENANT, binding, granting, judged
from support.queues_memory import ManualClock

POST = "POST https://*.eventgrid.azure.net/*"
STORE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1"


@asynccontextmanager
async def sink(clock: ManualClock | None = None, endpoint: str = TOPIC_ENDPOINT) -> AsyncIterator[EventTopicSink]:
    async with reading(clock) as composed:
        yield EventTopicSink(endpoint=endpoint, credential=composed.credential, transport=composed.transport)


def _alert() -> Mapping[str, object]:
    of = binding(Scenario.CVM_CMK, RBAC)
    made = Alert(
        id="alert",
        kind=Kind.OPENED,
        sequence=1,
        verdict=judged(of, granting(of, RBAC, ())),
        previous=State.HELD,
        via=Via.EVENT,
        detected_at=NOW,
        cause_key="cause",
        explanation=Explanation.none(),
    )
    return alert_row(made, TENANT)


ALERT = _alert()


def row(number: int = 0, size: int = 0, **changed: object) -> Mapping[str, object]:
    return {
        **ALERT,
        "TimeGenerated": "2026-01-01T00:00:01.500Z",
        "AlertId": f"alert-{number}",
        "Kind": "opened",
        "KeyStoreId": STORE,
        "KeyUri": "https://kv1.vault.azure.net/keys/k1",
        "Sequence": number,
        "OutageSeconds": None,
        "Exempted": False,
        "Findings": [{"code": "role-assignment-absent", "evidence": {"denies": []}}],
        "Summary": "ü" + "x" * size,
        **changed,
    }


def posts(azure: LocalAzure) -> list[Request]:
    return [each for each in asked(azure) if each.method == "POST"]


@pytest.mark.parametrize(("kind", "word"), [("opened", "Opened"), ("changed", "Changed"), ("resolved", "Resolved")])
async def test_an_alert_is_a_cloud_event(azure: LocalAzure, kind: str, word: str) -> None:
    """An alert is published as a CloudEvent: its id, its kind as the type, the key store as the subject, as the data the row and
    the same as an OCSF finding."""
    sent = row(Kind=kind)
    async with sink() as target:
        await target.send([sent])
    (event,) = azure.topic.events
    assert event["id"] == "alert-0"
    assert (event["type"], event["source"], event["subject"]) == (f"Keydrift.KeyBinding.{word}", "keydrift", STORE)
    assert datetime.fromisoformat(str(event["time"])) == datetime.fromisoformat("2026-01-01T00:00:01.500Z")
    assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
    data = event["data"]
    assert isinstance(data, dict)
    assert {name: value for name, value in data.items() if name != "Ocsf"} == sent
    assert data["Ocsf"] == alert_finding(sent)
    DetectionFinding.model_validate(data["Ocsf"])


async def test_a_key_store_without_an_id_is_named_by_its_key(azure: LocalAzure) -> None:
    """Where the key store's id is not known the key's address is the subject, since a CloudEvent of a topic needs one."""
    async with sink() as target:
        await target.send([row(KeyStoreId=None)])
    assert azure.topic.events[0]["subject"] == "https://kv1.vault.azure.net/keys/k1"


@pytest.mark.parametrize(
    "endpoint", [TOPIC_ENDPOINT, TOPIC_ENDPOINT.removesuffix("/api/events"), TOPIC_ENDPOINT.removesuffix("api/events")]
)
async def test_the_endpoint_may_be_the_host_alone(azure: LocalAzure, endpoint: str) -> None:
    """The endpoint works as the portal shows it, and without its path."""
    async with sink(endpoint=endpoint) as target:
        await target.send([row()])
    assert len(azure.topic.events) == 1


@pytest.mark.parametrize(("count", "size"), [(40, 60_000), (3, 200_000), (1_500, 100)])
async def test_bodies_stay_under_a_megabyte(azure: LocalAzure, count: int, size: int) -> None:
    """More than fits in one body is split; every alert arrives once, in order. Nothing is sent for no rows."""
    sent = [row(number, size) for number in range(count)]
    async with sink() as target:
        await target.send([])
        assert posts(azure) == []
        await target.send(sent)
    assert [each["id"] for each in azure.topic.events] == [each["AlertId"] for each in sent]
    assert {each.status for each in posts(azure)} == {200}
    assert len(posts(azure)) > 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, ("HTTP 400", "CloudEvents 1.0")),
        (401, ("HTTP 401", "EventGrid Data Sender")),
        (403, ("HTTP 403", "EventGrid Data Sender")),
        (404, ("HTTP 404", "`KEYDRIFT_ALERT_TOPIC_ENDPOINT`")),
        (429, ("HTTP 429", "published again")),
        (503, ("HTTP 503", "published again")),
        (0, ("no answer", "`KEYDRIFT_ALERT_TOPIC_ENDPOINT`")),
    ],
)
async def test_a_refusal_says_what_to_do(azure: LocalAzure, status: int, words: tuple[str, ...]) -> None:
    """Every refusal is one line that says what to do; nothing was accepted, nothing is given up, nothing waits in real time."""
    azure.fault({"match": POST, "status": status, "headers": {"Retry-After": "900"}})
    clock = ManualClock()
    start = clock.now()
    async with sink(clock) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send([row()])
    assert [word for word in words if word not in str(caught.value)] == []
    assert (caught.value.accepted, caught.value.for_good) == (0, False)
    assert (clock.now() - start).total_seconds() < 60
    assert azure.topic.events == []


async def test_the_alert_that_is_too_large_is_found(azure: LocalAzure) -> None:
    """Of a body that is too large, what comes before the alert to blame arrives, and that alert is refused for good."""
    sent = [row(0), row(1), row(2, 1_200_000), row(3)]
    async with sink() as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(sent)
    assert (caught.value.accepted, caught.value.for_good) == (2, True)
    assert [each["id"] for each in azure.topic.events] == ["alert-0", "alert-1"]


async def test_without_a_token_the_identity_is_named(azure: LocalAzure) -> None:
    """Where there is no token nothing is published, and no alert is to blame."""
    azure.fault({"match": "GET *msi/token", "status": 400, "body": {"statusCode": 400, "message": "no identity"}})
    async with sink() as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send([row()])
    assert "managed identity" in str(caught.value)
    assert not caught.value.for_good


async def test_the_token_is_event_grids(azure: LocalAzure) -> None:
    """A token of another audience would be refused: the topic checks it, and takes what the sink sends."""
    async with reading() as composed:
        sinks = alert_sinks(Settings(alert_topic_endpoint=TOPIC_ENDPOINT), composed)
        assert set(sinks) == {OutboxName.LOG_ANALYTICS, OutboxName.EVENT_TOPIC}
        await sinks[OutboxName.EVENT_TOPIC].send([row()])
        assert set(alert_sinks(Settings(), composed)) == {OutboxName.LOG_ANALYTICS}
    tokens = [each.query["resource"] for each in azure.requests if each.host == "127.0.0.1"]
    assert tokens == ["https://eventgrid.azure.net"]
    assert json.dumps(azure.topic.events[0])
