"""The settings: defaults, spellings, and one error that names all that is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keydrift.errors import ConfigError
from keydrift.settings import Settings

GUID = "00000000-0000-0000-0000-0000000000ab"


def test_defaults() -> None:
    """An empty environment, or one of blanks, gives the defaults."""
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"KEYDRIFT_STATE": "  ", "KEYDRIFT_TENANT_ID": ""}) == Settings()


def test_everything_set() -> None:
    """Each setting is read under its documented name."""
    made = Settings.from_environment(
        {
            "KEYDRIFT_CLOUD": "AzureUSGovernment",
            "KEYDRIFT_STATE": "https://account.table.core.windows.net",
            "KEYDRIFT_TABLE": "t",
            "KEYDRIFT_RECHECK_QUEUE": "q",
            "KEYDRIFT_EVENTS_QUEUE": "e",
            "KEYDRIFT_DEAD_LETTER_CONTAINER": "d",
            "KEYDRIFT_ALERT_TOPIC_ENDPOINT": "https://t.westeurope-1.eventgrid.azure.net/api/events",
            "KEYDRIFT_SUBSCRIPTIONS": " SUB-1 ,sub-2,, ",
            "KEYDRIFT_TENANT_ID": GUID.upper(),
            "KEYDRIFT_BACKUP_APP_ID": GUID,
            "KEYDRIFT_BACKUP_OBJECT_ID": GUID,
            "AZURE_CLIENT_ID": GUID,
            "KEYDRIFT_DCR_ENDPOINT": "https://dce.example",
            "KEYDRIFT_DCR_RULE_ID": "dcr-1",
            "KEYDRIFT_ALERT_STREAM": "Custom-X",
            "KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS": "14",
            "KEYDRIFT_GRANT_EXPIRY_HORIZON_DAYS": "7",
        }
    )
    assert made == Settings(
        cloud="AzureUSGovernment",
        state="https://account.table.core.windows.net",
        table="t",
        recheck_queue="q",
        events_queue="e",
        dead_letter_container="d",
        alert_topic_endpoint="https://t.westeurope-1.eventgrid.azure.net/api/events",
        subscriptions=("sub-1", "sub-2"),
        tenant_id=GUID,
        backup_app_id=GUID,
        backup_object_id=GUID,
        identity_client_id=GUID,
        dcr_endpoint="https://dce.example",
        dcr_rule_id="dcr-1",
        alert_stream="Custom-X",
        key_expiry_horizon=timedelta(days=14),
        grant_expiry_horizon=timedelta(days=7),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEYDRIFT_STATE", "sqlite:"),
        ("KEYDRIFT_STATE", "state.db"),
        ("KEYDRIFT_STATE", "http://account.table.core.windows.net"),
        ("KEYDRIFT_TENANT_ID", "contoso.com"),
        ("KEYDRIFT_BACKUP_APP_ID", "Backup Management Service"),
        ("AZURE_CLIENT_ID", "x"),
        ("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", "-1"),
        ("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", "1.5"),
        ("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", "3651"),
        ("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", "\u0663"),
        ("KEYDRIFT_DCR_ENDPOINT", "http://dce.example"),
        ("KEYDRIFT_DCR_RULE_ID", "dcr-1"),
        ("KEYDRIFT_ALERT_TOPIC_ENDPOINT", "topic.westeurope-1.eventgrid.azure.net"),
    ],
)
def test_wrong_value(name: str, value: str) -> None:
    """A wrong value is an error that names the setting."""
    with pytest.raises(ConfigError, match=name):
        Settings.from_environment({name: value})


def test_all_errors_at_once() -> None:
    """Everything that is wrong stands in one error of one line."""
    wrong = {
        "KEYDRIFT_STATE": "nowhere",
        "KEYDRIFT_TENANT_ID": "x",
        "KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS": "soon",
        "KEYDRIFT_DCR_ENDPOINT": "dce",
    }
    with pytest.raises(ConfigError) as raised:
        Settings.from_environment(wrong)
    message = str(raised.value)
    assert all(name in message for name in (*wrong, "KEYDRIFT_DCR_RULE_ID"))
    assert "\n" not in message


@pytest.mark.parametrize("state", ["sqlite:a.db", "https://a.table.core.windows.net", "AzureWebJobsStorage"])
def test_states(state: str) -> None:
    """The three kinds of state store are accepted."""
    assert Settings.from_environment({"KEYDRIFT_STATE": state}).state == state


@pytest.mark.parametrize("days", [0, 1, 3650])
def test_horizon(days: int) -> None:
    """The horizon is a whole number of days, nothing to ten years."""
    made = Settings.from_environment({"KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS": str(days)})
    assert made.key_expiry_horizon == timedelta(days=days)
