"""One request's way through the simulated tenant: whose host it is, fault, token, answer."""

from __future__ import annotations

from keydrift.errors import DecodeError
from keydrift_local.azure import arm, entra, graph, logs, managed_hsm, resource_graph
from keydrift_local.azure.event_topic import EventTopic
from keydrift_local.azure.faults import Faults
from keydrift_local.azure.hosts import LOGIN_HOST, Service, Site, site_of
from keydrift_local.azure.log_analytics import LogAnalytics
from keydrift_local.azure.messages import Answer, Call, error
from keydrift_local.azure.resource_graph import ResourceGraph
from keydrift_local.documents import member
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import VAULT, Entry
from keydrift_local.vault_objects import vault_uri

DROPPED = Answer(status=0)
_DATA_PLANES = (Service.VAULT, Service.MANAGED_HSM)


def resolves(tenant: Tenant, host: str) -> bool:
    """Whether Azure's DNS knows a host name: a deleted key store's is gone."""
    site = site_of(host)
    if site is None or site.service not in _DATA_PLANES:
        return site is not None
    return _vault_at(tenant, host) is not None if site.service is Service.VAULT else managed_hsm.hsm_at(tenant, host) is not None


def refusal(call: Call, tenant: Tenant, faults: Faults) -> Answer | None:
    """Why the call never reaches its service: no such host, a fault, no or a wrong token. None where it does."""
    site = site_of(call.host)
    if site is None or not resolves(tenant, call.host):
        return DROPPED
    # A key store challenges a client that sends no token before anything else, so that is not a request a fault should use up.
    if site.service in _DATA_PLANES and call.claims is None:
        return _challenge(site, tenant)
    fault = faults.answer(call, site.service)
    if fault is not None or site.service is Service.ENTRA or call.audience in site.audiences:
        return fault
    return _wrong_audience(call, site, tenant)


def tenant_answer(call: Call, tenant: Tenant, rows: ResourceGraph, page_size: int) -> Answer | None:
    """What the services that serve the tenant answer; None for those that alerts are sent to."""
    site = site_of(call.host)
    try:
        match site.service if site else None:
            case Service.ARM if resource_graph.is_asked(call):
                return rows.answer(call, tenant)
            case Service.ARM:
                return arm.answer(call, tenant, page_size)
            case Service.ENTRA:
                return entra.answer(call, tenant)
            case Service.GRAPH:
                return graph.answer(call, tenant, page_size)
            case Service.MANAGED_HSM:
                hsm = managed_hsm.hsm_at(tenant, call.host)
                return DROPPED if hsm is None else managed_hsm.answer(call, tenant, hsm, page_size)
            case Service.VAULT:
                vault = _vault_at(tenant, call.host)
                return DROPPED if vault is None else _forbidden(call, vault)
            case _:
                return None
    except DecodeError as problem:
        return error(400, "InvalidRequestUri", str(problem))


def sink_answer(call: Call, workspace: LogAnalytics, topic: EventTopic) -> Answer:
    """What the services answer that alerts are sent to: Azure Monitor's two, and an Event Grid topic."""
    site = site_of(call.host)
    if site and site.service is Service.EVENT_TOPIC:
        return topic.answer(call)
    return logs.ingest(call, workspace) if site and site.service is Service.LOGS_INGESTION else logs.query(call, workspace)


def _vault_at(tenant: Tenant, host: str) -> Entry | None:
    for entry in tenant.index.of_type(VAULT):
        if vault_uri(tenant, entry.id).split("//", 1)[-1].strip("/").split(":")[0].lower() == host.lower():
            return entry
    return None


def _challenge(site: Site, tenant: Tenant) -> Answer:
    authority = f"https://{LOGIN_HOST[tenant.cloud]}/{tenant.tenant_id}"
    return error(
        401,
        "Unauthorized",
        "AKV10000: Request is missing a Bearer or PoP token.",
        headers={"WWW-Authenticate": f'Bearer authorization="{authority}", resource="{site.audiences[0]}"'},
    )


def _wrong_audience(call: Call, site: Site, tenant: Tenant) -> Answer:
    authority = f"https://{LOGIN_HOST[tenant.cloud]}/{tenant.tenant_id}"
    if site.service is Service.GRAPH:
        return graph.graph_error(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
    if site.service in _DATA_PLANES:
        return _challenge(site, tenant)
    if call.claims is None:
        code, message = "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
    else:
        code = "InvalidAuthenticationTokenAudience"
        message = (
            "The access token has been obtained for wrong audience or resource "
            f"'{call.audience}'. It should exactly match with one of the allowed audiences '{', '.join(site.audiences)}'."
        )
    headers = {
        "WWW-Authenticate": f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{message}"'
    }
    return error(401, code, message, headers=headers)


def _forbidden(call: Call, vault: Entry) -> Answer:
    """The monitor has no right on a vault's data plane: it reads keys through ARM."""
    by_role = member(vault.body, "properties", "enableRbacAuthorization") is True
    message = f"Caller is not authorized to perform action on resource.\r\nResource: '{vault.id}{call.path}'"
    return error(403, "Forbidden", message, inner={"code": "ForbiddenByRbac" if by_role else "ForbiddenByPolicy"})
