"""Small function apps on Microsoft's worker library; each in its own process, because the library indexes one app a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

_APP = """
from __future__ import annotations
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
SEEN = []

@app.event_grid_trigger(arg_name="event")
async def receive(event: str) -> None:
    SEEN.append(event)
    if "fail" in event:
        raise ValueError("no such event")

@app.event_grid_trigger(arg_name="event")
async def receive_typed(event: func.EventGridEvent) -> None:
    SEEN.append([event.id, event.get_json()])

@app.queue_trigger(arg_name="message", queue_name="%RECHECK_QUEUE%-v1", connection="AzureWebJobsStorage")
async def recheck(message: str) -> None:
    SEEN.append(message)

@app.queue_trigger(arg_name="message", queue_name="rechecks-poison", connection="AzureWebJobsStorage")
async def recheck_poison(message: func.QueueMessage) -> None:
    SEEN.append([message.id, message.get_body().decode(), message.dequeue_count, message.insertion_time.isoformat()])

@app.timer_trigger(arg_name="timer", schedule="%SWEEP_SCHEDULE%", run_on_startup=True)
async def sweep(timer: func.TimerRequest) -> None:
    SEEN.append([timer.past_due, timer.schedule_status])

@app.route(route="posture", methods=["GET"])
async def posture(req: func.HttpRequest) -> func.HttpResponse:
    if "crash" in req.params:
        raise RuntimeError("crashed")
    answer = [req.method, req.params.get("store"), req.headers.get("x-test"), req.get_body().decode()]
    return func.HttpResponse(repr(answer), status_code=207, mimetype="application/json", headers={"x-answer": "yes"})

@app.route()
def plain(req: func.HttpRequest) -> str:
    return "text of a function that is not async"
"""

_PROLOGUE = """
import asyncio, dataclasses, json, sys
from datetime import UTC, datetime
from pathlib import Path
from keydrift_local.worker import Worker, WorkerError

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)

def tell(value):
    print("TOLD " + json.dumps(value))

async def main(directory):
"""

_EPILOGUE = """
try:
    asyncio.run(main(Path(sys.argv[1])))
except WorkerError as error:
    tell({"error": str(error), "stack_trace": error.stack_trace})
"""


def _run(directory: Path, steps: str, **environment: str) -> list[object]:
    """What the `steps` told, in order; they are the body of an async function with `directory` in scope."""
    body = "\n".join("    " + line for line in steps.strip().splitlines())
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT / "src"), **environment}
    command = [sys.executable, "-c", _PROLOGUE + body + "\n" + _EPILOGUE, str(directory)]
    ended = subprocess.run(command, env=given, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line.removeprefix("TOLD ")) for line in ended.stdout.splitlines() if line.startswith("TOLD ")]


def _app(directory: Path, source: str) -> Path:
    (directory / "function_app.py").write_text(source, encoding="utf-8")
    return directory


def _start_error(directory: Path, **environment: str) -> dict[str, str]:
    (told,) = _run(directory, "await Worker.start(directory)\ntell('started')", **environment)
    assert isinstance(told, dict), told
    return told


_SETTINGS = {"RECHECK_QUEUE": "rechecks", "SWEEP_SCHEDULE": "0 */15 * * * *"}


def test_indexing(tmp_path: Path) -> None:
    """Every trigger is found, with its settings resolved from the environment."""
    steps = "worker = await Worker.start(directory)\ntell([dataclasses.asdict(trigger) for trigger in worker.triggers])"
    (told,) = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    nothing: dict[str, object] = {"queue": None, "schedule": None, "route": None, "methods": [], "run_on_startup": False}
    assert told == [
        {**nothing, "function": "receive", "kind": "eventGridTrigger"},
        {**nothing, "function": "receive_typed", "kind": "eventGridTrigger"},
        {**nothing, "function": "recheck", "kind": "queueTrigger", "queue": "rechecks-v1"},
        {**nothing, "function": "recheck_poison", "kind": "queueTrigger", "queue": "rechecks-poison"},
        {**nothing, "function": "sweep", "kind": "timerTrigger", "schedule": "0 */15 * * * *", "run_on_startup": True},
        {**nothing, "function": "posture", "kind": "httpTrigger", "route": "posture", "methods": ["GET"]},
        {**nothing, "function": "plain", "kind": "httpTrigger", "route": "plain"},
    ]


def test_raw_event(tmp_path: Path) -> None:
    """A handler that declares `event: str` receives the event's JSON text, whatever its time stamps look like."""
    steps = """
worker = await Worker.start(directory)
import function_app
event = {"id": "1", "eventTime": "2026-03-01T10:00:00.1234567+02:00", "data": {"name": "clé", "n": 12345678901234567890}}
tell((await worker.event("receive", event)).succeeded)
tell(function_app.SEEN[0])
typed = await worker.event("receive_typed", event)
tell([typed.succeeded, typed.error])
typed = await worker.event("receive_typed", {**event, "eventTime": "2026-03-01T10:00:00Z", "data": {"a": 1}})
tell(function_app.SEEN[-1])
"""
    succeeded, raw, typed, decoded = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    assert succeeded is True
    assert raw == ('{"id":"1","eventTime":"2026-03-01T10:00:00.1234567+02:00","data":{"name":"clé","n":12345678901234567890}}')
    # The library's own event type is why function_app.py takes text: this valid event never reaches a typed handler.
    assert isinstance(typed, list)
    assert typed[0] is False
    assert "does not match format" in typed[1]
    assert decoded == ["1", {"a": 1}]


def test_failure(tmp_path: Path) -> None:
    """An exception in a function is an outcome that names it, not an exception of the worker."""
    steps = """
worker = await Worker.start(directory)
outcome = await worker.event("receive", {"id": "fail"})
tell(dataclasses.asdict(outcome))
tell((await worker.event("receive", {"id": "1"})).succeeded)
"""
    failed, next_succeeded = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    assert failed == {"succeeded": False, "error": "ValueError('no such event')", "body": None, "status": None, "headers": {}}
    assert next_succeeded is True


def test_message(tmp_path: Path) -> None:
    """A queue message arrives as raw text, or typed with its id, dequeue count and insertion time."""
    steps = """
worker = await Worker.start(directory)
import function_app
await worker.message("recheck", '{"a": 1} ', id="m1", dequeue_count=1, inserted_at=NOW)
await worker.message("recheck_poison", "clé", id="m2", dequeue_count=4, inserted_at=NOW)
tell(function_app.SEEN)
"""
    (told,) = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    assert told == ['{"a": 1} ', ["m2", "clé", 4, "2026-03-01T12:00:30+00:00"]]


def test_tick(tmp_path: Path) -> None:
    """A timer function is told whether it is late, and of the occurrence before."""
    steps = """
worker = await Worker.start(directory)
import function_app
await worker.tick("sweep", past_due=False, now=NOW)
await worker.tick("sweep", past_due=True, now=NOW.replace(minute=15))
tell(function_app.SEEN)
"""
    (told,) = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    never, first, second = "0001-01-01T00:00:00", "2026-03-01T12:00:30+00:00", "2026-03-01T12:15:30+00:00"
    assert told == [
        [False, {"Last": never, "Next": first, "LastUpdated": never}],
        [True, {"Last": first, "Next": second, "LastUpdated": first}],
    ]


def test_request(tmp_path: Path) -> None:
    """An HTTP function sees method, query, headers and body, and its status, headers and body come back."""
    steps = """
worker = await Worker.start(directory)
request = dict(method="GET", url="http://127.0.0.1/api/posture?store=kv1", headers={"X-Test": "t"}, params={}, body=b"b")
told = dataclasses.asdict(await worker.request("posture", query={"store": "kv1"}, **request))
tell({**told, "body": told["body"].decode()})
told = dataclasses.asdict(await worker.request("plain", query={}, **request))
tell({**told, "body": told["body"].decode()})
tell(dataclasses.asdict(await worker.request("posture", query={"crash": ""}, **request)))
"""
    answer, plain, crash = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    assert answer == {
        "succeeded": True,
        "error": None,
        "status": 207,
        "headers": {"x-answer": "yes", "content-type": "application/json"},
        "body": "['GET', 'kv1', 't', 'b']",
    }
    assert isinstance(plain, dict)
    assert (plain["status"], plain["body"]) == (200, "text of a function that is not async")
    assert isinstance(crash, dict)
    assert (crash["succeeded"], crash["error"], crash["status"]) == (False, "RuntimeError('crashed')", None)


def test_runs_on_the_callers_loop(tmp_path: Path) -> None:
    """An `async def` function runs on the event loop that invokes it, so that it can share the caller's clients."""
    source = """
import asyncio
import azure.functions as func
app = func.FunctionApp()
LOOPS = []
@app.event_grid_trigger(arg_name="event")
async def receive(event: str) -> None:
    LOOPS.append(asyncio.get_running_loop())
"""
    steps = """
worker = await Worker.start(directory)
import function_app
await worker.event("receive", {})
tell([loop is asyncio.get_running_loop() for loop in function_app.LOOPS])
"""
    assert _run(_app(tmp_path, source), steps) == [[True]]


def test_wrong_function(tmp_path: Path) -> None:
    """Asking for a function that is not there, or by another trigger than its own, is an error that names it."""
    steps = """
worker = await Worker.start(directory)
for name in ("nobody", "recheck"):
    try:
        await worker.event(name, {})
    except WorkerError as error:
        tell(str(error))
"""
    assert _run(_app(tmp_path, _APP), steps, **_SETTINGS) == [
        "no function `nobody` with a `eventGridTrigger`",
        "no function `recheck` with a `eventGridTrigger`",
    ]


def test_broken_import(tmp_path: Path) -> None:
    """An app that cannot be imported is an error that names the missing module and the line that wants it."""
    told = _start_error(_app(tmp_path, "import azure.functions as func\nimport keydrift.nowhere\napp = func.FunctionApp()\n"))
    assert "No module named 'keydrift.nowhere'" in told["error"]
    assert "import keydrift.nowhere" in told["stack_trace"]


def test_error_at_import(tmp_path: Path) -> None:
    """Any other exception of an app's import is told with its own text."""
    told = _start_error(_app(tmp_path, "raise OSError('settings are broken')\n"))
    assert told["error"] == "OSError: settings are broken"


def test_wrong_annotation(tmp_path: Path) -> None:
    """An annotation that the library rejects is told in the library's words, which name the function."""
    told = _start_error(_app(tmp_path, _APP.replace("event: func.EventGridEvent", "event: dict")), **_SETTINGS)
    assert "cannot load the receive_typed function" in told["error"]


def test_missing_setting(tmp_path: Path) -> None:
    """A `%SETTING%` that is not set is an error that names the setting and the function."""
    told = _start_error(_app(tmp_path, _APP), RECHECK_QUEUE="rechecks")
    assert told["error"] == "function `sweep` needs the setting `SWEEP_SCHEDULE`, which is not set"


def test_no_functions(tmp_path: Path) -> None:
    """An app without functions, or a directory without an app, is an error and not an idle host."""
    assert _start_error(tmp_path)["error"].endswith("has no `function_app.py`")
    empty = _app(tmp_path, "import azure.functions as func\napp = func.FunctionApp()\n")
    assert _start_error(empty)["error"].startswith("no functions found in ")


def test_unsupported_binding(tmp_path: Path) -> None:
    """An output binding is refused rather than silently not written."""
    source = """
import azure.functions as func
app = func.FunctionApp()
@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
@app.queue_output(arg_name="out", queue_name="q", connection="AzureWebJobsStorage")
async def sweep(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set("lost")
"""
    assert "`queue` binding" in _start_error(_app(tmp_path, source))["error"]


def test_one_app_a_process(tmp_path: Path) -> None:
    """A second app in one process is refused, since the library's registry would mix them."""
    steps = "await Worker.start(directory)\nawait Worker.start(directory)"
    (told,) = _run(_app(tmp_path, _APP), steps, **_SETTINGS)
    assert isinstance(told, dict)
    assert "indexed in this process already" in told["error"]
