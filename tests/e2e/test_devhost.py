"""The dev host over real sockets: one server process for the module, since the worker library allows one app a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from http import HTTPStatus
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]

_APP = """
from __future__ import annotations
import asyncio, json, os, time
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

def record(**what):
    with open(os.environ["RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps({**what, "at": time.time()}) + "\\n")

@app.event_grid_trigger(arg_name="event")
async def receive(event: str) -> None:
    started = time.time()
    await asyncio.sleep(json.loads(event).get("sleep", 0))
    record(function="receive", text=event, started=started)
    if json.loads(event)["id"].startswith("bad"):
        raise ValueError("event is bad")

@app.queue_trigger(arg_name="message", queue_name="%RECHECK_QUEUE%", connection="AzureWebJobsStorage")
async def recheck(message: func.QueueMessage) -> None:
    record(function="recheck", text=message.get_body().decode(), dequeue_count=message.dequeue_count)
    if message.get_body().startswith(b"bad"):
        raise ValueError("message is bad")

@app.queue_trigger(arg_name="message", queue_name="%RECHECK_QUEUE%-poison", connection="AzureWebJobsStorage")
async def recheck_poison(message: str) -> None:
    record(function="recheck_poison", text=message)

@app.timer_trigger(arg_name="timer", schedule="%SWEEP_SCHEDULE%")
async def sweep(timer: func.TimerRequest) -> None:
    record(function="sweep", past_due=timer.past_due, next=timer.schedule_status["Next"])
    raise ValueError("a failing timer function must not end its timer")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def yearly(timer: func.TimerRequest) -> None:
    record(function="yearly")

@app.route(route="posture/{store}", methods=["GET"])
async def posture(req: func.HttpRequest) -> func.HttpResponse:
    if "crash" in req.params:
        raise RuntimeError("crashed")
    answer = {"store": req.route_params["store"], "query": dict(req.params), "header": req.headers.get("x-test")}
    return func.HttpResponse(json.dumps(answer), status_code=207, mimetype="application/json")
"""

_SERVER = """
import asyncio, json, sys
from datetime import UTC, datetime
from pathlib import Path
from support.queues import MemoryHostQueue
from keydrift_local.devhost import DevHost

async def main():
    queues = {}
    def queue(name):
        assert name not in queues, f"{name} was asked for twice"
        queues[name] = MemoryHostQueue(lambda: datetime.now(UTC))
        return queues[name]
    host = DevHost(Path(sys.argv[1]), port=0, queues=queue)
    await host.start()
    print(json.dumps({"port": host.port, "queues": sorted(queues)}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        if "put" in command:
            await queues[command["put"]].put(command["body"], delay_s=command["delay_s"])
        print(json.dumps({name: queue.bodies for name, queue in queues.items()}), flush=True)
    await host.stop()
    print(json.dumps("stopped"), flush=True)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: str


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    port: int
    process: subprocess.Popen[str]
    record: Path
    queue_names: list[str]

    def send(self, method: str, path: str, body: object = None, **headers: str) -> _Answer:
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return _Answer(status=answer.status, headers=_lower(answer.headers), body=answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(status=error.code, headers=_lower(error.headers), body=error.read().decode())

    def notify(self, events: object, **headers: str) -> _Answer:
        headers = headers or {"aeg_event_type": "Notification", "content_type": "application/json"}
        return self.send("POST", "/runtime/webhooks/EventGrid?functionName=receive", events, **headers)

    def put(self, body: str, delay_s: float = 0) -> None:
        self._command({"put": "rechecks", "body": body, "delay_s": delay_s})

    def queues(self) -> dict[str, list[str]]:
        told = self._command({})
        assert isinstance(told, dict)
        return told

    def records(self, function: str) -> list[dict[str, object]]:
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else []
        return [told for told in map(json.loads, lines) if told["function"] == function]

    def wait_for(self, function: str, is_so: Callable[[list[dict[str, object]]], bool]) -> list[dict[str, object]]:
        deadline = time.monotonic() + 10
        while not is_so(found := self.records(function)):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def texts(self, function: str, *containing: str) -> list[str]:
        texts = [str(told["text"]) for told in self.records(function)]
        return [text for text in texts if any(part in text for part in containing)]

    def _command(self, command: object) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def _start(directory: Path) -> _Server:
    (directory / "function_app.py").write_text(_APP, encoding="utf-8")
    (directory / "host.json").write_text(
        json.dumps({"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:00.2", "maxDequeueCount": 5}}})
    )
    values = {"RECHECK_QUEUE": "rechecks", "SWEEP_SCHEDULE": "0 0 0 1 1 *", "RECORD": str(directory / "record.jsonl")}
    (directory / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT / "tests")]),
        "SWEEP_SCHEDULE": "* * * * * *",  # wins over local.settings.json
    }
    with (directory / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(directory)],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (directory / "stderr.txt").read_text()
    told = json.loads(line)
    return _Server(port=told["port"], process=process, record=directory / "record.jsonl", queue_names=told["queues"])


def _stop(server: _Server) -> str:
    output, _ = server.process.communicate(timeout=30)  # closes stdin, which ends the server's loop
    return output


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Server]:
    server = _start(tmp_path_factory.mktemp("app"))
    try:
        yield server
    finally:
        _stop(server)


def _event(id_: str, **members: object) -> dict[str, object]:
    return {"id": id_, "eventType": "Microsoft.KeyVault.VaultAccessPolicyChanged", "data": {}, **members}


def test_status(server: _Server) -> None:
    """The host says that it runs, at func's address."""
    answer = server.send("GET", "/admin/host/status")
    assert answer.status == HTTPStatus.OK
    assert json.loads(answer.body)["state"] == "Running"


def test_queues_asked_for(server: _Server) -> None:
    """Each queue and its poison queue is opened once, and a poison queue has none of its own."""
    assert server.queue_names == ["rechecks", "rechecks-poison"]


@pytest.mark.parametrize("data", [{"validationCode": "code-1"}, '{"validationCode": "code-1"}'])
def test_validation_handshake(server: _Server, data: object) -> None:
    """The subscription validation of Event Grid's schema, and that of CloudEvents with its doubly encoded data, is answered."""
    events = [{"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": data}]
    for document in (events, events[0]):
        answer = server.notify(document, aeg_event_type="SubscriptionValidation")
        assert (answer.status, json.loads(answer.body)) == (HTTPStatus.OK, {"validationResponse": "code-1"})


def test_validation_without_code(server: _Server) -> None:
    """A validation without a code is the sender's mistake, and the answer says so."""
    answer = server.notify([{"data": {}}], aeg_event_type="SubscriptionValidation")
    assert (answer.status, answer.body) == (HTTPStatus.BAD_REQUEST, "the validation event has no `data.validationCode`")


def test_cloud_events_handshake(server: _Server) -> None:
    """The OPTIONS request of the CloudEvents webhook protocol is granted to the origin that asks."""
    path = "/runtime/webhooks/eventgrid?functionName=receive"
    answer = server.send("OPTIONS", path, WebHook_Request_Origin="eventgrid.azure.net")
    assert (answer.status, answer.headers["webhook-allowed-origin"]) == (HTTPStatus.OK, "eventgrid.azure.net")


def test_batch_with_one_failure(server: _Server) -> None:
    """One failing event answers 500 for the whole batch, after every other event was invoked too, side by side."""
    answer = server.notify([_event("ok-a", sleep=0.2), _event("bad-b", sleep=0.2), _event("ok-c", sleep=0.2)])
    assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert "event is bad" in answer.body
    told = [told for told in server.records("receive") if any(id_ in str(told["text"]) for id_ in ("ok-a", "bad-b", "ok-c"))]
    assert len(told) == 3
    assert max(float(str(each["started"])) for each in told) < min(float(str(each["at"])) for each in told)


def test_single_notification(server: _Server) -> None:
    """A notification may be one object, and the function receives its JSON text."""
    event = _event("single-é", eventTime="2026-03-01T10:00:00+02:00")
    assert server.notify(event).status == HTTPStatus.ACCEPTED
    assert server.texts("receive", "single-é") == [json.dumps(event, ensure_ascii=False, separators=(",", ":"))]


@pytest.mark.parametrize(
    ("content_type", "is_batch"),
    [("application/cloudevents+json", False), ("application/cloudevents-batch+json; charset=utf-8", True)],
)
@pytest.mark.parametrize("aeg", [{}, {"aeg_event_type": "Notification"}])
def test_cloud_events(server: _Server, content_type: str, is_batch: bool, aeg: dict[str, str]) -> None:
    """CloudEvents are taken single and in batches, with Event Grid's own header and without."""
    id_ = f"cloud-{uuid.uuid4()}"
    event = {"specversion": "1.0", "id": id_, "source": "/s", "type": "t", "data": {}}
    answer = server.notify([event, {**event, "subject": "2"}] if is_batch else event, content_type=content_type, **aeg)
    assert answer.status == HTTPStatus.ACCEPTED
    assert len(server.texts("receive", id_)) == (2 if is_batch else 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('"text"', "must be a JSON object or array"),
    ],
)
def test_malformed_events(server: _Server, body: str, why: str) -> None:
    """A body that is no JSON object or array is answered 400 with the reason, and the host lives on."""
    answer = server.notify(body)
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert why in answer.body
    assert server.send("GET", "/admin/host/status").status == HTTPStatus.OK


def test_neither_event_grid_nor_cloud_events(server: _Server) -> None:
    """Plain JSON without Event Grid's header is refused with the header's name."""
    answer = server.notify(_event("1"), content_type="application/json")
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert "aeg-event-type" in answer.body


@pytest.mark.parametrize("name", ["nobody", "recheck", ""])
def test_unknown_event_function(server: _Server, name: str) -> None:
    """An event for a function that is not there, or is no Event Grid function, is answered 404 with its name."""
    path = f"/runtime/webhooks/EventGrid?functionName={name}"
    answer = server.send("POST", path, [_event("1")], aeg_event_type="Notification")
    assert (answer.status, answer.body) == (HTTPStatus.NOT_FOUND, f"cannot find function: '{name}'")


def test_body_limit(server: _Server) -> None:
    """One and a half MiB is the most a body may hold."""
    fits = _event("large", data="x" * (1024 * 1024 * 3 // 2 - 200))
    assert server.notify(fits).status == HTTPStatus.ACCEPTED
    answer = server.notify(_event("larger", data="x" * (1024 * 1024 * 3 // 2)))
    assert answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_http_route(server: _Server) -> None:
    """An HTTP function answers under /api with its own status, and sees route, query and headers."""
    answer = server.send("GET", "/api/posture/kv1?verdict=lost&verdict=unknown&page=2", X_Test="t")
    assert answer.status == HTTPStatus.MULTI_STATUS
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {"store": "kv1", "query": {"verdict": "lost,unknown", "page": "2"}, "header": "t"}


def test_http_errors(server: _Server) -> None:
    """A crashing HTTP function is a 500, another method a 405, another path a 404."""
    assert server.send("GET", "/api/posture/kv1?crash=1").status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert server.send("DELETE", "/api/posture/kv1").status == HTTPStatus.METHOD_NOT_ALLOWED
    assert server.send("GET", "/api/nowhere").status == HTTPStatus.NOT_FOUND


def test_manual_start(server: _Server) -> None:
    """The admin address starts a function of any trigger with the given input."""
    event = json.dumps(_event("manual-event"))
    for name, given in (("receive", event), ("recheck", "manual-message"), ("yearly", "")):
        assert server.send("POST", f"/admin/functions/{name}", {"input": given}).status == HTTPStatus.ACCEPTED
    server.wait_for("receive", lambda told: any("manual-event" in str(each["text"]) for each in told))
    server.wait_for("recheck", lambda told: any(each["text"] == "manual-message" for each in told))
    assert len(server.wait_for("yearly", bool)) == 1


def test_manual_start_errors(server: _Server) -> None:
    """The admin address answers 404 for an unknown function and 400 for an unreadable input."""
    assert server.send("POST", "/admin/functions/nobody", {"input": ""}).status == HTTPStatus.NOT_FOUND
    assert server.send("POST", "/admin/functions/receive", "{").status == HTTPStatus.BAD_REQUEST
    assert server.send("POST", "/admin/functions/receive", {"input": "{"}).status == HTTPStatus.BAD_REQUEST
    assert server.send("POST", "/admin/functions/receive", []).status == HTTPStatus.BAD_REQUEST


def test_timer(server: _Server) -> None:
    """A timer fires once at each occurrence, although its function fails, with the environment's setting before the file's."""
    before = len(server.records("sweep"))
    told = server.wait_for("sweep", lambda told: len(told) >= before + 2)
    occurrences = [str(each["next"]) for each in told]
    assert occurrences == sorted(set(occurrences))
    assert all(float(str(each["at"])) >= datetime.fromisoformat(str(each["next"])).timestamp() for each in told)


def test_queue(server: _Server) -> None:
    """A message is handled once and is gone; one with a delay is not seen before its time."""
    put_at = time.time()
    server.put("delayed", delay_s=1)
    server.put("prompt")
    told = server.wait_for("recheck", lambda told: any(each["text"] == "delayed" for each in told))
    at = {each["text"]: float(str(each["at"])) for each in told}
    assert at["delayed"] >= put_at + 1 > at["prompt"]
    assert server.texts("recheck", "prompt", "delayed") == ["prompt", "delayed"]
    assert server.queues() == {"rechecks": [], "rechecks-poison": []}


def test_queue_poison(server: _Server) -> None:
    """A message that always fails is tried exactly five times and then reaches the poison queue's function intact."""
    body = 'bad {"key_store": "clé"}'
    server.put(body)
    assert [each["text"] for each in server.wait_for("recheck_poison", bool)] == [body]
    told = [each for each in server.records("recheck") if each["text"] == body]
    assert [each["dequeue_count"] for each in told] == [1, 2, 3, 4, 5]


def test_stop_waits(tmp_path: Path) -> None:
    """Stopping waits for the invocation that is running, and then ends the process."""
    server = _start(tmp_path)
    event = json.dumps(_event("slow", sleep=1))
    assert server.send("POST", "/admin/functions/receive", {"input": event}).status == HTTPStatus.ACCEPTED
    output = _stop(server)
    assert output.splitlines()[-1] == '"stopped"'
    assert server.process.returncode == 0
    assert len(server.texts("receive", "slow")) == 1
