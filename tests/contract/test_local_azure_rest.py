"""The surfaces that the product reads by plain REST: a Managed HSM's data plane, Microsoft Graph, ingestion, key vaults."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.identity.aio import ManagedIdentityCredential

from keydrift_local.azure.log_analytics import QueryError
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
RG = f"{SUB}/resourceGroups/rg1"
HSM = f"{RG}/providers/Microsoft.KeyVault/managedHSMs/hsm1"
KV1 = f"{RG}/providers/Microsoft.KeyVault/vaults/kv1"
UAMI = f"{RG}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
APP = "262044b1-e2ce-469f-a196-69ab7ada62d3"
HSM_AUDIENCE, GRAPH, MONITOR = "https://managedhsm.azure.net", "https://graph.microsoft.com", "https://monitor.azure.com"


@pytest.fixture(scope="module")
def running() -> Iterator[LocalAzure]:
    with LocalAzure(parse_tenant({"tenantId": "t"}, "test"), page_size=2) as azure:
        yield azure


@pytest.fixture
def azure(running: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> LocalAzure:
    def local(name: str, scope: str | None, principal: str) -> dict[str, object]:
        given = {"scope": scope} if scope else {}
        return {"name": name, "properties": {**given, "principalId": principal, "roleDefinitionId": "guid"}}

    document = {
        "tenantId": "t",
        "resources": [{"id": HSM}, {"id": KV1}, {"id": UAMI, "properties": {"principalId": "MI-1", "clientId": "client-1"}}],
        "managedHsms": {
            HSM: {
                "keys": [
                    {"name": "k1", "properties": {"kty": "RSA-HSM", "attributes": {"enabled": False}}},
                    {
                        "key": {"kid": "https://hsm1.managedhsm.azure.net/keys/k2/v1", "kty": "oct-HSM"},
                        "attributes": {"exp": 5},
                    },
                ],
                "roleAssignments": [
                    local("a1", "/", "p1"),
                    local("a2", "/keys", "p2"),
                    local("a3", "/keys/K1", "p1"),
                    local("a4", None, "p4"),
                ],
                "roleDefinitions": [{"name": "ours", "properties": {"permissions": [{"dataActions": ["x"]}]}}],
            }
        },
        "directory": {
            "servicePrincipals": [{"id": "sp-1", "appId": APP, "displayName": "Backup Management Service"}],
            "groups": [
                {"id": "g1", "displayName": "inner", "members": ["SP-1", "mi-1"]},
                {"id": "g2", "members": ["g1"]},
                {"id": "g3", "members": ["g2"]},
            ],
        },
    }
    running.load(parse_tenant(document, "test"))
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


class Rest:
    """Requests as the managed identity, through the environment's proxy."""

    def __init__(self, session: aiohttp.ClientSession, identity: ManagedIdentityCredential) -> None:
        self._session = session
        self._identity = identity

    async def get(self, url: str, audience: str | None) -> tuple[int, Any]:
        async with self._session.get(url, headers=await self.headers(audience)) as response:
            return response.status, await response.json()

    async def pages(self, url: str, audience: str, link: str = "nextLink") -> list[Any]:
        found: list[Any] = []
        following: str | None = url
        while following is not None:
            status, body = await self.get(following, audience)
            assert status == 200, body
            found += body["value"]
            following = body.get(link)
        return found

    async def post(self, url: str, audience: str, body: bytes, **headers: str) -> int:
        async with self._session.post(url, data=body, headers=await self.headers(audience) | headers) as response:
            return response.status

    async def challenge(self, url: str) -> tuple[int, str]:
        async with self._session.get(url) as response:
            return response.status, response.headers["WWW-Authenticate"]

    async def headers(self, audience: str | None) -> dict[str, str]:
        if audience is None:
            return {}
        return {"Authorization": f"Bearer {(await self._identity.get_token(audience + '/.default')).token}"}


@pytest.fixture
async def rest(azure: LocalAzure) -> AsyncIterator[Rest]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session, ManagedIdentityCredential() as identity:
        yield Rest(session, identity)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        pytest.param("//", ["a1", "a2", "a4"], id="root, as the SDK writes it"),
        pytest.param("/", ["a1", "a2", "a4"], id="root"),
        pytest.param("/keys/", ["a1", "a2", "a4"], id="all keys"),
        pytest.param("/keys/k1/", ["a3"], id="one key, any case"),
        pytest.param("/keys/k10/", [], id="k10 is not k1"),
    ],
)
async def test_local_assignments_are_listed_by_scope(rest: Rest, scope: str, expected: list[str]) -> None:
    """A Managed HSM lists a scope's own assignments; `/` and `/keys` are one."""
    url = f"https://hsm1.managedhsm.azure.net{scope}providers/Microsoft.Authorization/roleAssignments?api-version=7.5"
    found = await rest.pages(url, HSM_AUDIENCE)
    assert [each["name"] for each in found] == expected
    role = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/guid"
    assert all(each["properties"]["roleDefinitionId"] == role for each in found)


async def test_hsm_roles_and_keys(rest: Rest) -> None:
    """Built-in and custom roles are listed; keys are shown in the data plane's shape, whichever shape the file has."""
    base = "https://hsm1.managedhsm.azure.net"
    roles = await rest.pages(f"{base}//providers/Microsoft.Authorization/roleDefinitions?api-version=7.5", HSM_AUDIENCE)
    status, key = await rest.get(f"{base}/keys/K1/?api-version=7.5", HSM_AUDIENCE)
    _, pinned = await rest.get(f"{base}/keys/K1/0123?api-version=7.5", HSM_AUDIENCE)
    _, other = await rest.get(f"{base}/keys/k2/v1?api-version=7.5", HSM_AUDIENCE)
    missing, problem = await rest.get(f"{base}/keys/k10?api-version=7.5", HSM_AUDIENCE)
    versions = await rest.pages(f"{base}/keys/k1/versions?api-version=7.5", HSM_AUDIENCE)
    assert {each["name"] for each in roles} >= {"ours", "21dbd100-6940-42c2-9190-5d6cb909625b"}
    assert len(roles) == 10
    assert (status, key["key"]["kty"], key["attributes"]["enabled"]) == (200, "RSA-HSM", False)
    assert pinned["key"]["kid"] == f"{key['key']['kid']}/0123"
    assert (other["key"]["kty"], other["attributes"]["enabled"], other["attributes"]["exp"]) == ("oct-HSM", True, 5)
    assert (missing, problem["error"]["code"]) == (404, "KeyNotFound")
    assert [each["kid"].rpartition("/")[0] for each in versions] == [key["key"]["kid"]]


async def test_a_resource_provider_tells_the_types_that_are_there(rest: Rest) -> None:
    """A client that looks up API versions finds each of the tenant's types under its provider, and no other provider's."""
    url = f"https://management.azure.com{SUB}/providers/Microsoft.KeyVault?api-version=2021-04-01"
    status, provider = await rest.get(url, "https://management.azure.com")
    assert status == 200, provider
    assert [each["resourceType"] for each in provider["resourceTypes"]] == ["managedhsms", "vaults"]
    assert all(each["apiVersions"] for each in provider["resourceTypes"])


async def test_key_stores_challenge_and_check_the_audience(rest: Rest, azure: LocalAzure) -> None:
    """Without a token both data planes name their authority; a vault then refuses, an unknown HSM cannot be reached."""
    status, header = await rest.challenge("https://hsm1.managedhsm.azure.net/keys/k1?api-version=7.5")
    assert (status, header) == (
        401,
        'Bearer authorization="https://login.microsoftonline.com/t", resource="https://managedhsm.azure.net"',
    )
    assert (await rest.challenge("https://kv1.vault.azure.net/keys?api-version=7.5"))[0] == 401
    assert (await rest.get("https://hsm1.managedhsm.azure.net/keys/k1?api-version=7.5", "https://vault.azure.net"))[0] == 401
    refused, problem = await rest.get("https://kv1.vault.azure.net/keys/k1?api-version=7.5", "https://vault.azure.net")
    assert (refused, problem["error"]["innererror"]["code"]) == (403, "ForbiddenByPolicy")
    with pytest.raises(aiohttp.ClientError):
        await rest.get("https://hsm10.managedhsm.azure.net/keys/k1?api-version=7.5", HSM_AUDIENCE)
    azure.change({"delete": HSM})
    with pytest.raises(aiohttp.ClientError):
        await rest.get("https://hsm1.managedhsm.azure.net/keys/k1?api-version=7.5", HSM_AUDIENCE)


async def test_service_principals_and_their_groups(rest: Rest) -> None:
    """A service principal is found by app id and by id, with its groups transitively and in pages."""
    url = f"{GRAPH}/v1.0/servicePrincipals"
    _, found = await rest.get(f"{url}(appId='{APP.upper()}')?$select=id,appId,displayName,accountEnabled", GRAPH)
    assert {name: value for name, value in found.items() if not name.startswith("@")} == {
        "id": "sp-1",
        "appId": APP,
        "displayName": "Backup Management Service",
        "accountEnabled": True,
    }
    groups = await rest.pages(f"{url}/SP-1/transitiveMemberOf?$select=id", GRAPH, "@odata.nextLink")
    cast = await rest.pages(f"{url}/sp-1/transitiveMemberOf/microsoft.graph.group?$select=id", GRAPH, "@odata.nextLink")
    assert [each["id"] for each in groups] == [each["id"] for each in cast] == ["g1", "g2", "g3"]
    assert groups[0]["@odata.type"] == "#microsoft.graph.group"
    searched = await rest.pages(f"{url}?$filter=appId eq '{APP}'", GRAPH, "@odata.nextLink")
    assert [each["id"] for each in searched] == ["sp-1"]
    assert (await rest.get(f"{GRAPH}/v1.0/groups/G1", GRAPH))[1]["displayName"] == "inner"


async def test_a_managed_identity_is_a_service_principal_until_it_is_deleted(rest: Rest, azure: LocalAzure) -> None:
    """An identity that the directory does not list exists and is enabled, as long as its resource does."""
    url = f"{GRAPH}/v1.0/servicePrincipals/mi-1"
    status, found = await rest.get(url, GRAPH)
    assert (status, found["accountEnabled"], found["appId"], found["servicePrincipalType"]) == (
        200,
        True,
        "client-1",
        "ManagedIdentity",
    )
    assert len(await rest.pages(f"{url}/transitiveMemberOf", GRAPH, "@odata.nextLink")) == 3
    azure.change({"delete": UAMI})
    status, problem = await rest.get(url, GRAPH)
    assert (status, problem["error"]["code"]) == (404, "Request_ResourceNotFound")
    assert (await rest.get(f"{GRAPH}/v1.0/groups/g1", HSM_AUDIENCE))[0] == 401


async def test_ingestion_refuses_what_azure_refuses(rest: Rest, azure: LocalAzure) -> None:
    """An array up to the limit is accepted, compressed or not; more, another shape or another rule is not."""
    base = f"{azure.environment['KEYDRIFT_DCR_ENDPOINT']}/dataCollectionRules/{azure.environment['KEYDRIFT_DCR_RULE_ID']}"
    url = f"{base}/streams/Custom-T_CL?api-version=2023-01-01"
    row = [{"TimeGenerated": "2026-01-01T00:00:00Z", "X": 1}]
    packed = {"Content-Encoding": "gzip"}
    assert await rest.post(url, MONITOR, json.dumps(row).encode()) == 204
    assert await rest.post(url, MONITOR, gzip.compress(json.dumps(row).encode()), **packed) == 204
    assert await rest.post(url, MONITOR, gzip.compress(json.dumps([{"X": "y" * 1_000_000}]).encode()), **packed) == 413
    assert await rest.post(url, MONITOR, json.dumps(row[0]).encode()) == 400
    assert await rest.post(url, MONITOR, b"no gzip", **packed) == 400
    assert await rest.post(url, GRAPH, json.dumps(row).encode()) == 401
    assert await rest.post(url.replace("dcr-", "dcr-0"), MONITOR, json.dumps(row).encode()) == 404
    assert azure.logs.rows("T_CL") == row * 2


async def test_a_reader_may_change_the_tenant_as_rows_arrive(rest: Rest, azure: LocalAzure) -> None:
    """`on_rows` runs outside the tenant's lock, so another thread's change goes through meanwhile."""
    done: list[int] = []

    def listen(table: str, rows: list[dict[str, object]]) -> None:
        worker = threading.Thread(target=lambda: done.append(len(azure.change({"delete": KV1}))))
        worker.start()
        worker.join(5)

    azure.logs.on_rows = listen
    url = f"{azure.environment['KEYDRIFT_DCR_ENDPOINT']}/dataCollectionRules/{azure.environment['KEYDRIFT_DCR_RULE_ID']}"
    assert await rest.post(f"{url}/streams/Custom-T_CL?api-version=2023-01-01", MONITOR, b'[{"X": 1}]') == 204
    azure.logs.on_rows = None
    assert done == [1]


async def test_identity_tokens_name_tenant_and_audience(rest: Rest) -> None:
    """A managed identity's token says for whom and in which tenant it was given."""
    token = (await rest.headers(GRAPH))["Authorization"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert (claims["aud"], claims["tid"], len(claims["oid"])) == (GRAPH, "t", 36)


def test_columns_widen_with_what_arrives() -> None:
    """Integers become reals, nulls take the first type seen, and a wrong query says so."""
    logs = LocalAzure(parse_tenant({"tenantId": "t"}, "test")).logs
    logs.accept("T_CL", [{"N": 1, "Late": None, "OccurredAt": None, "ResolvedBy": "admin", "L": [1]}])
    logs.accept("T_CL", [{"N": 2.5, "Late": True, "OccurredAt": "2026-01-01T00:00:00Z", "ResolvedBy": "bo", "L": {"a": 1}}])
    kinds = dict(logs.run("T_CL").columns)
    assert {name: kinds[name] for name in ("N", "Late", "OccurredAt", "ResolvedBy", "L")} == {
        "N": "real",
        "Late": "bool",
        "OccurredAt": "datetime",
        "ResolvedBy": "string",
        "L": "dynamic",
    }
    (row,) = logs.query("T_CL | where N > 2 | project N, OccurredAt, L, A = L.a")
    assert (row["N"], row["OccurredAt"], row["L"]) == (2.5, "2026-01-01T00:00:00Z", {"a": 1})
    with pytest.raises(QueryError):
        logs.query("T_CL | where Nope == 1")


def test_a_declared_table_is_there_before_its_first_row() -> None:
    """A deployed table can be queried while it is empty, and keeps its columns when rows are forgotten."""
    logs = LocalAzure(parse_tenant({"tenantId": "t"}, "test")).logs
    logs.declare("T_CL", {"TimeGenerated": "datetime", "Codes": "dynamic", "Count": "long"})
    logs.accept("T_CL", [{"Count": 3}])
    logs.clear()
    assert logs.query("T_CL | where Count > 1") == logs.rows("T_CL") == []
    with pytest.raises(ValueError, match="no column type"):
        logs.declare("U_CL", {"X": "number"})


def test_a_saved_function_is_called_by_its_name() -> None:
    """A function that a workspace saves runs with its arguments or their defaults; what is none is refused."""
    logs = LocalAzure(parse_tenant({"tenantId": "t"}, "test")).logs
    logs.accept("T_CL", [{"N": 1}, {"N": 2}, {"N": 3}])
    logs.save("Above", "least:int=1", "T_CL\n| where N > least")
    logs.save("Count", "", "Above(2) | count")
    assert [len(logs.query(kql)) for kql in ("Above", "Above()", "Above(2)")] == [2, 2, 1]
    assert logs.query("Count()") == [{"Count": 1}]
    with pytest.raises(ValueError, match="`Broken` is no function"):
        logs.save("Broken", "", "T_CL | where (")
    with pytest.raises(QueryError):
        logs.query("Broken()")


def test_stop_leaves_nothing_behind() -> None:
    """The certificate file is gone after stop, and the servers answer no more."""
    azure = LocalAzure(parse_tenant({"tenantId": "t"}, "test"))
    azure.start()
    bundle, proxy = Path(azure.environment["SSL_CERT_FILE"]), azure.environment["HTTPS_PROXY"]
    port = int(proxy.rsplit(":", 1)[1])
    assert bundle.is_file()
    azure.stop()
    azure.stop()
    assert not bundle.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    azure.start()
    azure.stop()
