"""Faults: what they match, how long they last, what they answer."""

from __future__ import annotations

import pytest

from keydrift.errors import ConfigError
from keydrift_local.azure.faults import Faults
from keydrift_local.azure.hosts import Service, site_of
from keydrift_local.azure.messages import Call
from keydrift_local.documents import JsonObject, member

PATH = "/subscriptions/s/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv1"


def call(method: str = "GET", host: str = "management.azure.com", path: str = PATH) -> Call:
    return Call(method=method, host=host, path=path, query={"api-version": "1"})


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        pytest.param("GET */vaults/kv1*", True, id="anything before and after"),
        pytest.param("get *microsoft.keyvault/VAULTS/kv1", True, id="letter case"),
        pytest.param(f"GET https://management.azure.com{PATH}", True, id="the whole URL"),
        pytest.param("* https://management.azure.com/*", True, id="any method"),
        pytest.param("GET */rg1/*/vaults/*", True, id="wildcards in the middle"),
        pytest.param("POST */vaults/kv1*", False, id="another method"),
        pytest.param("GET */vaults/kv", False, id="only a beginning"),
        pytest.param("GET /subscriptions/*", False, id="no host"),
        pytest.param("GET */vaults/kv1?api-version=1", False, id="the query does not count"),
        pytest.param("GET */vaults/k.1", False, id="no regular expression"),
    ],
)
def test_a_match_is_a_whole_request_line(match: str, *, matches: bool) -> None:
    """`*` is any run of characters; the rest is literal, whole, in any letter case."""
    faults = Faults()
    faults.set({"match": match, "status": 503})
    assert (faults.answer(call(), Service.ARM) is not None) is matches


def test_a_fault_ends_after_its_times() -> None:
    """Only requests that it answers count, and the first of several faults answers."""
    faults = Faults()
    faults.set({"match": "GET */kv1", "status": 429, "times": 2, "headers": {"Retry-After": 3}})
    faults.set({"match": "GET */kv1", "status": 500})
    assert faults.answer(call(method="PUT"), Service.ARM) is None
    statuses = [faults.answer(call(), Service.ARM) for _ in range(4)]
    assert [each.status for each in statuses if each] == [429, 429, 500, 500]
    assert statuses[0] is not None
    assert statuses[0].headers == {"Retry-After": "3"}
    faults.set(None)
    assert faults.answer(call(), Service.ARM) is None


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [
        pytest.param("management.azure.com", 403, "AuthorizationFailed", id="ARM forbids"),
        pytest.param("management.azure.com", 429, "TooManyRequests", id="ARM throttles"),
        pytest.param("management.usgovcloudapi.net", 503, "ServiceUnavailable", id="ARM is down"),
        pytest.param("graph.microsoft.com", 403, "Authorization_RequestDenied", id="Graph forbids"),
        pytest.param("h.managedhsm.azure.net", 403, "Forbidden", id="HSM forbids"),
        pytest.param("h.managedhsm.azure.net", 500, "InternalServerError", id="HSM fails"),
        pytest.param("x.westeurope-1.ingest.monitor.azure.com", 403, "OperationFailed", id="ingestion forbids"),
        pytest.param("api.loganalytics.io", 429, "ThrottledError", id="query throttles"),
    ],
)
def test_each_service_has_its_own_codes(host: str, status: int, code: str) -> None:
    """A status comes with the error code of the service that sends it."""
    site = site_of(host)
    assert site is not None
    faults = Faults()
    faults.set({"match": "GET *", "status": status})
    answer = faults.answer(call(host=host), site.service)
    assert answer is not None
    assert (answer.status, member(answer.body, "error", "code")) == (status, code)


def test_a_given_body_is_sent_as_it_is() -> None:
    """A fault's own body replaces the service's."""
    faults = Faults()
    faults.set({"match": "GET *", "status": 400, "body": {"odd": True}})
    answer = faults.answer(call(), Service.ARM)
    assert answer is not None
    assert answer.body == {"odd": True}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param({"match": "GET", "status": 500}, "fault.match", id="no URL"),
        pytest.param({"status": 500}, "fault.match", id="no match"),
        pytest.param({"match": "GET *"}, "fault.status", id="no status"),
        pytest.param({"match": "GET *", "status": 99}, "fault.status", id="no HTTP status"),
        pytest.param({"match": "GET *", "status": True}, "fault.status", id="status as a flag"),
        pytest.param({"match": "GET *", "status": 500, "times": 0}, "fault.times", id="never"),
        pytest.param({"match": "GET *", "status": 500, "headers": []}, "fault.headers", id="headers as a list"),
        pytest.param({"match": "GET *", "status": 500, "time": 2}, "fault.time: expected only", id="misspelled member"),
    ],
)
def test_a_wrong_fault_is_refused(fault: JsonObject, message: str) -> None:
    """A fault that would do nothing, or something else, is a mistake."""
    with pytest.raises(ConfigError, match=message):
        Faults().set(fault)


@pytest.mark.parametrize(
    ("host", "service"),
    [
        pytest.param("kv1.vault.azure.net", Service.VAULT, id="vault"),
        pytest.param("KV1.VAULT.AZURE.CN", Service.VAULT, id="vault in China"),
        pytest.param("a.b.vault.azure.net", None, id="a wildcard is one label"),
        pytest.param("vault.azure.net", None, id="and never none"),
        pytest.param("h.managedhsm.usgovcloudapi.net", Service.MANAGED_HSM, id="HSM in US Government"),
        pytest.param("example.com", None, id="not Azure"),
    ],
)
def test_hosts(host: str, service: Service | None) -> None:
    """A host name leads to its service, as a certificate would have it."""
    site = site_of(host)
    assert (site.service if site else None) == service
