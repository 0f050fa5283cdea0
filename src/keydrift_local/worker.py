"""Microsoft's Python worker library in this process: indexes one function app and invokes its functions.

Belongs here: everything that touches `azure-functions-runtime`, whose API is internal and therefore pinned. The library
keeps its registry in module globals, so one process runs one function app, indexed once. What a *host* does (addresses,
timers, queues) stands in `devhost` and `host_queue`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

EVENT_GRID_TRIGGER = "eventGridTrigger"
QUEUE_TRIGGER = "queueTrigger"
TIMER_TRIGGER = "timerTrigger"
HTTP_TRIGGER = "httpTrigger"

_SETTING = re.compile(r"%([^%]+)%")
_NEVER = "0001-01-01T00:00:00"  # .NET's default date, which the host sends before a timer's first occurrence


class WorkerError(Exception):
    """The function app cannot be indexed, or what is asked of it does not exist.

    The message is the worker library's own where there is one; `stack_trace` then shows where in the app it came from.
    """

    def __init__(self, message: str, *, stack_trace: str = "") -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One function and what starts it; `%SETTING%` is resolved already, as the host does from the app settings.

    `route` is without the host's prefix; `methods` are upper case, and empty means every method.
    """

    function: str
    kind: str
    queue: str | None
    schedule: str | None
    route: str | None
    methods: tuple[str, ...]
    run_on_startup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an invocation ended. `error` is the exception's repr; `status`, `headers` and `body` are an HTTP function's answer."""

    succeeded: bool
    error: str | None
    body: bytes | None
    status: int | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    id: str
    parameter: str
    trigger: Trigger


class _BindingInfo(SimpleNamespace):
    undefined = 0
    out = 1
    inout = 2


class _StatusResult(SimpleNamespace):
    Failure = 0
    Success = 1


# The library builds its answers with whatever message classes it is handed; these stand in for the host's gRPC messages.
_MESSAGES = SimpleNamespace(
    BindingInfo=_BindingInfo,
    StatusResult=_StatusResult,
    FunctionMetadataResponse=SimpleNamespace,
    RpcException=SimpleNamespace,
    RpcFunctionMetadata=SimpleNamespace,
    RpcRetryOptions=SimpleNamespace,
    WorkerInitResponse=SimpleNamespace,
    WorkerMetadata=SimpleNamespace,
)


class Worker:
    """The indexed function app. `async def` functions run on the caller's event loop, others on the library's thread pool."""

    def __init__(self, functions: Mapping[str, _Function]) -> None:
        self._functions = functions
        self._last_tick: dict[str, datetime] = {}

    @classmethod
    async def start(cls, app_directory: Path) -> Worker:
        """Index the function app of `app_directory`, which is put first on `sys.path` as the platform does.

        Raises `WorkerError` where the app cannot be imported or indexed, has no function, uses a binding that is not
        supported here, names a setting that is not set, or where this process has indexed an app already.
        """
        directory, script = _locate(app_directory)
        if handle_event._metadata_result is not None:
            raise WorkerError("a function app is indexed in this process already; start another process for another app")
        sys.path.insert(0, str(directory))
        runtime.start_threadpool_executor()
        answer = await runtime.worker_init_request(
            SimpleNamespace(
                request=SimpleNamespace(
                    worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(directory)),
                ),
                properties={"protos": _MESSAGES, "host": "127.0.0.1"},
            ),
        )
        if answer.result.status != _StatusResult.Success:
            sys.path.remove(str(directory))
            raise WorkerError(answer.result.exception.message, stack_trace=answer.result.exception.stack_trace)
        metadata = await runtime.functions_metadata_request(SimpleNamespace(request=None))
        if not metadata.function_metadata_results:
            raise WorkerError(f"no functions found in `{directory / script}`")
        return cls({found.name: _read_function(found) for found in metadata.function_metadata_results})

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """Every function of the app, in the order of its definition."""
        return tuple(function.trigger for function in self._functions.values())

    async def event(self, function: str, event: object) -> Outcome:
        """Invoke an Event Grid function with one event, given as parsed JSON and handed over as JSON text.

        A handler that declares `event: str` receives that text; `func.EventGridEvent` and `func.CloudEvent` are decoded by
        the library. The host re-serialises the element of the delivered array in the same way, without white space
        (`JObject` to `TypedData.json` in azure-functions-host).
        """
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        return await self._invoke(function, EVENT_GRID_TRIGGER, Datum(text, "json"), {})

    async def message(self, function: str, body: str, *, id: str, dequeue_count: int, inserted_at: datetime) -> Outcome:  # noqa: A002 - Azure's term
        """Invoke a queue function with one message, whose `body` is the text after base64 decoding."""
        metadata = {
            "Id": Datum(id, "string"),
            "DequeueCount": Datum(str(dequeue_count), "json"),
            "InsertionTime": Datum(json.dumps(inserted_at.astimezone(UTC).isoformat()), "json"),
        }
        return await self._invoke(function, QUEUE_TRIGGER, Datum(body, "string"), metadata)

    async def tick(self, function: str, *, past_due: bool, now: datetime) -> Outcome:
        """Invoke a timer function for the occurrence `now`.

        The status handed over is the one *before* the occurrence, as the host's is: `Next` is this very occurrence, `Last`
        the previous one of this worker.
        """
        last = self._last_tick.get(function)
        last_text = last.astimezone(UTC).isoformat() if last else _NEVER
        status = {"Last": last_text, "Next": now.astimezone(UTC).isoformat(), "LastUpdated": last_text}
        payload = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        self._last_tick[function] = now
        return await self._invoke(function, TIMER_TRIGGER, Datum(json.dumps(payload), "json"), {})

    async def request(
        self,
        function: str,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        params: Mapping[str, str],
        body: bytes,
    ) -> Outcome:
        """Invoke an HTTP function; `params` are the route's. Header names are lower-cased, as the host does."""
        http = {
            "method": Datum(method, "string"),
            "url": Datum(url, "string"),
            "headers": {name.lower(): Datum(value, "string") for name, value in headers.items()},
            "query": {name: Datum(value, "string") for name, value in query.items()},
            "params": {name: Datum(value, "string") for name, value in params.items()},
            "body": Datum(body, "bytes"),
        }
        return await self._invoke(function, HTTP_TRIGGER, Datum(http, "http"), {})

    async def _invoke(self, name: str, kind: str, data: Datum, metadata: Mapping[str, Datum]) -> Outcome:
        function = self._functions.get(name)
        if function is None or function.trigger.kind != kind:
            raise WorkerError(f"no function `{name}` with a `{kind}`")
        succeeded, returned, _, error, _ = await invocation_request_native(
            str(uuid.uuid4()),
            function.id,
            [(function.parameter, data)],
            metadata,
        )
        if not succeeded:
            return Outcome(succeeded=False, error=error, body=None, status=None, headers={})
        return _read_answer(returned)


def _locate(app_directory: Path) -> tuple[Path, str]:
    directory = app_directory.resolve()
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not (directory / script).is_file():
        raise WorkerError(f"`{directory}` has no `{script}`")
    return directory, script


def _read_function(found: Any) -> _Function:
    bindings = [json.loads(text) for text in found.raw_bindings]
    triggers = [binding for binding in bindings if binding["type"].endswith("Trigger")]
    for binding in bindings:
        if binding not in triggers and binding["type"] != "http":
            raise WorkerError(f"function `{found.name}` has a `{binding['type']}` binding, which is not supported here")
    if len(triggers) != 1:
        raise WorkerError(f"function `{found.name}` has {len(triggers)} triggers instead of one")
    binding = triggers[0]
    kind = binding["type"]
    trigger = Trigger(
        function=found.name,
        kind=kind,
        queue=_resolve(found.name, binding["queueName"]) if kind == QUEUE_TRIGGER else None,
        schedule=_resolve(found.name, binding["schedule"]) if kind == TIMER_TRIGGER else None,
        # A function without a route answers under its own name.
        route=_resolve(found.name, binding.get("route") or found.name) if kind == HTTP_TRIGGER else None,
        methods=tuple(method.upper() for method in binding.get("methods") or ()),
        run_on_startup=bool(binding.get("runOnStartup")),
    )
    return _Function(id=found.function_id, parameter=binding["name"], trigger=trigger)


def _resolve(function: str, text: str) -> str:
    def setting(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise WorkerError(f"function `{function}` needs the setting `{match[1]}`, which is not set")
        return value

    return _SETTING.sub(setting, text)


def _read_answer(returned: Any) -> Outcome:
    """An HTTP function returns a response or plain text; every other function returns nothing."""
    if returned is None or returned.type is None:
        return Outcome(succeeded=True, error=None, body=None, status=None, headers={})
    if returned.type == "string":
        headers = {"content-type": "text/plain; charset=utf-8"}
        return Outcome(succeeded=True, error=None, body=returned.value.encode(), status=200, headers=headers)
    if returned.type != "http":
        return Outcome(succeeded=False, error=f"an answer of type `{returned.type}`", body=None, status=None, headers={})
    answer = returned.value
    if answer["cookies"]:
        return Outcome(succeeded=False, error="cookies are not supported here", body=None, status=None, headers={})
    return Outcome(
        succeeded=True,
        error=None,
        body=answer["body"].value,
        status=int(answer["status_code"].value),
        headers={name: datum.value for name, datum in answer["headers"].items()},
    )
