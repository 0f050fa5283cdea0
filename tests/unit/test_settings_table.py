"""The settings as people read them: the table, the example file and the code say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keydrift.settings import Settings
from keydrift_local.laptop import HOST_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
TABLE = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), re.MULTILINE))
EXAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]
# Not the product's: the worker's language, and where the host keeps what it needs
FOREIGN = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"}
_MEMBERS = {
    "KEYDRIFT_CLOUD": "cloud", "KEYDRIFT_STATE": "state", "KEYDRIFT_TABLE": "table", "KEYDRIFT_RECHECK_QUEUE": "recheck_queue",
    "KEYDRIFT_EVENTS_QUEUE": "events_queue", "KEYDRIFT_DEAD_LETTER_CONTAINER": "dead_letter_container",
    "KEYDRIFT_INVENTORY": "inventory", "KEYDRIFT_ALERT_STREAM": "alert_stream",
}  # fmt: skip


def test_the_table_names_every_setting_and_no_other() -> None:
    """Every setting stands in docs/settings.md once, and everything there is a setting."""
    assert set(TABLE) == Settings.names()


@pytest.mark.parametrize("name", sorted(_MEMBERS))
def test_the_defaults_are_those_of_the_table(name: str) -> None:
    """A text default stands in the table as the code has it."""
    assert TABLE[name].strip("`") == getattr(Settings(), _MEMBERS[name])


def test_durations_are_those_of_the_table() -> None:
    """The horizons stand in the table in days."""
    assert TABLE["KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS"] == f"`{Settings().key_expiry_horizon.days}`"
    assert TABLE["KEYDRIFT_GRANT_EXPIRY_HORIZON_DAYS"] == f"`{Settings().grant_expiry_horizon.days}`"


def test_what_the_host_binds_is_in_the_table_and_the_example() -> None:
    """Every setting that a trigger names has the same default in the table, in the example file and on the dev host."""
    bound = set(re.findall(r"%(\w+)%", (ROOT / "function_app.py").read_text(encoding="utf-8")))
    assert set(HOST_SETTINGS) == bound
    for name, value in HOST_SETTINGS.items():
        assert (TABLE[name], EXAMPLE[name]) == (f"`{value}`", value)


def test_the_example_is_read_without_error() -> None:
    """The example file holds settings that exist, with values that are right."""
    assert set(EXAMPLE) - FOREIGN <= Settings.names()
    made = Settings.from_environment(EXAMPLE)
    assert made == Settings(state="AzureWebJobsStorage")
