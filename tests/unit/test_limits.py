"""Where a next page may be: on the host that was asked, whatever the link looks like."""

from __future__ import annotations

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest

from keydrift.adapters.limits import OneHostPolicy, RefusedAnswerError, following

ASKED = "https://management.azure.com/subscriptions/s/providers/Microsoft.KeyVault/vaults?api-version=2026-02-01"
HOST = "https://management.azure.com"
FOREIGN = [
    "https://evil.example/page2",
    "https://management.azure.com.evil.example/page2",
    "https://management.azure.com@evil.example/page2",
    "https://evil.example@management.azure.com/page2",
    "https://token:x@management.azure.com/page2",
    "https://evil.example/management.azure.com/page2",
    "https://evil.example?management.azure.com",
    "https://evil.example#management.azure.com",
    "https://xmanagement.azure.com/page2",
    "https://management.azure.com./page2",
    "https://management.azure.com:8443/page2",
    "https://management.azure.com:99999/page2",
    "https://[::1/page2",
    "http://management.azure.com/page2",
    "http://management.azure.com:443/page2",
    "ftp://management.azure.com/page2",
    "//evil.example/page2",
    "https:\\\\evil.example\\page2",
    "https://management.azure.com\\@evil.example/page2",
    "https://management.azure.com\t.evil.example/page2",
    "https://evil.example/\nhttps://management.azure.com/",
    "/page2\r\nHost: evil.example",
    "https://\u043canagement.azure.com/page2",
    "https://169.254.169.254/metadata/identity/oauth2/token",
    "file:///etc/passwd",
]


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        (f"{HOST}/page2?$skiptoken=1", f"{HOST}/page2?$skiptoken=1"),
        (f"{HOST}:443/page2", f"{HOST}:443/page2"),
        ("HTTPS://Management.Azure.COM/page2", "https://Management.Azure.COM/page2"),
        ("/page2?x=https://evil.example", f"{HOST}/page2?x=https://evil.example"),
        ("?$skiptoken=1", ASKED.partition("?")[0] + "?$skiptoken=1"),
        (f"{HOST}/page2?$filter=a eq 'b'", f"{HOST}/page2?$filter=a eq 'b'"),
        (f"{HOST}/@evil.example", f"{HOST}/@evil.example"),
    ],
)
def test_a_link_on_the_same_host_is_followed(link: str, leads_to: str) -> None:
    """Scheme, host and port are those that were asked, in any spelling; path and query are the service's own."""
    assert following(ASKED, link) == leads_to


@pytest.mark.parametrize("link", FOREIGN)
def test_a_link_to_anywhere_else_is_refused(link: str) -> None:
    """Another host, port or scheme, a user name, and what two parsers could read as two hosts are refused."""
    with pytest.raises(RefusedAnswerError) as caught:
        following(ASKED, link)
    assert caught.value.code == "ForeignLink"


@pytest.mark.parametrize("url", [each for each in FOREIGN if each.startswith(("http", "ftp", "file"))])
def test_a_client_that_follows_links_itself_is_held_to_its_host(url: str) -> None:
    """The policy refuses each address that the reader refuses, where the host is another one."""
    policy, context = OneHostPolicy(HOST), PipelineContext(None)
    policy.on_request(PipelineRequest(HttpRequest("GET", f"{HOST}/page1"), context))
    with pytest.raises(RefusedAnswerError):
        policy.on_request(PipelineRequest(HttpRequest("GET", url), context))
