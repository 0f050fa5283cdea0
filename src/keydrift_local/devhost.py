"""A functions host for a laptop: func's addresses on loopback, timers in real time, and a pump for each queue function.

Addresses: `/api/<route>`, `/runtime/webhooks/EventGrid?functionName=NAME`, `POST /admin/functions/NAME`,
`GET /admin/host/status`. As with `func start`, function keys are not asked for. Invoking stands in `worker`, what happens to a
queue message in `host_queue`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from croniter import croniter

from keydrift.errors import ConfigError
from keydrift_local.host_files import load_local_settings, read_host_json, read_route_prefix
from keydrift_local.host_queue import POISON_SUFFIX, HostQueue, QueuePump, QueueSettings
from keydrift_local.worker import (
    EVENT_GRID_TRIGGER,
    HTTP_TRIGGER,
    QUEUE_TRIGGER,
    TIMER_TRIGGER,
    Outcome,
    Trigger,
    Worker,
)

_log = logging.getLogger(__name__)

# Event Grid delivers at most 1 MiB an array; room is left for what other senders add.
# https://learn.microsoft.com/azure/event-grid/quotas-limits
_BODY_LIMIT_BYTES = 1024 * 1024 * 3 // 2
_CLOUD_EVENT_TYPES = frozenset({"application/cloudevents+json", "application/cloudevents-batch+json"})
_STOP_TIMEOUT_S = 10.0
_RESTART_PAUSE_S = 1.0
_PAST_DUE_S = 1.0
# A laptop that was suspended must notice on waking that a timer is due: the monotonic clock stood still meanwhile.
_LONGEST_SLEEP_S = 30.0
_ROUTE_PLAIN = re.compile(r"(?:[^{}]|\{\w+\})*")


class DevHost:
    """Runs the function app of one directory until stopped. One host a process, because the worker library allows one app.

    `queues` gives the queue of a name, and is asked for its poison queue too; whoever made the queues closes them.
    """

    port: int

    def __init__(
        self,
        app_directory: Path,
        *,
        port: int = 7071,
        queues: Callable[[str], HostQueue],
        host: str = "127.0.0.1",
    ) -> None:
        self.port = port
        self._directory = app_directory
        self._queue_of = queues
        self._host = host
        self._queues: dict[str, HostQueue] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._invocations: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._started_at = time.monotonic()

    async def start(self) -> None:
        """Load the settings, index the app, listen, then start timers and pumps.

        `Values` of local.settings.json become environment variables unless they are set already, as with `func start`. Raises
        `ConfigError` for a wrong file, schedule, route or port, and `WorkerError` where the app cannot be indexed.
        """
        load_local_settings(self._directory)
        host_json = read_host_json(self._directory)
        settings = QueueSettings.from_host_json(host_json)
        prefix = read_route_prefix(host_json)
        self._worker = await Worker.start(self._directory)
        self._triggers = {trigger.function: trigger for trigger in self._worker.triggers}
        jobs = {name: self._job_of(trigger, settings) for name, trigger in self._triggers.items()}
        await self._listen(prefix)
        for name, job in jobs.items():
            if job is not None:
                self._jobs.add(asyncio.create_task(_keep_running(name, job)))
        _log.info("functions host listens", extra={"port": self.port, "functions": list(self._triggers)})

    async def stop(self) -> None:
        """Take on nothing new, wait up to 10 seconds for what is running, then abandon the rest."""
        for job in self._jobs:
            job.cancel()
        runner, self._runner = self._runner, None
        closing = [asyncio.ensure_future(runner.cleanup())] if runner else []
        pending: set[asyncio.Future[None]] = {*self._jobs, *self._invocations, *closing}
        if pending:
            _, pending = await asyncio.wait(pending, timeout=_STOP_TIMEOUT_S + 1)
        for task in pending:
            task.cancel()
        if pending:
            _log.warning("invocations were abandoned", extra={"count": len(pending)})
            await asyncio.gather(*pending, return_exceptions=True)
        self._jobs.clear()

    async def _listen(self, prefix: str) -> None:
        application = web.Application(client_max_size=_BODY_LIMIT_BYTES)
        application.router.add_get("/admin/host/status", self._status)
        application.router.add_post("/admin/functions/{name}", self._admin)
        application.router.add_route("*", "/runtime/webhooks/{extension:(?i:eventgrid)}", self._event_grid)
        for trigger in self._triggers.values():
            if trigger.kind == HTTP_TRIGGER:
                path = "/" + "/".join(part for part in (prefix, _read_route(trigger)) if part)
                for method in trigger.methods or ("*",):
                    application.router.add_route(method, path, self._http_handler(trigger.function))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_STOP_TIMEOUT_S)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(f"cannot listen on `{self._host}:{self.port}`: {error.strerror or error}") from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    def _job_of(self, trigger: Trigger, settings: QueueSettings) -> Callable[[], Awaitable[None]] | None:
        if trigger.kind == TIMER_TRIGGER:
            schedule = trigger.schedule or ""
            if not croniter.is_valid(schedule, second_at_beginning=True):
                raise ConfigError(f"schedule `{schedule}` of `{trigger.function}` is no NCRONTAB expression")
            return lambda: self._run_timer(trigger, schedule)
        if trigger.kind == QUEUE_TRIGGER:
            name = trigger.queue or ""
            return QueuePump(
                worker=self._worker,
                function=trigger.function,
                queue=self._queue(name),
                poison=None if name.endswith(POISON_SUFFIX) else self._queue(name + POISON_SUFFIX),
                settings=settings,
            ).run
        if trigger.kind in {EVENT_GRID_TRIGGER, HTTP_TRIGGER}:
            return None
        raise ConfigError(f"`{trigger.function}` has a `{trigger.kind}`, which this host does not drive")

    def _queue(self, name: str) -> HostQueue:
        if name not in self._queues:
            self._queues[name] = self._queue_of(name)
        return self._queues[name]

    async def _run_timer(self, trigger: Trigger, schedule: str) -> None:
        """Occurrences follow one another: the next is reckoned after the last one ended, so that none overlap.

        https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions: six fields, in UTC, and
        unlike in cron a day must match both of its fields.
        """
        due = datetime.now(UTC)
        if trigger.run_on_startup:
            await self._tick(trigger.function, due)
        while True:
            after = max(due, datetime.now(UTC))
            due = croniter(schedule, after, second_at_beginning=True, day_or=False).get_next(datetime)
            await _sleep_until(due)
            await self._tick(trigger.function, due)

    async def _tick(self, function: str, due: datetime) -> None:
        past_due = (datetime.now(UTC) - due).total_seconds() > _PAST_DUE_S
        # Shielded: stopping cancels the timer, never the function that it has started.
        await asyncio.shield(self._invoke_apart(function, self._worker.tick(function, past_due=past_due, now=due)))

    def _invoke_apart(self, function: str, invocation: Coroutine[None, None, Outcome]) -> asyncio.Task[None]:
        async def run() -> None:
            try:
                outcome = await invocation
            except Exception:
                _log.exception("function could not be invoked", extra={"function": function})
                return
            if not outcome.succeeded:
                _log.error("function failed", extra={"function": function, "error": outcome.error})

        task = asyncio.create_task(run())
        self._invocations.add(task)
        task.add_done_callback(self._invocations.discard)
        return task

    async def _status(self, _: web.Request) -> web.Response:
        uptime_ms = int((time.monotonic() - self._started_at) * 1000)
        return web.json_response({"id": f"{self._host}:{self.port}", "state": "Running", "processUptime": uptime_ms})

    async def _admin(self, request: web.Request) -> web.Response:
        """`{"input": ...}` starts a function: https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http"""
        name = request.match_info["name"]
        trigger = self._triggers.get(name)
        if trigger is None:
            raise web.HTTPNotFound(text=f"cannot find function: '{name}'")
        document = await _read_json(request)
        if not isinstance(document, dict):
            raise web.HTTPBadRequest(text='the body must be a JSON object such as {"input": ""}')
        self._invoke_apart(name, self._manual_invocation(trigger, document.get("input", "")))
        return web.Response(status=202)

    def _manual_invocation(self, trigger: Trigger, given: object) -> Coroutine[None, None, Outcome]:
        now = datetime.now(UTC)
        text = given if isinstance(given, str) else json.dumps(given)
        if trigger.kind == TIMER_TRIGGER:
            return self._worker.tick(trigger.function, past_due=False, now=now)
        if trigger.kind == QUEUE_TRIGGER:
            return self._worker.message(trigger.function, text, id="manual", dequeue_count=1, inserted_at=now)
        if trigger.kind == EVENT_GRID_TRIGGER:
            return self._worker.event(trigger.function, _parse_json(text))
        return self._worker.request(
            trigger.function,
            method="POST" if "POST" in trigger.methods else "GET",
            url=f"http://{self._host}:{self.port}/admin/functions/{trigger.function}",
            headers={},
            query={},
            params={},
            body=text.encode(),
        )

    async def _event_grid(self, request: web.Request) -> web.Response:
        """The webhook of the Event Grid extension, and the two handshakes that precede its first delivery.

        https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema,
        https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema
        """
        name = request.query.get("functionName", "")
        trigger = self._triggers.get(name)
        if trigger is None or trigger.kind != EVENT_GRID_TRIGGER:
            raise web.HTTPNotFound(text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            origin = request.headers.get("WebHook-Request-Origin", "*")
            return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ("OPTIONS", "POST"))
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return web.Response(status=202)
        if kind == "subscriptionvalidation":
            return _answer_validation(await _read_json(request))
        if kind != "notification" and request.content_type not in _CLOUD_EVENT_TYPES:
            raise web.HTTPBadRequest(text="the header `aeg-event-type` must be SubscriptionValidation or Notification")
        document = await _read_json(request)
        return await self._deliver(name, document if isinstance(document, list) else [document])

    async def _deliver(self, function: str, events: list[object]) -> web.Response:
        """Each event is one invocation, all at once; one failure answers 500, whereupon Event Grid sends the array again."""
        outcomes = await asyncio.gather(*(self._worker.event(function, event) for event in events))
        errors = [outcome.error for outcome in outcomes if not outcome.succeeded]
        if errors:
            _log.error("events failed", extra={"function": function, "failed": len(errors), "delivered": len(events)})
            return web.Response(status=500, text=errors[0])
        return web.Response(status=202)

    def _http_handler(self, function: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            outcome = await self._worker.request(
                function,
                method=request.method,
                url=str(request.url),
                headers={name: ",".join(request.headers.getall(name)) for name in request.headers},
                query={name: ",".join(request.query.getall(name)) for name in request.query},
                params=request.match_info,
                body=await request.read(),
            )
            if not outcome.succeeded:
                _log.error("function failed", extra={"function": function, "error": outcome.error})
                return web.Response(status=500)
            return web.Response(status=outcome.status or 204, headers=outcome.headers, body=outcome.body)

        return handle


async def _keep_running(function: str, job: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await job()
        except Exception:
            _log.exception("timer or queue pump crashed and starts again", extra={"function": function})
        await asyncio.sleep(_RESTART_PAUSE_S)


async def _sleep_until(due: datetime) -> None:
    while True:
        wait_s = (due - datetime.now(UTC)).total_seconds()
        if wait_s <= 0:
            return
        await asyncio.sleep(min(wait_s, _LONGEST_SLEEP_S))


async def _read_json(request: web.Request) -> object:
    """An object or an array. What the real host answers to anything else is not documented; 400 says whose fault it is."""
    document = _parse_json(await request.read())
    if not isinstance(document, list | dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object or array")
    return document


def _parse_json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"not valid JSON: {error}") from error


def _answer_validation(document: object) -> web.Response:
    first = document[0] if isinstance(document, list) and document else document
    data = first.get("data") if isinstance(first, dict) else None
    if isinstance(data, str):  # a CloudEvent's data is JSON text inside JSON
        try:
            data = json.loads(data)
        except ValueError:
            data = None
    code = data.get("validationCode") if isinstance(data, dict) else None
    if not isinstance(code, str):
        return web.Response(status=400, text="the validation event has no `data.validationCode`")
    return web.json_response({"validationResponse": code})


def _read_route(trigger: Trigger) -> str:
    route = (trigger.route or "").strip("/")
    if not _ROUTE_PLAIN.fullmatch(route):
        raise ConfigError(f"route `{route}` of `{trigger.function}` has a constraint, which this host does not understand")
    return route
