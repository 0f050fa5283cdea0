"""The triggers, and nothing else. Only the app's root is on the worker's path, so `src` is put there first (docs/adr/0001)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

import azure.functions as func

from keydrift import bootstrap

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.event_grid_trigger(arg_name="event")
async def receive(event: str) -> None:
    """An event, as raw JSON: the library's own type refuses times with an offset."""
    await bootstrap.monitor().receive(event)


@app.queue_trigger(arg_name="message", queue_name="%KEYDRIFT_EVENTS_QUEUE%", connection="AzureWebJobsStorage")
async def receive_queued(message: str) -> None:
    """An event that Event Grid has put on a queue."""
    await bootstrap.monitor().receive(message)


@app.queue_trigger(arg_name="message", queue_name="%KEYDRIFT_EVENTS_QUEUE%-poison", connection="AzureWebJobsStorage")
async def receive_poison(message: str) -> None:
    """An event that failed five times."""
    await bootstrap.dead_letters().poisoned(message)


@app.queue_trigger(arg_name="message", queue_name="%KEYDRIFT_RECHECK_QUEUE%", connection="AzureWebJobsStorage")
async def recheck(message: str) -> None:
    """One key store to look at again."""
    await bootstrap.monitor().recheck(message)


@app.queue_trigger(arg_name="message", queue_name="%KEYDRIFT_RECHECK_QUEUE%-poison", connection="AzureWebJobsStorage")
async def recheck_poison(message: str) -> None:
    """A recheck that failed five times."""
    await bootstrap.monitor().poisoned(message)


@app.timer_trigger(arg_name="timer", schedule="%KEYDRIFT_SWEEP_SCHEDULE%")
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the trigger's parameter
    """Reconcile everything: half of the ways to lose a key raise no event."""
    await bootstrap.monitor().sweep()


@app.timer_trigger(arg_name="timer", schedule="%KEYDRIFT_DELIVER_SCHEDULE%")
async def deliver(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the trigger's parameter
    """Send alerts that were not accepted."""
    await bootstrap.monitor().deliver()


@app.timer_trigger(arg_name="timer", schedule="%KEYDRIFT_PULSE_SCHEDULE%")
async def pulse(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the trigger's parameter
    """Tell how the monitor itself is, so that silence is never taken for health."""
    await bootstrap.pulse().beat()


@app.timer_trigger(arg_name="timer", schedule="45 */10 * * * *")
async def take_back(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the trigger's parameter
    """Take back events that Event Grid could not deliver."""
    await bootstrap.dead_letters().take_back()


@app.route(route="posture", methods=["GET"])
async def posture(req: func.HttpRequest) -> func.HttpResponse:
    """The last verdict of every key binding, as JSON or as a page."""
    answer = await bootstrap.posture(req.headers.get("Accept"), req.params.get("format"))
    return func.HttpResponse(answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.mimetype)
