"""Nouns to JSON documents and back: what state keeps. Pure.

What is read back was written by this module, so a document that does not fit is a DecodeError: a defect or a foreign store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

from keydrift.actor import Heard
from keydrift.drift import BindingRecord, Standing
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Earlier, KeyObject
from keydrift.key_uri import KeyUri
from keydrift.model import (
    Actor,
    AppIdentity,
    ChangeNotice,
    Consumer,
    IdentityReference,
    KeyBinding,
    ProtectedItem,
    Repointing,
    ResourceIdentity,
    Scenario,
    State,
    StoreObject,
)
from keydrift.resource_id import ResourceId

type Document = Mapping[str, object]


def _at(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def _when(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError as error:
        raise DecodeError("$", f"expected a time in a stored document, got `{value}`") from error


def _text(document: Document, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"$.{name}", "expected a string in a stored document")
    return value


def _maybe(document: Document, name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _number(document: Document, name: str) -> float:
    value = document.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DecodeError(f"$.{name}", "expected a number in a stored document")
    return value


def _word[W: StrEnum](document: Document, name: str, words: type[W]) -> W:
    value = _text(document, name)
    try:
        return words(value)
    except ValueError as error:
        raise DecodeError(f"$.{name}", f"expected one of {', '.join(words)} in a stored document, got `{value}`") from error


def _member(document: Document, name: str) -> Document | None:
    value = document.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise DecodeError(f"$.{name}", "expected an object in a stored document")
    return cast("Document | None", value)


def _list(document: Document, name: str) -> list[Document]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise DecodeError(f"$.{name}", "expected a list of objects in a stored document")
    return cast("list[Document]", value)


def _texts(document: Document, name: str) -> frozenset[str]:
    value = document.get(name) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise DecodeError(f"$.{name}", "expected a list of strings in a stored document")
    return frozenset(cast("list[str]", value))


# --- key bindings --------------------------------------------------------------------------------------------------------


def binding_document(binding: KeyBinding) -> dict[str, object]:
    """A key binding as state keeps it."""
    return {
        "id": binding.id,
        "scenario": str(binding.scenario),
        "identity": _identity_document(binding.identity),
        "target": _object_document(binding.target),
        "secrets": [_object_document(each) for each in binding.secrets],
        "consumers": [_consumer_document(each) for each in binding.consumers],
    }


def binding_from(document: Document) -> KeyBinding:
    """The key binding of a stored document."""
    return KeyBinding(
        id=_text(document, "id"),
        scenario=_word(document, "scenario", Scenario),
        identity=_identity_from(_member(document, "identity") or {}),
        target=_object_from(_member(document, "target") or {}),
        secrets=tuple(_object_from(each) for each in _list(document, "secrets")),
        consumers=tuple(_consumer_from(each) for each in _list(document, "consumers")),
    )


def _identity_document(identity: IdentityReference) -> dict[str, object]:
    if isinstance(identity, AppIdentity):
        return {"appId": identity.app_id}
    return {
        "resourceId": str(identity.resource_id),
        "userAssigned": str(identity.user_assigned) if identity.user_assigned else None,
        "systemObjectId": identity.system_object_id,
        "attached": dict(identity.attached),
        "tenantId": identity.tenant_id,
    }


def _identity_from(document: Document) -> IdentityReference:
    app_id = _maybe(document, "appId")
    if app_id is not None:
        return AppIdentity(app_id=app_id)
    chosen = _maybe(document, "userAssigned")
    return ResourceIdentity(
        resource_id=ResourceId.parse(_text(document, "resourceId")),
        user_assigned=ResourceId.parse(chosen) if chosen else None,
        system_object_id=_maybe(document, "systemObjectId"),
        attached=dict(cast("Mapping[str, str | None]", _member(document, "attached") or {})),
        tenant_id=_maybe(document, "tenantId"),
    )


def _object_document(each: StoreObject) -> dict[str, object]:
    return {"uri": str(each.uri), "storeId": str(each.store_id) if each.store_id else None}


def _object_from(document: Document) -> StoreObject:
    store = _maybe(document, "storeId")
    return StoreObject(uri=KeyUri.parse(_text(document, "uri")), store_id=ResourceId.parse(store) if store else None)


def _consumer_document(consumer: Consumer) -> dict[str, object]:
    return {
        "id": str(consumer.id),
        "keyVersions": list(consumer.key_versions),
        "location": consumer.location,
        "encryptionState": consumer.encryption_state,
        "rotationError": consumer.rotation_error,
        "protectedItems": [{"id": str(i.id), "lastBackupAt": _at(i.last_backup_at)} for i in consumer.protected_items],
        "repointed": {"previous": str(consumer.repointed.previous), "at": _at(consumer.repointed.at)}
        if consumer.repointed
        else None,
    }


def _consumer_from(document: Document) -> Consumer:
    return Consumer(
        id=ResourceId.parse(_text(document, "id")),
        key_versions=tuple(sorted(_texts(document, "keyVersions"))),
        location=_maybe(document, "location"),
        encryption_state=_maybe(document, "encryptionState"),
        rotation_error=_maybe(document, "rotationError"),
        protected_items=tuple(
            ProtectedItem(id=ResourceId.parse(_text(each, "id")), last_backup_at=_when(each.get("lastBackupAt")))
            for each in _list(document, "protectedItems")
        ),
        repointed=_repointing_from(_member(document, "repointed")),
    )


def _repointing_from(document: Document | None) -> Repointing | None:
    at = _when(document.get("at")) if document else None
    return Repointing(previous=KeyUri.parse(_text(document, "previous")), at=at) if document and at else None


# --- keys and secrets as read ----------------------------------------------------------------------------------------------


def earlier_document(uri: KeyUri, earlier: Earlier) -> dict[str, object]:
    """A key or secret as it was read, or its absence, as state keeps it."""
    read = earlier.read
    shown: dict[str, object] = {"uri": str(uri), "readAt": _at(earlier.read_at)}
    if not isinstance(read, KeyObject):
        return {**shown, "absent": str(uri)}
    return {
        **shown,
        "enabled": read.enabled,
        "notBefore": _at(read.not_before),
        "expires": _at(read.expires),
        "keyType": read.key_type,
        "keySize": read.key_size,
        "object": str(read.uri),
    }


def earlier_from(document: Document) -> tuple[KeyUri, Earlier]:
    """The key or secret of a stored document. How many versions a key has is kept apart."""
    uri, read_at = KeyUri.parse(_text(document, "uri")), _when(document.get("readAt"))
    if read_at is None:
        raise DecodeError("$.readAt", "expected a time in a stored document")
    absent = _maybe(document, "absent")
    if absent is not None:
        return uri, Earlier(read_at=read_at, read=Absent(what=absent))
    size = document.get("keySize")
    return uri, Earlier(
        read_at=read_at,
        read=KeyObject(
            uri=KeyUri.parse(_text(document, "object")),
            enabled=document.get("enabled") is True,
            not_before=_when(document.get("notBefore")),
            expires=_when(document.get("expires")),
            key_type=_maybe(document, "keyType"),
            key_size=size if isinstance(size, int) else None,
        ),
    )


# --- what is remembered of a binding -------------------------------------------------------------------------------------


def record_document(record: BindingRecord) -> dict[str, object]:
    """A binding's record as state keeps it."""
    standing = record.standing
    return {
        "bindingId": record.binding_id,
        "sequence": record.sequence,
        "state": str(record.state),
        "pendingUnknownSince": _at(record.pending_unknown_since),
        "readAt": _at(record.read_at),
        "grantedBy": sorted(record.granted_by),
        "explainedUntil": _at(record.explained_until),
        "toldUntil": _at(record.told_until),
        "standing": None
        if standing is None
        else {
            "state": str(standing.state),
            "codes": sorted(standing.codes),
            "causeKey": standing.cause_key,
            "openedAt": _at(standing.opened_at),
            "after": _at(standing.after),
            "lostAt": _at(standing.lost_at),
            "lostForSeconds": standing.lost_for.total_seconds(),
            "actorNamed": standing.actor_named,
            "operations": sorted(standing.operations),
            "explainedUntil": _at(standing.explained_until),
            "vanished": None if standing.vanished is None else sorted(standing.vanished),
            "exempted": standing.exempted,
            "exemptionReason": standing.exemption_reason,
        },
    }


def record_from(document: Document) -> BindingRecord:
    """The record of a stored document."""
    standing = _member(document, "standing")
    return BindingRecord(
        binding_id=_text(document, "bindingId"),
        sequence=int(_number(document, "sequence")),
        state=_word(document, "state", State),
        pending_unknown_since=_when(document.get("pendingUnknownSince")),
        read_at=_when(document.get("readAt")),
        granted_by=_texts(document, "grantedBy"),
        explained_until=_when(document.get("explainedUntil")),
        told_until=_when(document.get("toldUntil")),
        standing=None if standing is None else _standing_from(standing),
    )


def _standing_from(document: Document) -> Standing:
    opened = _when(document.get("openedAt"))
    if opened is None:
        raise DecodeError("$.standing.openedAt", "expected a time in a stored document")
    return Standing(
        state=_word(document, "state", State),
        codes=_texts(document, "codes"),
        cause_key=_text(document, "causeKey"),
        opened_at=opened,
        after=_when(document.get("after")),
        lost_at=_when(document.get("lostAt")),
        lost_for=timedelta(seconds=_number(document, "lostForSeconds")),
        actor_named=document.get("actorNamed") is True,
        operations=_texts(document, "operations"),
        explained_until=_when(document.get("explainedUntil")),
        vanished=None if document.get("vanished") is None else _texts(document, "vanished"),
        exempted=document.get("exempted") is True,
        exemption_reason=_maybe(document, "exemptionReason"),
    )


# --- notices -------------------------------------------------------------------------------------------------------------


def heard_document(heard: Heard) -> dict[str, object]:
    """A notice and when it was received, as state keeps it with the key store."""
    notice, actor = heard.notice, heard.notice.actor
    return {
        "receivedAt": _at(heard.received_at),
        "eventId": notice.event_id,
        "eventType": notice.event_type,
        "operation": notice.operation,
        "resourceId": str(notice.resource_id),
        "occurredAt": _at(notice.occurred_at),
        "correlationId": notice.correlation_id,
        "actor": None
        if actor is None
        else {"objectId": actor.object_id, "name": actor.name, "appId": actor.app_id, "ip": actor.ip},
    }


def heard_from(document: Document) -> Heard:
    """The notice of a stored document."""
    actor = _member(document, "actor")
    received = _when(document.get("receivedAt"))
    if received is None:
        raise DecodeError("$.receivedAt", "expected a time in a stored document")
    return Heard(
        received_at=received,
        notice=ChangeNotice(
            event_id=_text(document, "eventId"),
            event_type=_text(document, "eventType"),
            operation=_text(document, "operation"),
            resource_id=ResourceId.parse(_text(document, "resourceId")),
            occurred_at=_when(document.get("occurredAt")),
            correlation_id=_maybe(document, "correlationId"),
            actor=None
            if actor is None
            else Actor(
                object_id=_maybe(actor, "objectId"),
                name=_maybe(actor, "name"),
                app_id=_maybe(actor, "appId"),
                ip=_maybe(actor, "ip"),
            ),
        ),
    )
