"""Azure's host names in every cloud: which service answers there, and for which token audiences.

Sources: `azure-mgmt-core` (ARM), Key Vault `about-keys-secrets-certificates` (DNS suffixes), Azure Monitor and Graph
national-cloud pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Service(StrEnum):
    """The surfaces of Azure that a client can reach."""

    ARM = "arm"
    ENTRA = "entra"
    GRAPH = "graph"
    VAULT = "vault"
    MANAGED_HSM = "managed-hsm"
    LOGS_INGESTION = "logs-ingestion"
    LOGS_QUERY = "logs-query"
    EVENT_TOPIC = "event-topic"


@dataclass(frozen=True, slots=True)
class Site:
    """A host name (or `*.` and a suffix), the service behind it and the audiences it accepts."""

    host: str
    service: Service
    audiences: tuple[str, ...] = ()

    def serves(self, host: str) -> bool:
        """Whether a (lower-case) host name is this one. As in a certificate, `*` stands for one label."""
        if self.host.startswith("*."):
            return host.partition(".")[2] == self.host[2:]
        return host == self.host


DCR_HOST = {
    "AzureCloud": "keydrift-dcr.westeurope-1.ingest.monitor.azure.com",
    "AzureUSGovernment": "keydrift-dcr.usgovvirginia-1.ingest.monitor.azure.us",
    "AzureChinaCloud": "keydrift-dcr.chinanorth3-1.ingest.monitor.azure.cn",
}
RESOURCE_MANAGER = {
    "AzureCloud": "management.azure.com",
    "AzureUSGovernment": "management.usgovcloudapi.net",
    "AzureChinaCloud": "management.chinacloudapi.cn",
}

SITES = (
    Site("management.azure.com", Service.ARM, ("https://management.azure.com", "https://management.core.windows.net")),
    Site(
        "management.usgovcloudapi.net",
        Service.ARM,
        ("https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"),
    ),
    Site(
        "management.chinacloudapi.cn",
        Service.ARM,
        ("https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn"),
    ),
    Site("login.microsoftonline.com", Service.ENTRA),
    Site("login.microsoftonline.us", Service.ENTRA),
    Site("login.chinacloudapi.cn", Service.ENTRA),
    Site("login.partner.microsoftonline.cn", Service.ENTRA),
    Site("graph.microsoft.com", Service.GRAPH, ("https://graph.microsoft.com",)),
    Site("graph.microsoft.us", Service.GRAPH, ("https://graph.microsoft.us",)),
    Site("microsoftgraph.chinacloudapi.cn", Service.GRAPH, ("https://microsoftgraph.chinacloudapi.cn",)),
    Site("*.vault.azure.net", Service.VAULT, ("https://vault.azure.net",)),
    Site("*.vault.usgovcloudapi.net", Service.VAULT, ("https://vault.usgovcloudapi.net",)),
    Site("*.vault.azure.cn", Service.VAULT, ("https://vault.azure.cn",)),
    Site("*.managedhsm.azure.net", Service.MANAGED_HSM, ("https://managedhsm.azure.net",)),
    Site("*.managedhsm.usgovcloudapi.net", Service.MANAGED_HSM, ("https://managedhsm.usgovcloudapi.net",)),
    Site("*.managedhsm.azure.cn", Service.MANAGED_HSM, ("https://managedhsm.azure.cn",)),
    Site("*.westeurope-1.ingest.monitor.azure.com", Service.LOGS_INGESTION, ("https://monitor.azure.com",)),
    Site("*.usgovvirginia-1.ingest.monitor.azure.us", Service.LOGS_INGESTION, ("https://monitor.azure.us",)),
    Site("*.chinanorth3-1.ingest.monitor.azure.cn", Service.LOGS_INGESTION, ("https://monitor.azure.cn",)),
    Site("*.westeurope-1.eventgrid.azure.net", Service.EVENT_TOPIC, ("https://eventgrid.azure.net",)),
    Site("api.loganalytics.io", Service.LOGS_QUERY, ("https://api.loganalytics.io",)),
    Site("api.loganalytics.azure.com", Service.LOGS_QUERY, ("https://api.loganalytics.azure.com", "https://api.loganalytics.io")),
    Site("api.loganalytics.us", Service.LOGS_QUERY, ("https://api.loganalytics.us",)),
    Site("api.loganalytics.azure.cn", Service.LOGS_QUERY, ("https://api.loganalytics.azure.cn",)),
)

LOGIN_HOST = {
    "AzureCloud": "login.microsoftonline.com",
    "AzureUSGovernment": "login.microsoftonline.us",
    "AzureChinaCloud": "login.chinacloudapi.cn",
}


def site_of(host: str) -> Site | None:
    """The site at a host name, or None where Azure has none that is simulated."""
    return next((site for site in SITES if site.serves(host.lower())), None)
