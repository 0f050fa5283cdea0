"""The tables of src/keydrift/tables.py as infra/ loads them: `make tables` writes infra/tables.json, a test holds it equal."""

from __future__ import annotations

import json
from pathlib import Path

from keydrift.tables import ALERTS, HEALTH, POSTURE, RESERVED, TABLES, stream_of

FILE = Path(__file__).resolve().parents[2] / "infra" / "tables.json"

_DESCRIPTIONS = {
    ALERTS: "Who changed what, which backups are endangered, by when, and the command that repairs it.",
    POSTURE: "The last proof of each key binding, once a sweep.",
    HEALTH: "The monitor's own health, one row a check.",
}


def rendered() -> str:
    """The file's text: what each stream declares (every column that is sent) and each table holds (none that is reserved)."""
    document = {
        "madeBy": "make tables, from src/keydrift/tables.py; do not edit",
        "streams": {
            stream_of(table): {"columns": [{"name": name, "type": kind} for name, kind in columns.items()]}
            for table, columns in TABLES.items()
        },
        "tables": [_table(table, columns) for table, columns in TABLES.items()],
    }
    return json.dumps(document, indent=2) + "\n"


def _table(table: str, columns: dict[str, str]) -> dict[str, object]:
    dropped = sorted(RESERVED & columns.keys())
    return {
        "name": table,
        "description": _DESCRIPTIONS[table],
        "stream": stream_of(table),
        # Log Analytics reserves these names for itself (docs/adr/0006)
        "transformKql": f"source | project-away {', '.join(dropped)}" if dropped else "source",
        "columns": [
            # The table's schema spells this one type otherwise than the stream's
            {"name": name, "type": "dateTime" if kind == "datetime" else kind}
            for name, kind in columns.items()
            if name not in RESERVED
        ],
    }


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
