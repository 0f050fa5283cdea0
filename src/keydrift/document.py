"""Nouns to JSON documents and back: what state keeps, and what scan and posture show. Pure.

What is read back was written by this module, so a document that does not fit is a DecodeError: a defect or a foreign store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

from keydrift.actor import Heard
from keydrift.catalogue import severity_of
from keydrift.declared import NOT_EXEMPT, ExemptionOutcome
from keydrift.drift import BindingRecord, Standing
from keydrift.errors import DecodeError
from keydrift.facts import Unread
from keydrift.key_uri import KeyUri
from keydrift.model import (
    Actor,
    AppIdentity,
    ChangeNotice,
    Consumer,
    IdentityReference,
    KeyBinding,
    ProtectedItem,
    ResourceIdentity,
    Scenario,
    State,
    StoreObject,
    Verdict,
)
from keydrift.resource_id import ResourceId
from keydrift.row import exemption_document, finding_document, proof_document, stamp

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


# --- verdicts ------------------------------------------------------------------------------------------------------------


def unread_document(unread: Unread) -> dict[str, object]:
    """A source that could not be read, with status and what would repair it."""
    return {"source": unread.source, "status": unread.status, "code": unread.code, "repair": unread.repair}


def verdict_document(verdict: Verdict, exemption: ExemptionOutcome = NOT_EXEMPT) -> dict[str, object]:
    """A verdict as `keydrift scan --format json` and `GET /api/posture` show it (formats)."""
    binding, principal = verdict.binding, verdict.principal
    store = verdict.key_store.id if verdict.key_store else binding.target.store_id
    is_app = isinstance(binding.identity, AppIdentity)
    return {
        "id": binding.id,
        "scenario": str(binding.scenario),
        "verdict": str(verdict.state),
        "severity": severity_of(verdict.state, verdict.findings),
        "exempted": exemption.exempted,
        "exemption": exemption_document(exemption),
        "key": str(binding.target.uri.versionless),
        "key_store_id": str(store) if store else None,
        "permission_model": str(verdict.permission_model) if verdict.permission_model else None,
        "principal": {
            "object_id": principal.object_id if principal else None,
            "app_id": binding.identity.app_id if isinstance(binding.identity, AppIdentity) else principal and principal.app_id,
            "name": principal.name if principal else None,
            "kind": "service-principal" if is_app else "managed-identity",
            "identity": binding.identity.reference,
        },
        "consumers": [str(consumer.id) for consumer in binding.consumers],
        "missing": list(verdict.missing),
        "findings": [finding_document(each) for each in verdict.findings],
        "proof": [proof_document(each) for each in verdict.proof],
        "read_at": stamp(verdict.read_at),
    }
