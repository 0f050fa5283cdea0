"""The message between receiving and deciding: "look at this key store again". A canary passes the same queue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from keydrift.drift import Via
from keydrift.errors import DecodeError

# Whoever can write to the queue chooses neither an address nor a key of the state store that no key store has
_HOST = re.compile(r"[0-9a-z.-]{0,253}", re.ASCII)
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """One key store, by host. Facts read after `noticed_at` answer it: for a notice its receipt, for a delayed one its due time.

    `consumers` asks for the inventory to be read again first, because a consumer or its identity changed, that of `subscriptions`
    or, where none is named, all of it; with an empty host that is all that is asked. `sweep` is the id of the sweep that asks.
    `wide` asks for all key stores of `subscriptions`, from lists, since one change concerns many of them.
    `crowd` is how many notices about the key store had come within a settle window when this one was taken (`restraint.Rush`).
    """

    host: str
    noticed_at: datetime
    via: Via
    consumers: bool = False
    subscriptions: tuple[str, ...] = ()
    sweep: str = ""
    crowd: int = 0
    wide: bool = False

    def body(self) -> str:
        """The queue message."""
        fields = {"host": self.host, "noticedAt": self.noticed_at.isoformat(), "via": str(self.via), "consumers": self.consumers}
        more = {"subscriptions": list(self.subscriptions), "sweep": self.sweep, "crowd": self.crowd, "wide": self.wide}
        return json.dumps({"v": 1, **fields, **{name: value for name, value in more.items() if value}})

    @classmethod
    def parse(cls, body: str) -> Recheck:
        """Raises DecodeError for a message that is not one of ours."""
        try:
            document = json.loads(body)
            host, noticed = document["host"], datetime.fromisoformat(document["noticedAt"])
            # At the edges of the calendar there is no UTC
            aware = noticed.tzinfo is not None and noticed.astimezone(UTC) is not None
            via, consumers = Via(document["via"]), document["consumers"] is True
            subscriptions, sweep = document.get("subscriptions", []), str(document.get("sweep", ""))
            crowd, wide = int(document.get("crowd", 0)), document.get("wide") is True
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise DecodeError("$", "expected a recheck message (host, noticedAt, via, consumers)") from error
        if not aware:
            raise DecodeError("$.noticedAt", "expected a time with an offset")
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise DecodeError("$.host", "expected the host of a key store, or nothing")
        if not isinstance(subscriptions, list) or not all(
            isinstance(each, str) and _ID.fullmatch(each) for each in subscriptions
        ):
            raise DecodeError("$.subscriptions", "expected a list of subscription ids")
        return cls(
            host=host,
            noticed_at=noticed,
            via=via,
            consumers=consumers,
            subscriptions=tuple(subscriptions),
            sweep=sweep,
            crowd=crowd,
            wide=wide,
        )


def canary_body(canary: str) -> str:
    """The queue message of a canary event."""
    return json.dumps({"v": 1, "canary": canary})


def canary_in(body: str) -> str | None:
    """The id of the canary event whose message this is; None for any other message."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    canary = document.get("canary") if isinstance(document, dict) else None
    return canary if isinstance(canary, str) else None
