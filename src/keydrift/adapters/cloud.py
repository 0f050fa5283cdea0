"""Azure's clouds: their endpoints, token audiences and the Backup Management Service's app id (azure-facts 0.1, 5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from keydrift.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One cloud. Hosts are without a scheme; audiences are what tokens are asked for, without `/.default`."""

    name: str
    resource_manager: str
    authority: str
    graph: str
    hsm_suffix: str
    storage_suffix: str
    monitor_audience: str
    backup_app_id: str
    backup_app_name: str

    @property
    def hsm_audience(self) -> str:
        """The audience of a Managed HSM's data plane."""
        return f"https://{self.hsm_suffix}"


_PUBLIC_APP = "262044b1-e2ce-469f-a196-69ab7ada62d3"

CLOUDS = {
    cloud.name.lower(): cloud
    for cloud in (
        Cloud(
            name="AzureCloud",
            resource_manager="management.azure.com",
            authority="login.microsoftonline.com",
            graph="graph.microsoft.com",
            hsm_suffix="managedhsm.azure.net",
            storage_suffix="core.windows.net",
            monitor_audience="https://monitor.azure.com",
            backup_app_id=_PUBLIC_APP,
            backup_app_name="Backup Management Service",
        ),
        Cloud(
            name="AzureUSGovernment",
            resource_manager="management.usgovcloudapi.net",
            authority="login.microsoftonline.us",
            graph="graph.microsoft.us",
            # Assumed from the public cloud's pattern (azure-facts 8.2, Q10)
            hsm_suffix="managedhsm.usgovcloudapi.net",
            storage_suffix="core.usgovcloudapi.net",
            monitor_audience="https://monitor.azure.us",
            backup_app_id="ff281ffe-705c-4f53-9f37-a40e6f2c68f3",
            backup_app_name="Backup Fairfax",
        ),
        Cloud(
            name="AzureChinaCloud",
            resource_manager="management.chinacloudapi.cn",
            authority="login.chinacloudapi.cn",
            graph="microsoftgraph.chinacloudapi.cn",
            hsm_suffix="managedhsm.azure.cn",
            storage_suffix="core.chinacloudapi.cn",
            monitor_audience="https://monitor.azure.cn",
            # Not confirmed: a translated page uses the public cloud's (azure-facts 0.1)
            backup_app_id=_PUBLIC_APP,
            backup_app_name="Backup Management Service",
        ),
    )
}


def cloud_named(name: str) -> Cloud:
    """The cloud of that name. Raises ConfigError with the names that exist."""
    try:
        return CLOUDS[name.strip().lower()]
    except KeyError:
        names = ", ".join(cloud.name for cloud in CLOUDS.values())
        raise ConfigError(f"no cloud is called `{name}`: use one of {names}") from None


def cloud_of(url: str) -> Cloud | None:
    """The cloud in which a storage account's or a data collection rule's address stands; None where that cannot be told."""
    host = f".{urlsplit(url).hostname or ''}"
    for cloud in CLOUDS.values():
        if host.endswith((f".{cloud.storage_suffix}", f".{urlsplit(cloud.monitor_audience).hostname}")):
            return cloud
    return None
