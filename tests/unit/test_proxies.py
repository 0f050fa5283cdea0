"""Requests go through the proxy that the environment names, and past it where the environment says so."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from keydrift.adapters import proxies
from keydrift.adapters.proxies import EnvironmentProxies

NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")
URL = "https://management.azure.com/subscriptions"


@pytest.fixture(name="environment")
def _environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("values", "url", "expected"),
    [
        ({}, URL, {}),
        ({"HTTPS_PROXY": "http://proxy:3128"}, URL, {"proxy": "http://proxy:3128"}),
        ({"https_proxy": "http://proxy:3128"}, URL, {"proxy": "http://proxy:3128"}),
        ({"HTTPS_PROXY": "proxy:3128"}, URL, {"proxy": "http://proxy:3128"}),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "HTTPS://Management.Azure.com/", {"proxy": "http://proxy:3128"}),
        ({"HTTP_PROXY": "http://proxy:3128"}, URL, {}),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://169.254.169.254/", {"proxy": "http://proxy:3128"}),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "management.azure.com"}, URL, {}),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.azure.com"}, URL, {}),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, URL, {}),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "azure.co"}, URL, {"proxy": "http://proxy:3128"}),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "ent.azure.com"}, URL, {"proxy": "http://proxy:3128"}),
    ],
)
def test_proxy_of_a_url(environment: Callable[..., None], values: dict[str, str], url: str, expected: dict[str, Any]) -> None:
    """Each scheme has its proxy, and `NO_PROXY` names whole hosts and domains, no parts of names."""
    environment(**values)

    assert EnvironmentProxies().options(url) == expected


def test_password_of_a_proxy_is_no_part_of_its_address(environment: Callable[..., None]) -> None:
    """A proxy's user name and password go into the header that is meant for them, decoded."""
    environment(HTTPS_PROXY="http://me:p%40ss@proxy:3128")

    options = EnvironmentProxies().options(URL)

    assert options["proxy"] == "http://proxy:3128"
    scheme, _, value = options["proxy_headers"]["Proxy-Authorization"].partition(" ")
    assert (scheme, base64.b64decode(value)) == ("Basic", b"me:p@ss")


def test_environment_is_read_once_for_each_host(environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests go to a host, its proxy is looked up once."""
    environment(HTTPS_PROXY="http://proxy:3128")
    read: list[None] = []

    def counted() -> dict[str, str]:
        read.append(None)
        return {"https": "http://proxy:3128"}

    monkeypatch.setattr(proxies, "getproxies", counted)
    known = EnvironmentProxies()
    for number in range(100):
        known.options(f"{URL}/{number}")
    known.options("https://graph.microsoft.com/v1.0")

    assert len(read) == 2
