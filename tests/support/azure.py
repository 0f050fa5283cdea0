"""The simulated tenant as a fixture, and keydrift's own composition of what reads it.

One server serves a whole session; each test loads its tenant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from keydrift.collect import Readers
from keydrift.ports import Clock
from keydrift.reading import Reading
from keydrift.reading import reading as compose_reading
from keydrift.settings import Settings
from keydrift_local.local_azure import LocalAzure, Request
from keydrift_local.tenant_file import parse_tenant
from support.queues_memory import ManualClock
from support.tenants import TENANT_ID, Document

TOKEN_HOSTS = ("127.0.0.1", "login.microsoftonline.com")


@pytest.fixture(scope="session")
def azure_server() -> Iterator[LocalAzure]:
    """One server for the session, with small pages so that lists are paged."""
    with LocalAzure(parse_tenant({"tenantId": TENANT_ID}, "test"), page_size=3) as server:
        yield server


@pytest.fixture
def azure(azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> LocalAzure:
    """An empty tenant, and this process's environment pointing at it."""
    azure_server.load(parse_tenant({"tenantId": TENANT_ID}, "test"))
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in azure_server.environment.items():
        monkeypatch.setenv(name, value)
    return azure_server


def serve(azure: LocalAzure, document: Document) -> None:
    """Load a tenant document."""
    azure.load(parse_tenant(document, "test"))


@asynccontextmanager
async def reading(clock: Clock | None = None, settings: Settings | None = None) -> AsyncIterator[Reading]:
    """What bootstrap composes to read Azure, closed afterwards."""
    found = compose_reading(settings or Settings(), clock or ManualClock())
    try:
        yield found
    finally:
        await found.close()


@asynccontextmanager
async def readers(clock: Clock | None = None) -> AsyncIterator[Readers]:
    """The readers behind the collector, each as bootstrap made it."""
    async with reading(clock) as found:
        yield found.collector._readers


def asked(azure: LocalAzure) -> list[Request]:
    """The requests served so far, without those for tokens."""
    return [each for each in azure.requests if each.host not in TOKEN_HOSTS]
