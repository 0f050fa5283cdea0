"""Documents: what state keeps is read back as it was, scan shows the contract's members, foreign documents are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keydrift.alerts.actor import Heard
from keydrift.alerts.record import BindingRecord, Flapping, Standing
from keydrift.document import unread_document, verdict_document
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Earlier, KeyObject
from keydrift.key_uri import KeyUri
from keydrift.model import (
    Actor,
    ChangeNotice,
    Consumer,
    KeyBinding,
    Ownership,
    ProtectedItem,
    Repointing,
    Scenario,
    State,
    StoreObject,
)
from keydrift.stored import (
    binding_document,
    binding_from,
    earlier_document,
    earlier_from,
    heard_document,
    heard_from,
)
from keydrift.stored_record import record_document, record_from
from support.builders import (
    APP_ID,
    APP_OBJECT,
    BACKUP_VAULT,
    DISK_SET,
    NOW,
    POLICY,
    RBAC,
    VAULT,
    VM,
    binding,
    granting,
    judged,
    owner_identity,
    rid,
    secret_at,
    unread,
    user_identity,
)
from support.strategies import bindings, times, versions

texts = st.text(max_size=12)
maybe_texts = st.none() | texts
maybe_times = st.none() | times
word_sets = st.frozensets(st.text("abc/|", max_size=6), max_size=3)
states = st.sampled_from(list(State))
items = st.builds(
    ProtectedItem,
    id=st.just(rid(f"{VM}/i")),
    last_backup_at=maybe_times,
    last_recovery_point_at=maybe_times,
    name=maybe_texts,
)
owners = st.builds(Ownership, owner=maybe_texts, environment=maybe_texts)
consumers = st.builds(
    Consumer,
    id=st.sampled_from([rid(VM), rid(BACKUP_VAULT)]),
    key_versions=st.frozensets(versions).map(lambda found: tuple(sorted(found))),
    location=maybe_texts,
    encryption_state=maybe_texts,
    rotation_error=maybe_texts,
    protected_items=st.lists(items, max_size=2).map(tuple),
    protected_count=st.none() | st.integers(0, 10**6),
    through=st.none() | st.just(rid(DISK_SET)),
    ownership=owners,
)
standings = st.builds(
    Standing,
    state=states,
    codes=word_sets,
    cause_key=texts,
    opened_at=times,
    after=maybe_times,
    lost_at=maybe_times,
    lost_for=st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
    actor_named=st.booleans(),
    operations=word_sets,
    explained_until=maybe_times,
    vanished=st.none() | word_sets,
    exempted=st.booleans(),
    exemption_reason=st.none() | st.text(),
    lag=st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
    reminded_at=maybe_times,
)
flappings = st.builds(
    Flapping,
    since=times,
    told=standings,
    turned_at=times,
    ends=st.integers(0, 1000),
    lost_for=st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
)
records = st.builds(
    BindingRecord,
    binding_id=texts,
    sequence=st.integers(0, 2**40),
    state=states,
    standing=st.none() | standings,
    pending_unknown_since=maybe_times,
    read_at=maybe_times,
    granted_by=word_sets,
    granted_through_groups=word_sets,
    ended_at=st.lists(times, max_size=3).map(tuple),
    flapping=st.none() | flappings,
    explained_until=maybe_times,
)
notices = st.builds(
    ChangeNotice,
    event_id=texts,
    event_type=texts,
    operation=texts,
    resource_id=st.sampled_from([rid(VAULT), rid("/"), rid(VM)]),
    occurred_at=maybe_times,
    actor=st.none() | st.builds(Actor, object_id=maybe_texts, name=maybe_texts, app_id=maybe_texts, ip=maybe_texts),
    correlation_id=maybe_texts,
)


def stored(document: Mapping[str, object]) -> Mapping[str, Any]:
    """The document as a store gives it back."""
    found: Mapping[str, Any] = json.loads(json.dumps(document))
    return found


@given(bindings(), st.lists(consumers, max_size=3).map(tuple))
@settings(max_examples=100, deadline=None)
def test_binding_round_trip(made: tuple[KeyBinding, object], consumed: tuple[Consumer, ...]) -> None:
    """A key binding is read back as it was."""
    whole = replace(made[0], consumers=consumed)
    assert binding_from(stored(binding_document(whole))) == whole


@pytest.mark.parametrize(
    "made",
    [
        binding(Scenario.ADE_KEK, secrets=(secret_at(), secret_at(version=None))),
        binding(Scenario.RSV_CMK, identity=owner_identity(system_object_id=None, tenant_id=None)),
        binding(Scenario.BACKUP_VAULT_CMK, identity=user_identity(attached={"/x": None})),
        binding(Scenario.CVM_CMK, target=StoreObject(uri=KeyUri.parse("https://KV1.vault.azure.net/keys/MyKey"))),
    ],
)
def test_binding_round_trip_keeps_spelling(made: KeyBinding) -> None:
    """Secrets, identities and the spelling of names come back too."""
    back = binding_from(stored(binding_document(made)))
    assert back == made
    assert str(back.target.uri) == str(made.target.uri)


@given(records)
@settings(max_examples=100, deadline=None)
def test_record_round_trip(record: BindingRecord) -> None:
    """A binding's record is read back as it was."""
    assert record_from(stored(record_document(record))) == record


@given(notices, times)
@settings(max_examples=100, deadline=None)
def test_heard_round_trip(notice: ChangeNotice, received: Any) -> None:
    """A notice is read back as it was."""
    heard = Heard(notice=notice, received_at=received)
    assert heard_from(stored(heard_document(heard))) == heard


READ = KeyObject(
    uri=KeyUri.parse("https://kv1.vault.azure.net/keys/k1/1"),
    enabled=False,
    not_before=NOW,
    expires=NOW + timedelta(days=1),
    key_type="RSA",
    key_size=3072,
)


@pytest.mark.parametrize("read", [READ, KeyObject(uri=READ.uri), Absent(what="key k1")])
def test_object_round_trip(read: KeyObject | Absent) -> None:
    """A key as an earlier sweep read it, or its absence, is read back with its time."""
    uri, earlier = earlier_from(stored(earlier_document(READ.uri.versionless, Earlier(read_at=NOW, read=read))))
    assert (uri, earlier.read_at, type(earlier.read)) == (READ.uri.versionless, NOW, type(read))
    assert not isinstance(read, KeyObject) or earlier.read == read


def test_repointing_round_trip() -> None:
    """That a consumer named another key before is read back."""
    mine = binding(Scenario.BACKUP_VAULT_CMK)
    noted = Repointing(previous=KeyUri.parse("https://kv0.vault.azure.net/keys/k1"), at=NOW)
    whole = replace(mine, consumers=tuple(replace(each, repointed=noted) for each in mine.consumers))
    assert binding_from(stored(binding_document(whole))) == whole


GOOD = {
    binding_from: stored(binding_document(binding(Scenario.ADE_KEK))),
    record_from: stored(
        record_document(
            replace(
                BindingRecord.created("b", NOW),
                standing=Standing(state=State.LOST, codes=frozenset(), cause_key="c", opened_at=NOW, after=None),
            )
        )
    ),
    heard_from: stored(
        heard_document(
            Heard(
                notice=ChangeNotice(
                    event_id="e", event_type="t", operation="o", resource_id=rid(VAULT), occurred_at=NOW, actor=Actor(name="a")
                ),
                received_at=NOW,
            )
        )
    ),
}


def broken(document: Mapping[str, Any], path: str, value: object) -> Mapping[str, Any]:
    name, _, rest = path.partition(".")
    return {**document, name: broken(document[name], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("read", "path", "value"),
    [
        (binding_from, "id", None),
        (binding_from, "scenario", "another"),
        (binding_from, "scenario", None),
        (binding_from, "identity", None),
        (binding_from, "identity", "text"),
        (binding_from, "target", {}),
        (binding_from, "target", []),
        (binding_from, "target.uri", "ftp://x"),
        (binding_from, "target.storeId", "no id"),
        (binding_from, "secrets", None),
        (binding_from, "secrets", ["x"]),
        (binding_from, "consumers", [{}]),
        (binding_from, "consumers", [{"id": VM, "protectedItems": [], "keyVersions": 1}]),
        (record_from, "bindingId", 1),
        (record_from, "sequence", None),
        (record_from, "sequence", "1"),
        (record_from, "state", "fine"),
        (record_from, "readAt", "yesterday"),
        (record_from, "grantedBy", [1]),
        (record_from, "standing", "x"),
        (record_from, "standing.state", None),
        (record_from, "standing.openedAt", None),
        (record_from, "standing.lostForSeconds", None),
        (heard_from, "receivedAt", None),
        (heard_from, "resourceId", "no id"),
        (heard_from, "actor", "admin"),
    ],
)
def test_foreign_document(read: Callable[[Mapping[str, Any]], object], path: str, value: object) -> None:
    """A document that this module did not write is a decode error, never another exception."""
    good = GOOD[read]  # type: ignore[index]
    read(good)
    with pytest.raises(DecodeError):
        read(broken(good, path, value))


def test_verdict_document() -> None:
    """A verdict as scan shows it: the contract's members and nothing in another spelling."""
    mine = binding(Scenario.CVM_CMK)
    document = stored(verdict_document(judged(mine, granting(mine, POLICY, ("keys/get",)))))
    finding = document["findings"][0]
    assert (finding["code"], finding["level"]) == ("access-policy-insufficient", "lost")
    assert finding["evidence"]["missing"] == ["keys/list", "keys/backup"]
    assert finding["remediation"].startswith("az keyvault set-policy")
    proof = document["proof"][0]
    assert (proof["effect"], proof["permissions"], proof["scope"]) == ("grants-some", ["keys/get"], VAULT)
    assert document["principal"] == {
        "object_id": APP_OBJECT,
        "app_id": APP_ID,
        "name": "Backup Management Service",
        "kind": "service-principal",
        "identity": APP_ID,
    }
    rest = {name: value for name, value in document.items() if name not in ("findings", "proof", "principal")}
    assert rest == {
        "id": mine.id,
        "scenario": "cvm-cmk",
        "verdict": "lost",
        "severity": "High",
        "exempted": False,
        "exemption": None,
        "key": "https://kv1.vault.azure.net/keys/k1",
        "key_store_id": VAULT,
        "permission_model": "access-policy",
        "consumers": [VM],
        "missing": ["keys/list", "keys/backup"],
        "read_at": "2026-03-01T12:00:00.000Z",
    }


def test_verdict_document_of_a_managed_identity() -> None:
    """A resource's identity is a managed identity without an app id; a store that was read is named."""
    target = StoreObject(uri=KeyUri.parse("https://kv1.vault.azure.net/keys/k1"))
    mine = binding(Scenario.BACKUP_VAULT_CMK, target=target)
    facts = granting(binding(Scenario.BACKUP_VAULT_CMK), RBAC, ("*",))
    document = verdict_document(judged(mine, facts))
    principal = document["principal"]
    assert isinstance(principal, dict)
    assert (principal["kind"], principal["app_id"]) == ("managed-identity", None)
    assert (document["key_store_id"], document["verdict"], document["severity"]) == (VAULT, "held", "Informational")


def test_unread_document() -> None:
    """A source that could not be read is shown with status, code and what repairs it."""
    assert unread_document(unread("keys", 403, "Reader")) == {
        "source": "keys",
        "status": 403,
        "code": "AuthorizationFailed",
        "repair": "Reader",
    }
