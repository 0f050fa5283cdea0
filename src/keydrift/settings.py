"""The settings: few, typed, read from the environment at first use, with one error that names all that is wrong.

`docs/settings.md` is the table for people; a test holds it against this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from keydrift.errors import ConfigError

DEFAULT_QUEUE = "keydrift-recheck"
DEFAULT_EVENTS_QUEUE = "keydrift-events"
# Bound by the Functions host itself, in `function_app.py`: six-field NCRONTAB, seconds first
SWEEP_SCHEDULE, DEFAULT_SWEEP_SCHEDULE = "KEYDRIFT_SWEEP_SCHEDULE", "0 */15 * * * *"
DELIVER_SCHEDULE, DEFAULT_DELIVER_SCHEDULE = "KEYDRIFT_DELIVER_SCHEDULE", "30 */2 * * * *"
PULSE_SCHEDULE, DEFAULT_PULSE_SCHEDULE = "KEYDRIFT_PULSE_SCHEDULE", "15 */5 * * * *"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Durations are timedeltas; `backup_app_id` None means the cloud's default."""

    cloud: str = "AzureCloud"
    state: str = "sqlite:.keydrift/state.db"
    table: str = "keydrift"
    recheck_queue: str = DEFAULT_QUEUE
    events_queue: str = DEFAULT_EVENTS_QUEUE
    dead_letter_container: str = "keydrift-dead-letters"
    subscriptions: tuple[str, ...] = ()
    inventory: str = "auto"
    sweep_key_reads: int = 5000
    posture_interval: timedelta = timedelta()
    tenant_id: str | None = None
    backup_app_id: str | None = None
    backup_object_id: str | None = None
    identity_client_id: str | None = None
    dcr_endpoint: str | None = None
    dcr_rule_id: str | None = None
    alert_stream: str = "Custom-KeyDriftAlerts_CL"
    alert_topic_endpoint: str | None = None
    canary_topic_endpoint: str | None = None
    key_expiry_horizon: timedelta = timedelta(days=30)
    grant_expiry_horizon: timedelta = timedelta(days=14)
    watchlist: str | None = None
    owner_tag: str = "owner"
    environment_tag: str = "environment"
    remind_after: timedelta = timedelta(hours=24)
    flap_count: int = 3
    flap_window: timedelta = timedelta(hours=1)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings. Raises ConfigError that names every wrong one."""
        return cls._read(_Reader(environment))

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all settings, those included that only the function host reads (the timers' schedules)."""
        read = _Reader({})
        cls._read(read)
        return frozenset(read.names) | {SWEEP_SCHEDULE, DELIVER_SCHEDULE, PULSE_SCHEDULE}

    @classmethod
    def _read(cls, read: _Reader) -> Settings:
        default = cls()
        settings = cls(
            cloud=read.text("KEYDRIFT_CLOUD", default.cloud),
            state=read.checked("KEYDRIFT_STATE", default.state, _state),
            table=read.text("KEYDRIFT_TABLE", default.table),
            recheck_queue=read.text("KEYDRIFT_RECHECK_QUEUE", default.recheck_queue),
            events_queue=read.text("KEYDRIFT_EVENTS_QUEUE", default.events_queue),
            dead_letter_container=read.text("KEYDRIFT_DEAD_LETTER_CONTAINER", default.dead_letter_container),
            subscriptions=tuple(
                part.strip().lower() for part in read.text("KEYDRIFT_SUBSCRIPTIONS", "").split(",") if part.strip()
            ),
            inventory=read.checked("KEYDRIFT_INVENTORY", default.inventory, _inventory),
            posture_interval=timedelta(minutes=read.number("KEYDRIFT_POSTURE_INTERVAL_MINUTES", 0, most=1440, of=" of minutes")),
            sweep_key_reads=read.number("KEYDRIFT_SWEEP_KEY_READS", default.sweep_key_reads, least=1, most=100_000),
            tenant_id=read.guid("KEYDRIFT_TENANT_ID"),
            backup_app_id=read.guid("KEYDRIFT_BACKUP_APP_ID"),
            backup_object_id=read.guid("KEYDRIFT_BACKUP_OBJECT_ID"),
            identity_client_id=read.guid("AZURE_CLIENT_ID"),
            dcr_endpoint=read.maybe("KEYDRIFT_DCR_ENDPOINT", _https),
            dcr_rule_id=read.maybe("KEYDRIFT_DCR_RULE_ID"),
            alert_stream=read.text("KEYDRIFT_ALERT_STREAM", default.alert_stream),
            alert_topic_endpoint=read.maybe("KEYDRIFT_ALERT_TOPIC_ENDPOINT", _https),
            canary_topic_endpoint=read.maybe("KEYDRIFT_CANARY_TOPIC_ENDPOINT", _https),
            key_expiry_horizon=read.days("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", default.key_expiry_horizon),
            grant_expiry_horizon=read.days("KEYDRIFT_GRANT_EXPIRY_HORIZON_DAYS", default.grant_expiry_horizon),
            watchlist=read.maybe("KEYDRIFT_WATCHLIST"),
            owner_tag=read.text("KEYDRIFT_OWNER_TAG", default.owner_tag),
            environment_tag=read.text("KEYDRIFT_ENVIRONMENT_TAG", default.environment_tag),
            remind_after=timedelta(hours=read.number("KEYDRIFT_REMIND_AFTER_HOURS", 24, most=8760, of=" of hours")),
            flap_count=read.number("KEYDRIFT_FLAP_COUNT", default.flap_count, most=100),
            flap_window=timedelta(minutes=read.number("KEYDRIFT_FLAP_WINDOW_MINUTES", 60, least=1, most=1440, of=" of minutes")),
        )
        if bool(settings.dcr_endpoint) != bool(settings.dcr_rule_id):
            read.wrong.append("`KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID` belong together: set both or neither")
        if read.wrong:
            raise ConfigError("; ".join(read.wrong))
        return settings


class _Reader:
    """Reads values, and gathers their names and what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.names: list[str] = []
        self.wrong: list[str] = []

    def text(self, name: str, default: str) -> str:
        self.names.append(name)
        return self._environment.get(name, "").strip() or default

    def maybe(self, name: str, check: Callable[[str], str | None] | None = None) -> str | None:
        value = self.text(name, "")
        return (self.checked(name, value, check) if check else value) if value else None

    def checked(self, name: str, default: str, check: Callable[[str], str | None]) -> str:
        value = self.text(name, default)
        problem = check(value)
        if problem:
            self.wrong.append(f"`{name}` is `{value}`: {problem}")
        return value

    def guid(self, name: str) -> str | None:
        value = self.maybe(name)
        if value is None:
            return None
        try:
            return str(UUID(value))
        except ValueError:
            self.wrong.append(f"`{name}` is `{value}`: expected a GUID")
            return None

    def number(self, name: str, default: int, *, least: int = 0, most: int, of: str = "") -> int:
        value = self.maybe(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            bounds = f"at most {most}" if least == 0 else f"from {least} to {most}"
            self.wrong.append(f"`{name}` is `{value}`: expected a whole number{of}, {bounds}")
            return default
        return int(value)

    def days(self, name: str, default: timedelta) -> timedelta:
        return timedelta(days=self.number(name, default.days, most=3650, of=" of days"))


def _state(value: str) -> str | None:
    kind, _, rest = value.partition(":")
    if (kind == "sqlite" and rest) or kind == "https" or value == "AzureWebJobsStorage":
        return None
    return (
        "expected `sqlite:<file>`, `https://<account>.table.core.windows.net`, or `AzureWebJobsStorage` (its connection string)"
    )


def _inventory(value: str) -> str | None:
    return None if value in ("auto", "arm", "resource-graph") else "expected `auto`, `arm` or `resource-graph`"


def _https(value: str) -> str | None:
    return (
        None
        if urlsplit(value).scheme == "https" and urlsplit(value).hostname
        else "expected an address that starts with https://"
    )
