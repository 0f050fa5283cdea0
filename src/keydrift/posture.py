"""The document of all key bindings, which `scan` and `GET /api/posture` show and the page is made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from keydrift import __version__
from keydrift.alerts.row import SCHEMA_VERSION, stamp


def posture_document(
    bindings: Sequence[Mapping[str, object]],
    unread: Sequence[object],
    at: datetime,
    *,
    source: Literal["monitor", "scan"],
) -> dict[str, object]:
    """Documents of verdicts and of what could not be read, as one. Only the monitor's bindings have a `history`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": stamp(at),
        "source": source,
        "monitor_version": __version__,
        "bindings": list(bindings),
        "unread": list(unread),
    }
