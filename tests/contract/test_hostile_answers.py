"""Answers, ids and addresses that somebody else chose: no request leaves for another host or outside an id's own path, and what
is too much is unread with a code that says so."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from azure.core.rest import HttpRequest
from yarl import URL

from keydrift.adapters import http, key_vault, limits
from keydrift.adapters.http import ClockTransport, JsonReader
from keydrift.adapters.limits import RefusedAnswerError
from keydrift.adapters.pacing import LONGEST_PAUSE_S
from keydrift.collect import Readers
from keydrift.facts import Unread
from keydrift.key_uri import KeyUri
from keydrift.model import PermissionModel, Scenario, StoreObject
from keydrift.resource_id import ResourceId
from keydrift_local.local_azure import LocalAzure
from support.azure import readers, reading, serve
from support.queues_memory import ManualClock
from support.rehearsals import SWEEP, rehearsal
from support.tenants import SUBSCRIPTION, VERSION, backup_vault, healthy, hsm_id, key, tenant, vault_id
from support.tenants import key_vault as vault

if TYPE_CHECKING:
    from azure.core.pipeline.transport import AioHttpTransport

EVIL = "https://evil.example/collect"
ARM_HOST, GRAPH_HOST, HSM_HOST = "management.azure.com", "graph.microsoft.com", "hsm1.managedhsm.azure.net"
VAULT, HSM = ResourceId.parse(vault_id()), ResourceId.parse(hsm_id())
K1 = StoreObject(uri=KeyUri.parse("https://kv1.vault.azure.net/keys/k1"), store_id=VAULT)

type Ask = Callable[[Readers], Awaitable[Any]]

LISTS: dict[str, tuple[Ask, str, dict[str, object]]] = {
    "role assignments": (lambda r: r.grants.role_assignments(VAULT, "p"), ARM_HOST, {}),
    "deny assignments": (lambda r: r.grants.deny_assignments(VAULT), ARM_HOST, {}),
    "groups": (lambda r: r.directory.groups("p"), GRAPH_HOST, {"id": "g"}),
    "local assignments": (lambda r: r.managed_hsms.role_assignments(HSM_HOST, "/"), HSM_HOST, {}),
    "key versions, by the SDK": (
        lambda r: r.key_stores.key_versions(K1),
        ARM_HOST,
        {"id": f"{VAULT}/keys/k1/versions/{VERSION}"},
    ),
    "deleted vaults, by the SDK": (
        lambda r: r.key_stores.deleted_key_store(VAULT),
        ARM_HOST,
        {"properties": {"vaultId": vault_id("kv2"), "deletionDate": "2026-01-01T00:00:00Z"}},
    ),
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[URL]:
    """Every address that the process's transport was given, as aiohttp reads it."""
    found: list[URL] = []

    class Recording(ClockTransport):
        async def send(self, request: Any, **options: Any) -> Any:
            found.append(URL(request.url))
            return await super().send(request, **options)

    monkeypatch.setattr(http, "ClockTransport", Recording)
    return found


@pytest.mark.parametrize(
    "link", [EVIL, f"https://{ARM_HOST}.evil.example/", f"https://{ARM_HOST}@evil.example/", f"http://{HSM_HOST}/"]
)
@pytest.mark.parametrize("name", LISTS)
async def test_a_next_page_elsewhere_leaves_the_list_unread(azure: LocalAzure, sent: list[URL], name: str, link: str) -> None:
    """A list whose next page is said to be on another host is unread as a whole, and nothing is sent there."""
    ask, host, item = LISTS[name]
    serve(azure, healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.MANAGED_HSM))
    value = [item] if item else []
    body = {"value": value, "nextLink": link, "@odata.nextLink": link}
    azure.fault({"match": f"GET https://{host}*", "status": 200, "body": body})
    async with readers() as reader:
        read = await ask(reader)
    assert isinstance(read, Unread)
    assert read.code == "ForeignLink"
    assert {(each.scheme, each.host) for each in sent} == {("https", host)}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["role assignments", "groups", "local assignments", "key versions, by the SDK"])
async def test_a_redirect_is_not_followed(azure: LocalAzure, sent: list[URL], name: str, status: int) -> None:
    """No answer sends the monitor's token elsewhere: a redirect is a failed read."""
    ask, host, _ = LISTS[name]
    serve(azure, healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.MANAGED_HSM))
    azure.fault({"match": f"GET https://{host}*", "status": status, "headers": {"Location": EVIL}, "body": {}})
    async with readers() as reader:
        read = await ask(reader)
    assert isinstance(read, Unread)
    assert {each.host for each in sent} == {host}


@pytest.mark.parametrize("name", ["role assignments", "key versions, by the SDK"])
async def test_a_provider_that_is_not_registered_is_not_registered_by_a_read(azure: LocalAzure, name: str) -> None:
    """ARM's own pipeline answers such a refusal by registering the resource provider, a write: here it is a failed read."""
    ask, host, _ = LISTS[name]
    serve(azure, healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.MANAGED_HSM))
    code = "MissingSubscriptionRegistration"
    message = "The subscription is not registered to use namespace 'Microsoft.KeyVault'."
    azure.fault({"match": f"GET https://{host}*", "status": 409, "body": {"error": {"code": code, "message": message}}})
    async with readers() as reader:
        read = await ask(reader)
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (409, code)
    assert {each.method for each in azure.requests if each.host == host} == {"GET"}


NAMES = [
    "kv1%2f..%2fkv2",
    "%2e%2e",
    "kv1@evil.example",
    "kv 1",
    "kv1;x=1",
    "kv1&api-version=1",
    "kv{0}",
    "k\u00fcche",
    "..kv",
    "kv1:443",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_stays_one_segment_of_the_path(azure: LocalAzure, sent: list[URL], name: str) -> None:
    """Whatever a resource is called, the request stands at the path of its own id and nowhere else."""
    serve(azure, tenant())
    store = ResourceId.parse(vault_id(name))
    async with readers() as reader:
        await reader.key_stores.key_store(store)
        await reader.grants.role_assignments(store, "p')/x or ('")
        await reader.grants.deny_assignments(store)
        await reader.directory.user_assigned_identity(ResourceId.parse(f"{VAULT.up_to('x/y') or ''}/subscriptions/s/x/{name}"))
        await reader.directory.groups(name)
        await reader.grants.role_definition(store, name)
    assert {each.host for each in sent} == {ARM_HOST, GRAPH_HOST}
    below = [each for each in sent if "Microsoft.KeyVault" in each.path]
    assert len(below) == 3
    for each in below:
        assert each.raw_parts[1:8] == URL(f"https://h{vault_id('x')}").raw_parts[1:8]
        assert URL(f"https://h/{each.raw_parts[8]}").raw_parts[1] == each.raw_parts[8]
        assert each.parts[8] == name
        assert "evil" not in (each.host or "")
    assert all(set(each.query) <= {"api-version", "$filter", "$select", "$top"} for each in sent)
    assert all(name in each.parts for each in sent)


@pytest.mark.parametrize("name", [".", "..", ""])
async def test_a_name_that_would_climb_is_asked_for_as_nobodys(azure: LocalAzure, sent: list[URL], name: str) -> None:
    """A principal or role called `..` leads no request up the path."""
    serve(azure, tenant())
    async with readers() as reader:
        await reader.directory.groups(name)
        await reader.grants.role_definition(VAULT, name)
    assert [len(each.raw_parts) for each in sent] == [5, 7]


STRANGERS = [
    "/subscriptions/s",
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1",
    f"{VAULT}/keys/k1",
    f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults/kv1",
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.KeyVaultX/vaults/kv1",
    "/providers/Microsoft.Management/managementGroups/mg1/providers/Microsoft.KeyVault/vaults/kv1",
]


@pytest.mark.parametrize("store", STRANGERS)
async def test_only_a_key_store_is_asked_for_as_one(azure: LocalAzure, sent: list[URL], store: str) -> None:
    """A disk encryption set may name anything as its vault: what is no key store in a resource group is unread, unasked."""
    serve(azure, tenant())
    target = StoreObject(uri=K1.uri, store_id=ResourceId.parse(store))
    assert target.store_id is not None
    async with readers() as reader:
        read = [
            await reader.key_stores.key_store(target.store_id),
            await reader.key_stores.deleted_key_store(target.store_id),
            await reader.key_stores.key_object(target),
            await reader.key_stores.key_versions(target),
        ]
    assert [each.code for each in read if isinstance(each, Unread)] == ["NotAKeyStore"] * 4
    assert sent == []


HOSTS = [
    "https://hsm1.managedhsm.azure.net.evil.example/keys/k1",
    "https://kv1.vault.azure.net.evil.example/keys/k1",
    "https://hsm1.managedhsm.azure.net@evil.example/keys/k1",
    "https://evil.example/hsm1.managedhsm.azure.net/keys/k1",
    "https://evil.example/keys/k1?hsm1.managedhsm.azure.net",
    "https://evil.example/keys/k1#.managedhsm.azure.net",
    "https://evil.managedhsm.example/keys/k1",
    "https://evilmanagedhsm.azure.net/keys/k1",
    "https://evil.managedhsmxazure.net/keys/k1",
    "https://a.evil.managedhsm.azure.net/keys/k1",
    "https://evil.example:443/keys/k1",
    "https://hsm1.managedhsm.azure.net:8443/keys/k1",
    "https://hsm1.managedhsm.azure.net/keys/..",
    "https://hsm1.managedhsm.azure.net/keys/%2e%2e",
    "https://hsm1.managedhsm.azure.net/keys/k1%2f..%2f..",
    "https://hsm1.managedhsm.azure.cn/keys/k1",
    "https://HSM1.MANAGEDHSM.AZURE.NET.EVIL.EXAMPLE./keys/k1",
    "https://169.254.169.254/keys/k1",
    "https://hsm1.managedhsm.azure.net\\.evil.example/keys/k1",
]


@pytest.mark.parametrize("address", HOSTS)
async def test_no_token_goes_to_a_host_that_a_consumer_chose(
    azure: LocalAzure, sent: list[URL], tmp_path: Path, address: str
) -> None:
    """The monitor, swept over a vault whose encryption settings name a near-miss, asks ARM and Graph alone, and says what is
    unread or lost; the vault beside it is judged all the same."""
    document = healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    document["resources"] += [vault("kv9", rbac=True), backup_vault("bv9", address)]
    async with rehearsal(tmp_path, document, SWEEP) as played:
        async with played.state() as state:
            watched = (await state.watchlist()).bindings.values()
            unread = await state.mark_body("inventory")
        assert any(each.target.uri.host == "kv1.vault.azure.net" for each in watched)
        assert len(watched) == 2 or "bv9" in str(unread)
    assert {each.host for each in sent if each.host and "ingest" not in each.host} <= {ARM_HOST, GRAPH_HOST}
    assert len(sent) > 5


FOREIGN = [
    "hsm1.managedhsm.azure.net.evil.example",
    "evil.managedhsm.example",
    "evilmanagedhsm.azure.net",
    "a.evil.managedhsm.azure.net",
    "hsm1.managedhsm.azure.cn",
    "managedhsm.azure.net",
    ".managedhsm.azure.net",
    "evil.example/.managedhsm.azure.net",
    "evil.example#.managedhsm.azure.net",
    "x@evil.example:443?.managedhsm.azure.net",
    "hsm1.managedhsm.azure.net:8443",
]


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_managed_hsm_of_another_host_is_unread(azure: LocalAzure, sent: list[URL], host: str) -> None:
    """The reader of Managed HSMs asks one name under the cloud's own suffix, and nothing that looks like it."""
    serve(azure, tenant())
    async with readers() as reader:
        read = [await reader.managed_hsms.role_definitions(host), await reader.managed_hsms.key(KeyUri(host, "keys", "k1"))]
    assert [each.code for each in read if isinstance(each, Unread)] == ["ForeignHost"] * 2
    assert sent == []


async def test_a_disk_encryption_set_that_names_an_hsm_and_another_host(
    azure: LocalAzure, sent: list[URL], tmp_path: Path
) -> None:
    """Its vault is a Managed HSM that exists, its key's address is elsewhere: nothing is sent there."""
    document = healthy(Scenario.CVM_DES, PermissionModel.MANAGED_HSM)
    text = json.dumps(document).replace("https://hsm1.managedhsm.azure.net/keys/", "https://hsm1.managedhsm.evil.example/keys/")
    async with rehearsal(tmp_path, json.loads(text), SWEEP) as played, played.state() as state:
        hosts = {each.target.uri.host for each in (await state.watchlist()).bindings.values()}
    assert hosts == {"hsm1.managedhsm.evil.example"}
    assert {each.host for each in sent if each.host and "ingest" not in each.host} <= {ARM_HOST, GRAPH_HOST}


@pytest.mark.parametrize("address", [f"https://{HSM_HOST.upper()}/keys/k1", f"https://{HSM_HOST}./keys/k1"])
async def test_another_spelling_of_the_right_host_is_asked(azure: LocalAzure, sent: list[URL], address: str) -> None:
    """Letter case and the root's dot make no other host."""
    serve(azure, healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.MANAGED_HSM))
    async with readers() as reader:
        assert not isinstance(await reader.managed_hsms.key(KeyUri.parse(address)), Unread)
    assert {each.host for each in sent} == {HSM_HOST}


# --- too much ------------------------------------------------------------------------------------------------------------


async def test_a_list_without_an_end_is_unread(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of more pages than any may have is unread with a code, by keydrift's own reader and by the SDK's."""
    for module in (http, key_vault, limits):
        monkeypatch.setattr(module, "MOST_PAGES", 4, raising=module is not limits)
    page = f"https://{ARM_HOST}/more?api-version=1"
    body = {"value": [{"id": f"{VAULT}/keys/k1/versions/{VERSION}"}], "nextLink": page}
    serve(azure, tenant(vault(rbac=True), key()))
    azure.fault({"match": f"GET https://{ARM_HOST}*", "status": 200, "body": body})
    async with reading() as found:
        arm = JsonReader(f"https://{ARM_HOST}", f"https://{ARM_HOST}", found.credential, found.transport, "Reader")
        listed = await arm.list("/x?api-version=1", lambda each: each, source="endless")
        counted = await found.collector._readers.key_stores.key_versions(K1)
    assert [each.code for each in (listed, counted) if isinstance(each, Unread)] == ["TooManyPages"] * 2
    assert len([each for each in azure.requests if each.host == ARM_HOST]) <= 2 * 5


async def test_a_body_that_is_too_large_is_unread(azure: LocalAzure, sent: list[URL], monkeypatch: pytest.MonkeyPatch) -> None:
    """A body beyond the limit is read no further, is not asked for again, and the read says so."""
    monkeypatch.setattr(limits, "MOST_BYTES", 10_000)
    serve(azure, tenant(vault(rbac=True)))
    azure.fault({"match": f"GET https://{ARM_HOST}*", "status": 200, "body": {"value": ["x" * 20_000]}})
    async with readers() as reader:
        read = [await reader.grants.deny_assignments(VAULT), await reader.key_stores.key_store(VAULT)]
    assert [each.code for each in read if isinstance(each, Unread)] == ["BodyTooLarge"] * 2
    assert len(sent) == 2


@asynccontextmanager
async def answering(body: bytes, **headers: str) -> AsyncIterator[str]:
    """A plain server on loopback that gives one answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_compressed_body_counts_by_what_it_unfolds_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte that unfolds to more than the limit is refused; one that does not is read whole."""
    monkeypatch.setattr(limits, "MOST_BYTES", 100_000)
    transport = ClockTransport(ManualClock())
    try:
        async with answering(gzip.compress(b" " * 99_000), Content_Encoding="gzip") as url:
            response = await transport.send(HttpRequest("GET", url))
            assert len(response.content) == 99_000
        async with answering(gzip.compress(b" " * 5_000_000), Content_Encoding="gzip") as url:
            with pytest.raises(RefusedAnswerError) as caught:
                await transport.send(HttpRequest("GET", url))
        assert caught.value.code == "BodyTooLarge"
    finally:
        await transport.shut()


class Nested:
    """A transport whose every answer is JSON nested a hundred thousand deep."""

    async def send(self, request: HttpRequest, **_options: Any) -> Any:
        text = "[" * 100_000
        return SimpleNamespace(status_code=200, headers={}, request=request, json=lambda: json.loads(text), text=lambda: text)

    async def sleep(self, _duration: float) -> None:
        """Wait for nothing."""


async def test_a_body_nested_beyond_the_stack_is_unread(azure: LocalAzure) -> None:
    """JSON that is nested deeper than the interpreter's stack is an unexpected shape, not the end of the process."""
    host = f"https://{ARM_HOST}"
    async with reading() as found:
        arm = JsonReader(host, host, found.credential, cast("AioHttpTransport", Nested()), "Reader")
        read = await arm.list("/x", lambda each: each, source="deep")
    assert isinstance(read, Unread)
    assert read.code == "UnexpectedShape at $"


@pytest.mark.parametrize("asked", ["soon", "nan", "inf", "-1", "1e400", "99999999999", "Thu, 99 Foo 2026", "", "\u0661"])
async def test_a_senseless_retry_after_breaks_nothing(azure: LocalAzure, asked: str) -> None:
    """Whatever stands in `Retry-After`, a throttled read is unread and the next one is not kept waiting for ever."""
    serve(azure, tenant(vault(rbac=True)))
    azure.fault({"match": f"GET https://{ARM_HOST}*", "status": 429, "headers": {"Retry-After": asked}})
    clock = ManualClock()
    async with reading(clock) as found:
        for reader in (found.collector._readers, found.bulk._readers):
            read = await reader.grants.deny_assignments(VAULT)
            assert isinstance(read, Unread)
            assert read.status == 429
        before = clock.now()
        azure.fault(None)
        assert await found.bulk._readers.grants.deny_assignments(VAULT) == ()
    assert (clock.now() - before).total_seconds() <= LONGEST_PAUSE_S + 1
