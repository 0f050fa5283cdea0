"""Are the settings right, beyond what each alone can tell? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keydrift.doctor.facts import Check, Status
from keydrift.settings import DELIVER_SCHEDULE, PULSE_SCHEDULE, SWEEP_SCHEDULE, Settings

_HOST_NEEDS = ("KEYDRIFT_RECHECK_QUEUE", "KEYDRIFT_EVENTS_QUEUE", SWEEP_SCHEDULE, DELIVER_SCHEDULE, PULSE_SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The environment's names and what they are set to, and the clouds in which the addresses among them stand.

    `clouds` maps a setting's name to the cloud that its host belongs to; one whose cloud cannot be told is left out.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    clouds: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_azure(self) -> bool:
        """Whether this runs as a function app in Azure (learn.microsoft.com/azure/app-service/reference-app-settings)."""
        return "WEBSITE_INSTANCE_ID" in self.environment


def check_settings(settings: Settings, surroundings: Surroundings, tenant: str | None) -> tuple[Check, ...]:
    """What is wrong with the settings, or one line that nothing is. `tenant` is the one that tokens are for, where known."""
    wrong = (*_names(surroundings), *_host(settings, surroundings), *_tenant(settings, tenant), *_clouds(settings, surroundings))
    given = sum(name in Settings.names() for name in surroundings.environment)
    fine = Check(name="settings", status=Status.OK, found=f"{given} set, cloud {settings.cloud}")
    return wrong or (fine,)


def _names(surroundings: Surroundings) -> Iterator[Check]:
    known = {name.upper() for name in Settings.names()}
    for name in sorted(surroundings.environment):
        if name.upper().startswith("KEYDRIFT_") and name.upper() not in known:
            yield Check(
                name=f"setting {name}",
                status=Status.WARN,
                found="no setting has this name, so it does nothing",
                fix="correct its name (docs/settings.md) or remove it",
            )


def _host(settings: Settings, surroundings: Surroundings) -> Iterator[Check]:
    if not surroundings.in_azure:
        return
    if settings.state.startswith("sqlite:"):
        yield Check(
            name="setting KEYDRIFT_STATE",
            status=Status.FAIL,
            found="a file, on a disk that instances do not share and that does not last",
            fix="set it to the storage account's table endpoint, https://<account>.table.…",
        )
    for name in _HOST_NEEDS:
        if not surroundings.environment.get(name, "").strip():
            yield Check(
                name=f"setting {name}",
                status=Status.FAIL,
                found="not set, so the function host cannot bind its trigger",
                fix="set it to its default (docs/settings.md)",
            )


def _tenant(settings: Settings, tenant: str | None) -> Iterator[Check]:
    name = "setting KEYDRIFT_TENANT_ID"
    if tenant is None:
        return
    if settings.tenant_id is None:
        found = "not set: a key vault of another tenant cannot be told"
        yield Check(name=name, status=Status.WARN, found=found, fix=f"set it to {tenant}")
    elif settings.tenant_id != tenant:
        fix = f"set it to {tenant}, or run the monitor as an identity of {settings.tenant_id}"
        yield Check(name=name, status=Status.FAIL, found=f"{settings.tenant_id}, but tokens are for {tenant}", fix=fix)


def _clouds(settings: Settings, surroundings: Surroundings) -> Iterator[Check]:
    for name, cloud in sorted(surroundings.clouds.items()):
        if cloud.lower() != settings.cloud.strip().lower():
            found = f"an address in {cloud}, but `KEYDRIFT_CLOUD` is {settings.cloud}"
            yield Check(name=f"setting {name}", status=Status.FAIL, found=found, fix="make the two name one cloud")
