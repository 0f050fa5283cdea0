"""Alerts to Log Analytics: rows arrive in order, in bodies that the service takes, and what is refused says what to do."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from keydrift.adapters.log_analytics import LogAnalyticsSink, UnconfiguredSink
from keydrift.adapters.row_batches import chunks
from keydrift.ports import DeliveryError
from keydrift_local.azure.log_analytics import LogAnalytics
from keydrift_local.azure.messages import Answer, Call, error
from keydrift_local.local_azure import LocalAzure, Request
from support.azure import asked, reading
from support.queues_memory import ManualClock

TABLE = "KeyDriftAlerts_CL"
# The Logs Ingestion API takes bodies of 1 MB (azure-facts 6)
LIMIT = 1_000_000
POST = "POST https://*.ingest.monitor.azure.com/*"


@asynccontextmanager
async def sink(azure: LocalAzure, clock: ManualClock | None = None, **changed: str) -> AsyncIterator[LogAnalyticsSink]:
    where = {
        "endpoint": azure.environment["KEYDRIFT_DCR_ENDPOINT"],
        "rule_id": azure.environment["KEYDRIFT_DCR_RULE_ID"],
        "stream": f"Custom-{TABLE}",
        **changed,
    }
    async with reading(clock) as composed:
        yield LogAnalyticsSink(cloud=composed.cloud, credential=composed.credential, transport=composed.transport, **where)


def rows(count: int, size: int = 0) -> list[Mapping[str, object]]:
    return [{"AlertId": f"alert-{number}", "Sequence": number, "Summary": "x" * size} for number in range(count)]


def posts(azure: LocalAzure) -> list[Request]:
    return [each for each in asked(azure) if each.method == "POST"]


async def test_rows_arrive_in_order(azure: LocalAzure) -> None:
    """What is sent is stored, unchanged and in order, and nothing is sent for no rows."""
    sent: list[Mapping[str, object]] = [
        {"TimeGenerated": f"2026-01-01T00:00:0{number}Z", "Verdict": "löst", "Missing": ["keys/get"], "EffectiveBy": None, **row}
        for number, row in enumerate(rows(3))
    ]
    async with sink(azure) as target:
        await target.send([])
        assert azure.requests == []
        await target.send(sent)
    assert azure.logs.rows(TABLE) == sent
    assert [each.status for each in posts(azure)] == [204]


@pytest.mark.parametrize(("count", "size"), [(40, 60_000), (15_500, 0), (3, 700_000), (300, 5_000)])
async def test_more_than_a_megabyte_is_split(azure: LocalAzure, count: int, size: int) -> None:
    """Bodies stay under the limit, few large rows or many tiny ones, and every row arrives once, in order."""
    sent = rows(count, size)
    async with sink(azure) as target:
        await target.send(sent)
    stored = azure.logs.rows(TABLE)
    assert [each["AlertId"] for each in stored] == [each["AlertId"] for each in sent]
    assert {each.status for each in posts(azure)} == {204}
    assert len(posts(azure)) == len(list(chunks(sent))) > 1


@pytest.mark.parametrize("text", ["x", "ü", "𝄞", '"\\'])
@pytest.mark.parametrize(("count", "size"), [(90_000, 0), (2_000, 1_000), (10, 200_000)])
def test_every_chunk_is_smaller_than_the_limit(text: str, count: int, size: int) -> None:
    """A chunk's JSON, separators and escapes included, is under the limit, and no row is lost or moved."""
    sent: list[Mapping[str, object]] = [{"n": number, "s": text * (size // 6)} for number in range(count)]
    cut = list(chunks(sent))
    assert [row for chunk in cut for row in chunk] == sent
    assert max(len(json.dumps(chunk).encode()) for chunk in cut) < LIMIT
    assert len(cut) <= 2 + 2 * sum(len(json.dumps(row).encode()) + 2 for row in sent) // LIMIT


def test_separators_count() -> None:
    """Of the smallest rows there are, the separators are most of the body, and it stays under the limit all the same."""
    assert max(len(json.dumps(chunk)) for chunk in chunks([{}] * 600_000)) < LIMIT


async def test_one_huge_row_is_refused_by_name(azure: LocalAzure) -> None:
    """A row beyond the limit is sent alone and refused; the rows before it have arrived."""
    async with sink(azure) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send([*rows(2), {"AlertId": "huge", "Summary": "x" * 1_100_000}, *rows(1)])
    assert "HTTP 413" in str(caught.value)
    assert (caught.value.accepted, caught.value.for_good) == (2, True)
    assert len(azure.logs.rows(TABLE)) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("HTTP 401", "`KEYDRIFT_DCR_ENDPOINT`")),
        (403, ("HTTP 403", "Monitoring Metrics Publisher")),
        (404, ("HTTP 404", "`KEYDRIFT_DCR_RULE_ID`")),
        (413, ("HTTP 413", "report which key binding")),
        (429, ("HTTP 429", "sent again")),
        (500, ("HTTP 500", "sent again")),
        (503, ("HTTP 503", "sent again")),
        (400, ("HTTP 400", "data collection rule declares the stream")),
        (0, ("no answer", "`KEYDRIFT_DCR_ENDPOINT`")),
    ],
)
async def test_a_refusal_says_what_to_do(azure: LocalAzure, status: int, words: tuple[str, ...]) -> None:
    """Every refusal is one line that names it and what to do, and nothing waits on the real clock."""
    azure.fault({"match": POST, "status": status})
    async with sink(azure) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(1))
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert azure.logs.rows(TABLE) == []


async def test_without_a_token_the_identity_is_named(azure: LocalAzure) -> None:
    """Where there is no token, the line is about the identity, and no row is sent."""
    azure.fault({"match": "GET *msi/token", "status": 400, "body": {"statusCode": 400, "message": "no identity"}})
    async with sink(azure) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(1))
    assert "managed identity" in str(caught.value)
    assert posts(azure) == []


@pytest.mark.parametrize(
    ("changed", "word"), [({"rule_id": "dcr-another"}, "`KEYDRIFT_DCR_RULE_ID`"), ({"stream": "Microsoft-Syslog"}, "stream")]
)
async def test_a_wrong_setting_is_named(azure: LocalAzure, changed: dict[str, str], word: str) -> None:
    """A rule or stream that does not exist is named."""
    async with sink(azure, None, **changed) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(1))
    assert word in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
async def test_one_refusal_is_tried_again(azure: LocalAzure, status: int) -> None:
    """A service that asks to wait is asked again after that time on the product's clock."""
    clock = ManualClock()
    start = clock.now()
    azure.fault({"match": POST, "status": status, "times": 1, "headers": {"Retry-After": "5"}})
    async with sink(azure, clock) as target:
        await target.send(rows(2))
    assert (clock.now() - start).total_seconds() == 5
    assert len(azure.logs.rows(TABLE)) == 2


async def test_a_failing_second_chunk_is_an_error(azure: LocalAzure) -> None:
    """Where one body of several is refused, delivery has failed, and what came before it has arrived."""
    seen: list[Sequence[object]] = []

    def refuse_from_now_on(_table: str, arrived: Sequence[object]) -> None:
        seen.append(arrived)
        azure.fault({"match": POST, "status": 403})

    azure.logs.on_rows = refuse_from_now_on
    try:
        async with sink(azure) as target:
            with pytest.raises(DeliveryError) as caught:
                await target.send(rows(30, 60_000))
    finally:
        azure.logs.on_rows = None
    assert len(seen) == 1
    assert 0 < len(azure.logs.rows(TABLE)) < 30
    assert (caught.value.accepted, caught.value.for_good) == (len(azure.logs.rows(TABLE)), False)


async def test_a_429_without_retry_after_is_reported_and_not_given_up(azure: LocalAzure) -> None:
    """A 429 that says not how long to wait is not repeated by the SDK: it is reported at once, and no row is to blame."""
    azure.fault({"match": POST, "status": 429, "times": 1})
    async with sink(azure) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(2))
        assert (caught.value.accepted, caught.value.for_good) == (0, False)
        assert [each.status for each in posts(azure)] == [429]
        await target.send(rows(2))
    assert len(azure.logs.rows(TABLE)) == 2


@pytest.mark.parametrize("bad", [0, 1, 2, 6])
@pytest.mark.parametrize("status", [400, 413])
async def test_the_row_that_is_refused_is_found(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch, bad: int, status: int
) -> None:
    """Where a body is refused for what it holds, halves of it tell which row is to blame; those before it have arrived."""
    accept = azure.logs.accept

    def judge(call: Call, logs: LogAnalytics) -> Answer:
        body = gzip.decompress(call.body)
        if f'"alert-{bad}"'.encode() in body:
            return error(status, "InvalidPayload", "a row does not fit")
        accept(TABLE, json.loads(body))
        return Answer(status=204)

    monkeypatch.setattr("keydrift_local.azure.logs.ingest", judge)
    async with sink(azure) as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(7))
    assert (caught.value.accepted, caught.value.for_good) == (bad, True)
    assert [each["AlertId"] for each in azure.logs.rows(TABLE)] == [f"alert-{number}" for number in range(bad)]


async def test_a_stream_that_does_not_exist_blames_no_row(azure: LocalAzure) -> None:
    """An answer 400 that names the stream is about the settings: every row waits, none is put aside."""
    async with sink(azure, None, stream="Microsoft-Syslog") as target:
        with pytest.raises(DeliveryError) as caught:
            await target.send(rows(3))
    assert (caught.value.accepted, caught.value.for_good) == (0, False)
    assert len(posts(azure)) == 1


async def test_without_a_rule_alerts_wait() -> None:
    """Where no data collection rule is set nothing is accepted, and the line says which settings to make."""
    with pytest.raises(DeliveryError) as caught:
        await UnconfiguredSink().send(rows(3))
    assert str(caught.value) == "3 alerts wait: set `KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID`"
