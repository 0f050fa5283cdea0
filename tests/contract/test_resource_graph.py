"""Resource Graph's client against the simulated service, and the simulated service against its documented rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.identity.aio import ManagedIdentityCredential

from keydrift.adapters.http import ClockTransport, JsonReader, quota_reset_s, reading
from keydrift.adapters.resource_graph import MOST_SUBSCRIPTIONS, ResourceGraph, Scope, scopes_of
from keydrift.adapters.wire import Node
from keydrift.facts import Unread
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, serve
from support.corpus import corpus
from support.queues_memory import ManualClock
from support.tenants import (
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    Document,
    backup_vault,
    disk,
    guid,
    key,
    key_vault,
    legacy_encryption,
    machine_id,
    managed_hsm,
    protected_item,
    recovery_vault,
    system_identity,
    tenant,
    vault_id,
)

ARM = "https://management.azure.com"
POST = f"POST {ARM}/providers/Microsoft.ResourceGraph/resources"
VAULTS = "resources | where type =~ 'Microsoft.KeyVault/vaults' | project id, name | order by id asc"
HERE = Scope(subscriptions=(SUBSCRIPTION,))
BOTH = Scope(subscriptions=(SUBSCRIPTION, OTHER_SUBSCRIPTION))


@asynccontextmanager
async def reader(clock: ManualClock) -> AsyncIterator[JsonReader]:
    """An ARM reader as bootstrap makes it."""
    transport = ClockTransport(clock)
    async with ManagedIdentityCredential() as identity:
        yield JsonReader(ARM, ARM, identity, transport, "Reader")
    await transport.shut()


async def rows(
    query: str = VAULTS, scope: Scope = HERE, *, page_size: int = 1000, clock: ManualClock | None = None
) -> Unread | list[Any]:
    """The rows of a query as plain values."""
    clock = clock or ManualClock()
    async with reader(clock) as arm:
        graph = ResourceGraph(arm, clock, page_size=page_size)
        read = await graph.rows(query, scope, source="the rows", repair="Reader on the subscription")
    assert isinstance(read, Unread | tuple)
    return read if isinstance(read, Unread) else [each.value for each in read]


def names(read: Unread | list[Any]) -> list[str]:
    assert isinstance(read, list), read
    return [str(each["name"]) for each in read]


def page(data: object, **members: object) -> Document:
    """The body of one answer."""
    count = len(data) if isinstance(data, list) else 0
    return {"totalRecords": count, "count": count, "resultTruncated": "false", "facets": [], "data": data, **members}


def vaults(count: int) -> list[Document]:
    return [key_vault(f"kv{number:04d}", rbac=True) for number in range(count)]


# --- pages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (3, 1), (4, 2), (7, 3), (9, 3)])
async def test_pages_are_followed_to_the_last(azure: LocalAzure, count: int, requests: int) -> None:
    """Every row comes once, in order, with one request a page."""
    serve(azure, tenant(*vaults(count), backup_vault("bv1", None)))
    assert names(await rows(page_size=3)) == [f"kv{number:04d}" for number in range(count)]
    assert [(each.method, each.status) for each in asked(azure)] == [("POST", 200)] * requests


async def test_a_thousand_rows_a_page(azure: LocalAzure) -> None:
    """1,200 vaults are two requests."""
    serve(azure, tenant(*vaults(1200)))
    assert len(set(names(await rows()))) == 1200
    assert len(asked(azure)) == 2


async def test_a_query_without_an_order_does_not_page_well(azure: LocalAzure) -> None:
    """The simulated service draws each page from another order where none is stated, so that such a query is found out."""
    serve(azure, tenant(*vaults(40)))
    unordered = names(await rows(VAULTS.partition(" | order")[0], page_size=10))
    assert (len(unordered), len(set(unordered)) < 40) == (40, True)


async def test_a_page_that_is_too_large_is_asked_for_in_halves(azure: LocalAzure) -> None:
    """An answer beyond 16 MiB is refused by a code in the details, and smaller pages are asked for."""
    serve(azure, tenant(*vaults(5)))
    azure.fault({"match": POST, "status": 400, "times": 2, "body": refusal("ResponsePayloadTooLarge")})
    assert len(names(await rows(page_size=8))) == 5
    assert [each.status for each in asked(azure)] == [400, 400, 200, 200, 200]


async def test_a_page_that_stays_too_large_is_unread(azure: LocalAzure) -> None:
    """Where even one row is too large, the query is unread, and nobody asks for ever."""
    azure.fault({"match": POST, "status": 400, "body": refusal("ResponsePayloadTooLarge")})
    read = await rows(page_size=4)
    assert isinstance(read, Unread)
    assert (read.status, len(asked(azure))) == (400, 3)


def refusal(code: str) -> Document:
    return {"error": {"code": "BadRequest", "message": "…", "details": [{"code": code, "message": "…"}]}}


# --- never less than everything --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        page([{"id": "/a"}], resultTruncated="true"),
        page([{"id": "/a"}], resultTruncated=True),
        page([{"id": "/a"}], resultTruncated="True", **{"$skipToken": "next"}),
        page([{"id": "/a"}], totalRecords=2),
    ],
)
async def test_a_cut_answer_is_unread(azure: LocalAzure, body: Document) -> None:
    """An answer that says it is cut short, or has fewer rows than it counts, is never taken for complete."""
    azure.fault({"match": POST, "status": 200, "body": body})
    assert await rows() == Unread(
        source="the rows",
        status=200,
        code="ResultTruncated",
        repair="nothing: Resource Graph cut its answer short, and is asked again",
    )


async def test_a_query_with_a_limit_is_unread(azure: LocalAzure) -> None:
    """The simulated service cannot page what is limited, says so as Azure does, and the client believes it."""
    serve(azure, tenant(*vaults(5)))
    read = await rows(f"{VAULTS} | limit 4", page_size=3)
    assert isinstance(read, Unread)
    assert read.code == "ResultTruncated"


async def test_too_many_subscriptions_below_a_management_group(azure: LocalAzure) -> None:
    """An answer that leaves subscriptions out says so in a header, and is unread."""
    headers = {"x-ms-tenant-subscription-limit-hit": "true"}
    azure.fault({"match": POST, "status": 200, "headers": headers, "body": page([])})
    read = await rows(scope=Scope(management_groups=("mg1",)))
    assert isinstance(read, Unread)
    assert read.code == "ResultTruncated"


async def test_a_page_that_fails_makes_all_unread(azure: LocalAzure) -> None:
    """Rows of earlier pages are not taken for the whole."""
    serve(azure, tenant(*vaults(5)))
    async with reader(ManualClock()) as arm:
        graph = ResourceGraph(arm, ManualClock(), page_size=3)

        class Interrupted(ResourceGraph):
            async def _ask(self, question: Mapping[str, object]) -> tuple[Node, Mapping[str, str]]:
                answer = await graph._ask(question)
                azure.fault({"match": POST, "status": 403})
                return answer

        read = await Interrupted(arm, ManualClock(), page_size=3).rows(VAULTS, HERE, source="the rows", repair="Reader")
    assert read == Unread(source="the rows", status=403, code="AuthorizationFailed", repair="Reader")


async def test_the_same_page_again_ends(azure: LocalAzure) -> None:
    """A service that never comes to an end is unread."""
    azure.fault({"match": POST, "status": 200, "body": page([{"id": "/a"}], totalRecords=9, **{"$skipToken": "again"})})
    read = await rows()
    assert isinstance(read, Unread)
    assert (read.code, len(asked(azure))) == ("UnexpectedShape at $.$skipToken", 2)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.data"),
        (page({"columns": [], "rows": []}), "$.data"),
        (page([], totalRecords=None), "$.totalRecords"),
        (page([], resultTruncated=None), "$.resultTruncated"),
        (page([], resultTruncated="perhaps"), "$.resultTruncated"),
        ([], "$"),
    ],
)
async def test_an_answer_of_unexpected_shape_is_unread(azure: LocalAzure, body: object, path: str) -> None:
    """What is no page of rows is unread with the place in it."""
    azure.fault({"match": POST, "status": 200, "body": body})
    read = await rows()
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (200, f"UnexpectedShape at {path}")


async def test_a_refusal_is_unread(azure: LocalAzure) -> None:
    """A 403 is unread with its code and the role that would help."""
    azure.fault({"match": POST, "status": 403})
    assert await rows() == Unread(source="the rows", status=403, code="AuthorizationFailed", repair="Reader on the subscription")


# --- the quota -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "waited_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"x-ms-user-quota-resets-after": "00:00:05"}, 5),
        ({"Retry-After": "2", "x-ms-user-quota-resets-after": "00:00:05"}, 5),
        ({"Retry-After": "9", "x-ms-user-quota-resets-after": "00:00:05"}, 9),
        ({"x-ms-user-quota-resets-after": "00:01:00"}, 60),
        ({"Retry-After": "3", "x-ms-user-quota-resets-after": "soon"}, 3),
    ],
)
async def test_a_throttled_query_waits_as_told(azure: LocalAzure, headers: Document, waited_s: int) -> None:
    """A 429 is waited out on the product's clock, for the longer of what its headers say."""
    serve(azure, tenant(*vaults(1)))
    azure.fault({"match": POST, "status": 429, "times": 1, "headers": headers})
    clock = ManualClock()
    began = clock.now()
    assert names(await rows(clock=clock)) == ["kv0000"]
    assert ((clock.now() - began).total_seconds(), [each.status for each in asked(azure)]) == (waited_s, [429, 200])


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_query_may_be_repeated(azure: LocalAzure, status: int) -> None:
    """A query changes nothing, so one that failed in passing is asked again although it is a POST."""
    serve(azure, tenant(*vaults(1)))
    azure.fault({"match": POST, "status": status, "times": 2})
    assert names(await rows()) == ["kv0000"]
    assert [each.status for each in asked(azure)] == [status, status, 200]


async def test_a_connection_that_breaks_is_tried_again(azure: LocalAzure) -> None:
    """A dropped connection is no answer, and is tried again."""
    serve(azure, tenant(*vaults(1)))
    azure.fault({"match": POST, "status": 0, "times": 1})
    assert names(await rows()) == ["kv0000"]


async def test_a_throttle_of_many_minutes_is_unread(azure: LocalAzure) -> None:
    """Nobody sleeps through a quota that takes longer than a minute."""
    azure.fault({"match": POST, "status": 429, "headers": {"x-ms-user-quota-resets-after": "00:01:01"}})
    clock = ManualClock()
    began = clock.now()
    read = await rows(clock=clock)
    assert isinstance(read, Unread)
    assert (read.status, len(asked(azure)), clock.now()) == (429, 1, began)


async def test_a_spent_quota_is_waited_out_before_the_next_page(azure: LocalAzure) -> None:
    """An answer that leaves no query for this window is followed by a pause instead of a 429."""
    headers = {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:04"}
    body = page([{"id": "/a", "name": "a"}], totalRecords=2, **{"$skipToken": "next"})
    azure.fault({"match": POST, "status": 200, "times": 1, "headers": headers, "body": body})
    azure.fault({"match": POST, "status": 200, "headers": headers, "body": page([{"id": "/b", "name": "b"}], totalRecords=2)})
    clock = ManualClock()
    began = clock.now()
    assert names(await rows(clock=clock)) == ["a", "b"]
    assert (clock.now() - began).total_seconds() == 4


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("00:00:05", 5), ("01:02:03", 3723), ("00:00:05.5", 5), (" 00:00:01 ", 1), ("5", None), ("", None), ("-1:00:00", None)],
)
def test_the_quota_header(header: str, seconds: float | None) -> None:
    """`hh:mm:ss` is read; anything else tells nothing."""
    assert quota_reset_s({"x-ms-user-quota-resets-after": header}) == seconds


# --- scopes ----------------------------------------------------------------------------------------------------------------


async def test_a_query_looks_at_the_subscriptions_it_names(azure: LocalAzure) -> None:
    """Rows of other subscriptions are left out; one that does not exist is left out in silence."""
    serve(azure, tenant(key_vault("kv1", rbac=True), key_vault("kv2", rbac=True, subscription=OTHER_SUBSCRIPTION)))
    assert names(await rows()) == ["kv1"]
    assert names(await rows(scope=BOTH)) == ["kv1", "kv2"]
    assert names(await rows(scope=Scope(subscriptions=(guid(99),)))) == []


async def test_a_query_below_a_management_group(azure: LocalAzure) -> None:
    """A management group's name stands for every subscription below it, at any depth."""
    above = {"id": "/providers/Microsoft.Management/managementGroups/mg1"}
    below = {
        "id": "/providers/Microsoft.Management/managementGroups/mg2",
        "parent": above["id"],
        "subscriptions": [OTHER_SUBSCRIPTION],
    }
    document = tenant(
        key_vault("kv1", rbac=True),
        key_vault("kv2", rbac=True, subscription=OTHER_SUBSCRIPTION),
        managementGroups=[above, below],
    )
    serve(azure, document)
    assert names(await rows(scope=Scope(management_groups=("MG1",)))) == ["kv2"]
    assert names(await rows(scope=Scope(management_groups=("mg3",)))) == []


def test_subscriptions_are_asked_in_batches() -> None:
    """A query names at most 1,000 subscriptions, each once."""
    every = [guid(number) for number in range(2001)]
    scopes = scopes_of([*every, *every])
    assert [len(each.subscriptions) for each in scopes] == [1000, 1000, 1]
    assert [each for scope in scopes for each in scope.subscriptions] == every
    assert scopes_of([]) == ()


@pytest.mark.parametrize(
    "members",
    [{}, {"subscriptions": ("a",), "management_groups": ("b",)}, {"subscriptions": ("a",) * (MOST_SUBSCRIPTIONS + 1)}],
)
def test_a_scope_that_is_none(members: dict[str, tuple[str, ...]]) -> None:
    """A scope names subscriptions or management groups, since a query without one asks the whole tenant."""
    with pytest.raises(AssertionError):
        Scope(**members)


# --- the simulated service ---------------------------------------------------------------------------------------------------


async def answer(question: Document | str, url: str = "resources?api-version=2022-10-01") -> Any:
    """One raw answer's body, or the `Unread` that it became."""
    async with reader(ManualClock()) as arm:

        async def ask() -> Any:
            body, _ = await arm.post(f"/providers/Microsoft.ResourceGraph/{url}", question if isinstance(question, dict) else {})
            return body.value

        return await reading(ask, source="", repair="")


async def test_the_columns_of_a_row(azure: LocalAzure) -> None:
    """Types, locations and resource groups are lower case; identity and properties are whole; what is unset is empty."""
    vault = backup_vault("BV1", "https://kv1.vault.azure.net/keys/k1", group="RG1")
    serve(azure, tenant({**vault, "location": "WestEurope", "tags": {"a": "b"}}))
    read = await rows("Resources | order by id asc")
    assert isinstance(read, list)
    assert read == [
        {
            "id": vault["id"],
            "name": "BV1",
            "type": "microsoft.dataprotection/backupvaults",
            "kind": "",
            "location": "westeurope",
            "resourceGroup": "rg1",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": "00000000-0000-0000-0000-0000000000aa",
            "identity": system_identity(),
            "tags": {"a": "b"},
            "properties": vault["properties"],
        }
    ]


async def test_which_table_shows_what(azure: LocalAzure) -> None:
    """Tracked resources and what backs up have tables of their own; keys and settings are in none."""
    rsv, instance = recovery_vault(), {"id": f"{backup_vault('bv1', None)['id']}/backupInstances/i1"}
    everything = [key_vault(rbac=True), key(), managed_hsm(), disk(), rsv, legacy_encryption(rsv["id"], "https://x/keys/k")]
    serve(azure, tenant(*everything, backup_vault("bv1", None), instance, protected_item(machine_id(), rsv["id"])))
    here = await rows("resources | project id, name = type | order by id asc")
    there = await rows("RecoveryServicesResources | project id, name = type | order by id asc")
    assert sorted(names(here)) == [
        "microsoft.compute/disks",
        "microsoft.dataprotection/backupvaults",
        "microsoft.keyvault/managedhsms",
        "microsoft.keyvault/vaults",
        "microsoft.recoveryservices/vaults",
    ]
    assert sorted(names(there)) == [
        "microsoft.dataprotection/backupvaults/backupinstances",
        "microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems",
    ]


async def test_rows_follow_the_tenant_unless_frozen(azure: LocalAzure) -> None:
    """A change is seen by the next query; frozen rows stay until they are let go."""
    serve(azure, tenant(key_vault("kv1", rbac=True)))
    assert names(await rows()) == ["kv1"]
    azure.change({"put": key_vault("kv2", rbac=True)})
    assert names(await rows()) == ["kv1", "kv2"]
    azure.freeze_graph()
    azure.change({"delete": vault_id("kv1")})
    azure.change({"merge": {"id": vault_id("kv2"), "properties": {"enableRbacAuthorization": False}}})
    assert names(await rows()) == ["kv1", "kv2"]
    azure.thaw_graph()
    assert names(await rows()) == ["kv2"]
    changed = await rows("resources | project name, rbac = properties.enableRbacAuthorization | order by name asc")
    assert changed == [{"name": "kv2", "rbac": False}]


async def test_freezing_ends_with_the_tenant(azure: LocalAzure) -> None:
    """Another tenant is shown at once."""
    azure.freeze_graph()
    serve(azure, tenant(key_vault("kv1", rbac=True)))
    assert names(await rows()) == ["kv1"]


@pytest.mark.parametrize(
    "query",
    ["resources | where where", "nosuchtable | project id", "resources | where nonsense == 1", "held.resources | count"],
)
async def test_a_query_that_is_wrong(azure: LocalAzure, query: str) -> None:
    """A query that cannot be run is refused, and unread."""
    read = await rows(query)
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (400, "InvalidQuery")


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"query": VAULTS, "options": {"$top": 0}},
        {"query": VAULTS, "options": {"$top": 1001}},
        {"query": VAULTS, "options": {"$skip": -1}},
        {"query": VAULTS, "options": {"resultFormat": "table"}},
        {"query": VAULTS, "options": {"$skipToken": "bm9uc2Vuc2U="}},
        {"query": VAULTS, "options": {"$skipToken": "?"}},
        {"query": VAULTS, "subscriptions": [guid(number) for number in range(1001)]},
    ],
)
async def test_a_request_that_is_wrong(azure: LocalAzure, question: Document) -> None:
    """Options out of range, a token of nobody's and too many subscriptions are refused."""
    read = await answer(question)
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (400, "InvalidQuery")


async def test_a_token_is_good_for_its_query_only(azure: LocalAzure) -> None:
    """A `$skipToken` goes with the query and the scope that it came from."""
    serve(azure, tenant(*vaults(3)))
    question = {"query": VAULTS, "subscriptions": [SUBSCRIPTION], "options": {"$top": 2}}
    first = await answer(question)
    options = {"$top": 2, "$skipToken": first["$skipToken"]}
    second = await answer({**question, "options": options})
    assert ([each["name"] for each in second["data"]], second["totalRecords"], second["count"]) == (["kv0002"], 3, 1)
    assert "$skipToken" not in second
    for other in ({"query": f"{VAULTS} "}, {"subscriptions": [OTHER_SUBSCRIPTION]}):
        assert isinstance(await answer({**question, "options": options, **other}), Unread)


async def test_the_whole_tenant_and_a_first_row_to_skip(azure: LocalAzure) -> None:
    """Without a scope every subscription is looked at; `$skip` leaves rows out at the start."""
    serve(azure, tenant(key_vault("kv1", rbac=True), key_vault("kv2", rbac=True, subscription=OTHER_SUBSCRIPTION)))
    found = await answer({"query": VAULTS, "options": {"$skip": 1}})
    assert [each["name"] for each in found["data"]] == ["kv2"]


async def test_the_operation_is_a_post_with_a_version(azure: LocalAzure) -> None:
    """A GET, and a request without an api-version, are refused as ARM refuses them."""
    versionless = await answer({"query": VAULTS}, "resources")
    async with reader(ManualClock()) as arm:
        got = await arm.get("/providers/Microsoft.ResourceGraph/resources?api-version=1", lambda body: body, source="")
    assert isinstance(versionless, Unread)
    assert isinstance(got, Unread)
    assert (versionless.status, versionless.code) == (400, "MissingApiVersionParameter")
    assert (got.status, got.code) == (405, "MethodNotAllowed")


# --- public payloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["basic_query", "filter_query", "mg_basic_query", "tenant_basic_query"])
async def test_documented_answers_are_read(azure: LocalAzure, name: str) -> None:
    """The rows of the published examples come through whole."""
    example = json.loads((corpus() / "arm" / f"graph2022_resources_{name}.json").read_text(encoding="utf-8"))
    body = example["responses"]["200"]["body"]
    azure.fault({"match": POST, "status": 200, "body": body})
    assert await rows(example["parameters"]["query"]["query"]) == body["data"]


async def test_documented_pages_are_joined(azure: LocalAzure) -> None:
    """The published example of two pages counts 386 rows and shows six: its end is missing, so it is unread, never short."""
    pages = [
        json.loads((corpus() / "arm" / f"graph2022_resources_{name}_page_query.json").read_text(encoding="utf-8"))["responses"]
        for name in ("first", "next")
    ]
    last = {**pages[1]["200"]["body"]}
    del last["$skipToken"]
    azure.fault({"match": POST, "status": 200, "times": 1, "body": pages[0]["200"]["body"]})
    azure.fault({"match": POST, "status": 200, "body": last})
    read = await rows()
    assert isinstance(read, Unread)
    assert (read.code, len(asked(azure))) == ("ResultTruncated", 2)


async def test_a_recorded_refusal_is_read(azure: LocalAzure) -> None:
    """The recorded answer to a query that does not parse is unread with its code."""
    (recorded,) = json.loads((corpus() / "errors" / "rec_sdk_resource_graph_400.json").read_text(encoding="utf-8"))
    azure.fault({"match": POST, "status": 400, "body": recorded["response"]["body"]})
    read = await rows()
    assert isinstance(read, Unread)
    assert (read.status, read.code) == (400, "InvalidQuery")
