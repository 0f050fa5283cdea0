"""The message between receiving and deciding: "look at this key store again"."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from keydrift.drift import Via
from keydrift.errors import DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """One key store, by host. Facts read after `noticed_at` answer it: for a notice its receipt, for a delayed one its due time.

    `consumers` asks for the inventory to be read again first, because a consumer or its identity changed, that of `subscriptions`
    or, where none is named, all of it; with an empty host that is all that is asked. `sweep` is the id of the sweep that asks.
    """

    host: str
    noticed_at: datetime
    via: Via
    consumers: bool = False
    subscriptions: tuple[str, ...] = ()
    sweep: str = ""

    def body(self) -> str:
        """The queue message."""
        fields = {"host": self.host, "noticedAt": self.noticed_at.isoformat(), "via": str(self.via), "consumers": self.consumers}
        more = {"subscriptions": list(self.subscriptions), "sweep": self.sweep}
        return json.dumps({"v": 1, **fields, **{name: value for name, value in more.items() if value}})

    @classmethod
    def parse(cls, body: str) -> Recheck:
        """Raises DecodeError for a message that is not one of ours."""
        try:
            document = json.loads(body)
            host, noticed = document["host"], datetime.fromisoformat(document["noticedAt"])
            via, consumers = Via(document["via"]), document["consumers"] is True
            subscriptions, sweep = tuple(map(str, document.get("subscriptions", ()))), str(document.get("sweep", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DecodeError("$", "expected a recheck message (host, noticedAt, via, consumers)") from error
        if noticed.tzinfo is None or not isinstance(host, str):
            raise DecodeError("$.noticedAt", "expected a host and a time with an offset")
        return cls(host=host, noticed_at=noticed, via=via, consumers=consumers, subscriptions=subscriptions, sweep=sweep)
