"""What reads input that others wrote, each as a function of bytes that raises nothing but a defect.

A target lets the documented errors pass (DecodeError, ConfigError; StateError where a store is asked) and checks what has to hold
of a value. Whatever else comes out is a finding. `tests/fuzz_inputs.py` drives these with coverage, `tests/property` with seeds.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import azure.functions as func
from azure.core.credentials import AccessToken

from keydrift import bootstrap
from keydrift.adapters import arm_decode, doctor_reader, inventory_decode, probe_reader
from keydrift.adapters.arm_inventory import ArmInventory
from keydrift.adapters.authorization import AuthorizationReader
from keydrift.adapters.bulk_reader import BulkReader
from keydrift.adapters.cloud import cloud_named
from keydrift.adapters.directory import DirectoryReader
from keydrift.adapters.graph_inventory import GraphInventory
from keydrift.adapters.http import JsonReader
from keydrift.adapters.key_vault import KeyVaultReader
from keydrift.adapters.managed_hsm import ManagedHsmReader
from keydrift.adapters.resource_graph import ResourceGraph
from keydrift.adapters.watchlist_file import read_watchlist
from keydrift.adapters.wire import Node
from keydrift.alerts.actor import Heard
from keydrift.alerts.record import BindingRecord
from keydrift.drift import Moment, Via, compare
from keydrift.errors import ConfigError, DecodeError
from keydrift.events import decode
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice, Effect, Finding, PermissionModel, ProofStep, Scenario, State, StoreObject
from keydrift.ports import Entity, StateError
from keydrift.recheck import Recheck
from keydrift.resource_id import ResourceId
from keydrift.state import _store_from
from keydrift.stored import (
    binding_document,
    binding_from,
    earlier_document,
    earlier_from,
    heard_document,
    heard_from,
)  # fmt: skip
from keydrift.stored_record import record_document, record_from
from keydrift_local.rehearsal import in_memory
from keydrift_local.scenario_file import load_scenario
from keydrift_local.tenant_file import load_tenant
from support import builders
from support.app_functions import app_functions
from support.queues_memory import ManualClock
from support.tenants import HEALTHY, healthy
from support.world import World

ROOT = Path(__file__).resolve().parents[2]
_HOST = "management.azure.com"
_MOST_TEXT = 4 * 1024 * 1024

type Run = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of hostile input. `seeds` are small real inputs to start from."""

    run: Run
    seeds: Callable[[], list[bytes]]


def as_text(data: bytes) -> str:
    """Bytes as text, lone surrogates included."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _json(data: bytes) -> object:
    """Bytes as JSON, `NaN` and doubled members included, as `response.json()` takes them."""
    with suppress(ValueError, RecursionError):
        return cast(object, json.loads(as_text(data)))
    return None


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run_until_complete(work)


def _storable(value: object) -> None:
    """What is kept or sent has to be JSON, in UTF-8 too."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")


# --- events and messages -------------------------------------------------------------------------------------------------


def _event(data: bytes) -> None:
    for payload in (as_text(data), data):
        for each in decode(payload):
            if isinstance(each, ChangeNotice):
                _one_path(each.resource_id)
                heard = Heard(notice=each, received_at=builders.NOW)
                document = heard_document(heard)
                _storable(document)
                assert heard_from(document) == heard


def _monitor(data: bytes) -> None:
    text = as_text(data)
    world = _world()
    _run(world.monitor.receive(text))
    for body in world.queue.bodies:
        Recheck.parse(body)


def _recheck(data: bytes) -> None:
    text = as_text(data)
    with suppress(DecodeError):
        parsed = Recheck.parse(text)
        assert Recheck.parse(parsed.body()) == parsed
    world = _world()
    with suppress(StateError):
        _run(world.monitor.recheck(text))
    with suppress(StateError):
        _run(world.monitor.poisoned(text))


def _world() -> World:
    of = builders.binding(Scenario.BACKUP_VAULT_CMK)
    world = World(builders.granting(of, PermissionModel.RBAC, ()))
    _run(world.state.watch([of]))
    return world


# --- names ---------------------------------------------------------------------------------------------------------------


def _key_uri(data: bytes) -> None:
    with suppress(DecodeError):
        found = KeyUri.parse(as_text(data))
        assert KeyUri.parse(str(found)) == found
        parts = urlsplit(str(found))
        assert (parts.hostname, parts.port, parts.username) == (found.host, None, None)
        assert str(found).isascii()
        assert ".." not in parts.path.split("/")


def _resource_id(data: bytes) -> None:
    with suppress(DecodeError):
        _one_path(ResourceId.parse(as_text(data)))


def _one_path(found: ResourceId) -> None:
    again = ResourceId.parse(str(found))
    assert again == found
    assert again.key == found.key
    url = urlsplit(f"https://{_HOST}{found.url_path}?x=1")
    assert (url.hostname, url.query, url.fragment) == (_HOST, "x=1", "")
    segments = url.path.split("/")[1:] if found.segments else []
    assert len(segments) == len(found.segments)
    assert not {"", ".", ".."} & set(segments)
    _storable(str(found))


# --- answers of Azure's ----------------------------------------------------------------------------------------------------

_URI = KeyUri.parse("https://kv1.vault.azure.net/keys/k1")
_DECODERS: tuple[Callable[[Node], object], ...] = (
    arm_decode.key_vault, arm_decode.managed_hsm, arm_decode.deleted_key_store, arm_decode.role_definition,
    arm_decode.role_assignment, arm_decode.schedule_instance, arm_decode.hsm_role_assignment, arm_decode.deny_assignment,
    arm_decode.service_principal, arm_decode.user_assigned_identity, arm_decode.permission_blocks,
    lambda body: arm_decode.arm_object(body, _URI), lambda body: arm_decode.data_plane_key(body, _URI),
    inventory_decode.backup_vault, inventory_decode.recovery_services_vault, inventory_decode.disk_encryption_set,
    inventory_decode.protected_vm, inventory_decode.vm_is_confidential, inventory_decode.vm_disks, inventory_decode.ade_of_vm,
    inventory_decode.ade_of_disk, inventory_decode.secure_sets_of_disk,
    lambda body: inventory_decode.legacy_encryption(body, body),
    doctor_reader._sample, doctor_reader._item, doctor_reader._topic, doctor_reader._subscription,
    probe_reader._vault, probe_reader._host, probe_reader._standing,
    lambda body: [body.number(), body.epoch()], lambda body: [body.time(), body.lower(), body.flag()],
)  # fmt: skip


def _decoders(data: bytes) -> None:
    body = Node(_json(data))
    for decoder in _DECODERS:
        with suppress(DecodeError):
            decoder(body)


class _Answering:
    """A transport that gives one answer to everything: the body, and a status and headers that the first byte chooses."""

    _STATUSES = (200, 200, 200, 404, 403, 429, 500, 302)

    def __init__(self, data: bytes) -> None:
        self._status = self._STATUSES[data[0] % len(self._STATUSES)] if data else 200
        self._text = as_text(data[1:])
        header = self._text[:40].encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")
        self._headers = {"Content-Type": "application/json", "Retry-After": header, "x-ms-user-quota-resets-after": header}
        self.asked: list[str] = []

    async def send(self, request: Any, **_options: Any) -> Any:
        self.asked.append(request.url)
        return SimpleNamespace(
            status_code=self._status, reason="", headers=self._headers, request=request, content_type="application/json",
            json=lambda: json.loads(self._text), text=lambda *_: self._text, body=lambda: self._text.encode("utf-8", "replace"),
        )  # fmt: skip

    async def sleep(self, _duration: float) -> None:
        """Wait for nothing."""

    async def open(self) -> None:
        """Hold nothing open."""

    async def close(self) -> None:
        """Hold nothing open."""

    async def __aenter__(self) -> _Answering:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class _Token:
    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken("token", 2**33)

    async def close(self) -> None:
        """Hold nothing open."""


def _answers(data: bytes) -> None:
    """Every reader on one answer: a value, `Absent` or `Unread`, never an exception, and no request to another host."""
    transport: Any = _Answering(data)
    token: Any = _Token()
    cloud = cloud_named("AzureCloud")
    arm = JsonReader(f"https://{_HOST}", f"https://{_HOST}", token, transport, "Reader")
    clock = ManualClock(builders.NOW)
    vault, hsm = builders.rid(builders.VAULT), "hsm1.managedhsm.azure.net"
    grants, directory, bulk = AuthorizationReader(arm), DirectoryReader(arm, arm), BulkReader(arm)
    stores, hsms = KeyVaultReader(cloud, token, transport), ManagedHsmReader(cloud, token, transport)
    key = StoreObject(uri=_URI, store_id=vault)
    subscription = builders.SUB.rpartition("/")[2]

    async def ask() -> None:
        await grants.role_assignments(vault, "p")
        await grants.deny_assignments(vault)
        await grants.schedule_instances(vault, "p")
        await grants.role_definition(vault, "r")
        await directory.service_principal("a")
        await directory.groups("p")
        await stores.key_store(vault)
        await stores.deleted_key_store(vault)
        await stores.key_object(key)
        await stores.key_versions(key)
        await hsms.key(KeyUri.parse(f"https://{hsm}/keys/k1"))
        await hsms.role_assignments(hsm, "/keys/k1")
        await bulk.key_stores(subscription, "microsoft.keyvault/vaults", {vault.key})
        await bulk.role_assignments(subscription, {"p"}, lambda _: True)
        await ArmInventory(arm).read((subscription,))
        await GraphInventory(arm, ResourceGraph(arm, clock)).read((subscription,))

    _run(ask())
    assert {urlsplit(each).hostname for each in transport.asked} <= {_HOST, hsm}


# --- files ---------------------------------------------------------------------------------------------------------------


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="keydrift-fuzz-", dir=in_memory()))


def _file(name: str, read: Callable[[Path], object]) -> Run:
    def run(data: bytes) -> None:
        path = _folder() / f"{os.getpid()}-{name}"
        path.write_bytes(data)
        problem = ""
        try:
            read(path)
        except ConfigError as error:
            problem = str(error)
        assert len(problem.splitlines()) <= 1, f"an error of several lines: {problem!r}"

    return run


# --- stored documents ------------------------------------------------------------------------------------------------------


def _stored(data: bytes) -> None:
    document = _json(data)
    if not isinstance(document, dict):
        return
    with suppress(DecodeError):
        binding = binding_from(document)
        assert binding_from(binding_document(binding)) == binding
    with suppress(DecodeError):
        record = record_from(document)
        assert record_from(record_document(record)) == record
    with suppress(DecodeError):
        heard = heard_from(document)
        assert heard_from(heard_document(heard)) == heard
    with suppress(DecodeError):
        uri, earlier = earlier_from(document)
        assert earlier_from(earlier_document(uri, earlier)) == (uri, earlier)
    with suppress(DecodeError):
        _store_from(Entity(partition="stores", row="h", body=document))


# --- rows ----------------------------------------------------------------------------------------------------------------


def _rows(data: bytes) -> None:
    """Alerts and postures of names that somebody chose: whole rows, in UTF-8, with every string unchanged but for surrogates."""
    from keydrift.alerts.row import alert_row, posture_row
    from keydrift.declared import NOT_EXEMPT
    from keydrift.document import verdict_document
    from keydrift.page.answer import answered
    from keydrift.posture import posture_document

    said = Node(as_text(data)[:5_000]).text() or "x"
    of = builders.binding(Scenario.BACKUP_VAULT_CMK)
    verdict = builders.judged(of, builders.granting(of, PermissionModel.RBAC, ()))
    finding = Finding(
        code="key-disabled", level=State.LOST, summary=said, evidence={"name": said, said: (said,)}, remediation=said
    )
    step = ProofStep(kind=said, id=said, scope=said, role=said, effect=Effect.GRANTS, permissions=(said,), reason=said)
    from dataclasses import replace

    hostile = replace(verdict, state=State.LOST, findings=(finding,), missing=(said,), proof=(step,))
    notice = ChangeNotice(
        event_id=said, event_type=said, operation=said, resource_id=of.target.store_id or ResourceId.parse("/"),
        occurred_at=builders.NOW, actor=Actor(object_id=said, name=said, app_id=said, ip=said), correlation_id=said,
    )  # fmt: skip
    moment = Moment(now=builders.NOW, via=Via.EVENT, heard=(Heard(notice=notice, received_at=builders.NOW),))
    alert = compare(BindingRecord.created(of.id, builders.NOW), hostile, moment).alert
    assert alert is not None
    rows = [alert_row(alert, said), posture_row(hostile, NOT_EXEMPT, said, builders.NOW, said)]
    for row in rows:
        _storable(row)
        assert json.loads(json.dumps(row)) == row
    page = answered(posture_document([verdict_document(hostile)], [said], builders.NOW, source="monitor"), html=True)
    assert page.body.count("<script") == _scripts()


@cache
def _scripts() -> int:
    """How many script elements the page has by itself: nobody's name adds one."""
    from keydrift.page.answer import answered
    from keydrift.posture import posture_document

    page = answered(posture_document([], [], builders.NOW, source="monitor"), html=True)
    return page.body.count("<script")


# --- HTTP ----------------------------------------------------------------------------------------------------------------


@cache
def _routes() -> tuple[Any, ...]:
    """The handlers of every HTTP function that the app has."""
    return tuple(each.get_user_function() for each in app_functions() if each.is_http_function())


def _http(data: bytes) -> None:
    text = as_text(data)
    accept, _, rest = text.partition("\n")
    asked, _, other = rest.partition("\n")
    world = _world()
    bootstrap.install(cast("bootstrap.Application", SimpleNamespace(monitor=world.monitor)))
    try:
        for handler in _routes():
            request = func.HttpRequest(
                method="GET", url=f"https://app/api/posture?format={asked}", body=data,
                headers={"Accept": accept, "X-Other": other, "Cookie": other}, params={"format": asked, "other": other},
            )  # fmt: skip
            answer = _run(handler(request))
            assert isinstance(answer, func.HttpResponse)
            assert answer.status_code < 500
            answer.get_body().decode("utf-8")
    finally:
        bootstrap.install(None)


# --- seeds -----------------------------------------------------------------------------------------------------------------


def _texts(*found: str) -> Callable[[], list[bytes]]:
    return lambda: [each.encode("utf-8", "surrogatepass") for each in found]


def corpus(*folders: str) -> Iterator[bytes]:
    """The public payloads in these folders of KEYDRIFT_CORPUS; none where there is none."""
    named = os.environ.get("KEYDRIFT_CORPUS")
    for folder in folders if named else ():
        for path in sorted((Path(str(named)) / folder).glob("*.json")):
            yield path.read_bytes()


def _events() -> list[bytes]:
    from support.events import key_vault_event, resource_event

    own = [
        key_vault_event("VaultAccessPolicyChanged"),
        resource_event("Microsoft.KeyVault/vaults/write", builders.VAULT, "WriteSuccess"),
        resource_event("Microsoft.RecoveryServices/vaults/write", builders.RECOVERY_VAULT, "WriteSuccess"),
    ]
    return [*(json.dumps(each).encode() for each in own), *corpus("events")]


def _bodies() -> list[bytes]:
    found: list[bytes] = []
    for scenario, model in HEALTHY:
        document = healthy(scenario, model)
        found += [json.dumps(each).encode() for each in document["resources"]]
        found += [json.dumps({"value": [each]}).encode() for each in document.get("roleAssignments", ())]
    return [*dict.fromkeys(found), *corpus("arm", "graph", "keyvault")]


def _stored_seeds() -> list[bytes]:
    of = builders.binding(Scenario.ADE_KEK)
    verdict = builders.judged(of, builders.granting(of, PermissionModel.RBAC, ()))
    told = compare(BindingRecord.created(of.id, builders.NOW), verdict, Moment(now=builders.NOW, via=Via.SWEEP, heard=()))
    record: BindingRecord = told.record
    return [json.dumps(each).encode() for each in (binding_document(of), record_document(record), {"host": "h", "readAt": None})]


def _tenants() -> list[bytes]:
    return [json.dumps(healthy(*each)).encode() for each in HEALTHY]


def _scenarios() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests/scenario/cases").glob("*.json"))]


def _watchlists() -> list[bytes]:
    text = (ROOT / "docs/watchlist.md").read_text(encoding="utf-8")
    return [each.partition("\n```")[0].encode() for each in text.split("```yaml\n")[1:]]


def _rechecks() -> list[bytes]:
    noticed = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    one = Recheck(host=builders.VAULT_HOST, noticed_at=noticed, via=Via.EVENT, consumers=True, subscriptions=("a-b",), sweep="s")
    return [one.body().encode()]


TARGETS: dict[str, Target] = {
    "event": Target(_event, _events),
    "monitor": Target(_monitor, _events),
    "recheck": Target(_recheck, _rechecks),
    "key-uri": Target(_key_uri, _texts("https://kv1.vault.azure.net/keys/k1/0123", "https://hsm1.managedhsm.azure.net/keys/k1")),
    "resource-id": Target(_resource_id, _texts(builders.VAULT, builders.MANAGEMENT_GROUP, f"{builders.VAULT}/keys/k1")),
    "decoders": Target(_decoders, _bodies),
    "answers": Target(_answers, lambda: [b"\x00" + each for each in _bodies()]),
    "watchlist": Target(_file("watchlist.yaml", read_watchlist), _watchlists),
    "tenant": Target(_file("tenant.json", load_tenant), _tenants),
    "scenario": Target(_file("scenario.json", load_scenario), _scenarios),
    "stored": Target(_stored, _stored_seeds),
    "rows": Target(_rows, _texts("k1", "</script><script>alert(1)</script>", "' | project x")),
    "http": Target(_http, _texts("text/html\nhtml\n", "application/json;q=0.5, */*\njson\n")),
}
JSON_TARGETS = frozenset({"event", "monitor", "recheck", "decoders", "answers", "tenant", "scenario", "stored"})
