"""An Event Grid custom topic that takes CloudEvents: `POST /api/events`, and what was published to it.

Source: the data-plane specification 2018-01-01 (`publishCloudEvents`), learn.microsoft.com/azure/event-grid/cloud-event-schema.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import cast

from keydrift_local.azure.messages import Answer, Call, error
from keydrift_local.documents import JsonObject

TOPIC_ENDPOINT = "https://keydrift.westeurope-1.eventgrid.azure.net/api/events"
_MOST_BYTES = 1_048_576
_REQUIRED = ("id", "source", "type", "specversion")


class EventTopic:
    """Keeps what is published, in order. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[JsonObject] = []

    @property
    def events(self) -> list[JsonObject]:
        """The CloudEvents published so far, as sent."""
        with self._lock:
            return [dict(each) for each in self._events]

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._events.clear()

    def answer(self, call: Call) -> Answer:
        """200, or why not. The token has been checked."""
        if call.method != "POST" or call.segments != ("api", "events"):
            return error(404, "NotFound", f"The path '{call.path}' is not simulated.")
        if call.options.get("api-version") != "2018-01-01":
            return error(400, "BadRequest", "The api-version query parameter is missing or not supported.")
        if not call.headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
            return error(400, "BadRequest", "This topic takes CloudEvents 1.0: the content type does not say so.")
        if len(call.body) > _MOST_BYTES:
            return error(413, "RequestEntityTooLarge", f"The maximum size of a request is {_MOST_BYTES} bytes.")
        try:
            events = json.loads(call.body)
        except ValueError as problem:
            return error(400, "BadRequest", f"The body is no JSON: {problem}")
        if not isinstance(events, list) or not all(_is_cloud_event(each) for each in events):
            return error(400, "BadRequest", "The body should be an array of CloudEvents 1.0.")
        with self._lock:
            self._events += cast("list[JsonObject]", events)
        return Answer(status=200)


def _is_cloud_event(event: object) -> bool:
    return (
        isinstance(event, Mapping)
        and all(isinstance(event.get(name), str) and event[name] for name in _REQUIRED)
        and event["specversion"] == "1.0"
    )
