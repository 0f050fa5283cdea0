"""Nouns to JSON documents and back: what state keeps. Pure.

What is read back was written by this module, so a document that does not fit is a DecodeError: a defect or a foreign store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from keydrift.alerts.actor import Heard
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Earlier, KeyObject
from keydrift.key_uri import KeyUri
from keydrift.model import (
    NO_OWNERSHIP,
    Actor,
    AppIdentity,
    ChangeNotice,
    Consumer,
    IdentityReference,
    KeyBinding,
    Ownership,
    ProtectedItem,
    Repointing,
    ResourceIdentity,
    Scenario,
    StoreObject,
)
from keydrift.resource_id import ResourceId
from keydrift.stored_fields import Document, at_text, documents, maybe, member, number, text, texts, time, word

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
        id=text(document, "id"),
        scenario=word(document, "scenario", Scenario),
        identity=_identity_from(member(document, "identity") or {}),
        target=_object_from(member(document, "target") or {}),
        secrets=tuple(_object_from(each) for each in documents(document, "secrets")),
        consumers=tuple(_consumer_from(each) for each in documents(document, "consumers")),
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
    app_id = maybe(document, "appId")
    if app_id is not None:
        return AppIdentity(app_id=app_id)
    chosen = maybe(document, "userAssigned")
    return ResourceIdentity(
        resource_id=ResourceId.parse(text(document, "resourceId")),
        user_assigned=ResourceId.parse(chosen) if chosen else None,
        system_object_id=maybe(document, "systemObjectId"),
        attached=dict(cast("Mapping[str, str | None]", member(document, "attached") or {})),
        tenant_id=maybe(document, "tenantId"),
    )


def _object_document(each: StoreObject) -> dict[str, object]:
    return {
        "uri": str(each.uri),
        "storeId": str(each.store_id) if each.store_id else None,
        "ownership": _ownership_document(each.ownership),
    }


def _object_from(document: Document) -> StoreObject:
    store = maybe(document, "storeId")
    return StoreObject(
        uri=KeyUri.parse(text(document, "uri")),
        store_id=ResourceId.parse(store) if store else None,
        ownership=_ownership_from(member(document, "ownership")),
    )


def _ownership_document(ownership: Ownership) -> dict[str, object] | None:
    return None if ownership == NO_OWNERSHIP else {"owner": ownership.owner, "environment": ownership.environment}


def _ownership_from(document: Document | None) -> Ownership:
    return Ownership(owner=maybe(document, "owner"), environment=maybe(document, "environment")) if document else NO_OWNERSHIP


def _consumer_document(consumer: Consumer) -> dict[str, object]:
    return {
        "id": str(consumer.id),
        "keyVersions": list(consumer.key_versions),
        "location": consumer.location,
        "encryptionState": consumer.encryption_state,
        "rotationError": consumer.rotation_error,
        "protectedItems": [_item_document(each) for each in consumer.protected_items],
        "protectedCount": consumer.protected_count,
        "through": str(consumer.through) if consumer.through else None,
        "ownership": _ownership_document(consumer.ownership),
        "repointed": {"previous": str(consumer.repointed.previous), "at": at_text(consumer.repointed.at)}
        if consumer.repointed
        else None,
    }


def _consumer_from(document: Document) -> Consumer:
    return Consumer(
        id=ResourceId.parse(text(document, "id")),
        key_versions=tuple(sorted(texts(document, "keyVersions"))),
        location=maybe(document, "location"),
        encryption_state=maybe(document, "encryptionState"),
        rotation_error=maybe(document, "rotationError"),
        protected_items=tuple(_item_from(each) for each in documents(document, "protectedItems")),
        protected_count=None if document.get("protectedCount") is None else int(number(document, "protectedCount")),
        through=ResourceId.parse(through) if (through := maybe(document, "through")) else None,
        ownership=_ownership_from(member(document, "ownership")),
        repointed=_repointing_from(member(document, "repointed")),
    )


def _item_document(item: ProtectedItem) -> dict[str, object]:
    return {
        "id": str(item.id),
        "lastBackupAt": at_text(item.last_backup_at),
        "lastRecoveryPointAt": at_text(item.last_recovery_point_at),
        "name": item.name,
    }


def _item_from(document: Document) -> ProtectedItem:
    return ProtectedItem(
        id=ResourceId.parse(text(document, "id")),
        last_backup_at=time(document.get("lastBackupAt")),
        last_recovery_point_at=time(document.get("lastRecoveryPointAt")),
        name=maybe(document, "name"),
    )


def _repointing_from(document: Document | None) -> Repointing | None:
    at = time(document.get("at")) if document else None
    return Repointing(previous=KeyUri.parse(text(document, "previous")), at=at) if document and at else None


# --- keys and secrets as read ----------------------------------------------------------------------------------------------


def earlier_document(uri: KeyUri, earlier: Earlier) -> dict[str, object]:
    """A key or secret as it was read, or its absence, as state keeps it."""
    read = earlier.read
    shown: dict[str, object] = {"uri": str(uri), "readAt": at_text(earlier.read_at)}
    if not isinstance(read, KeyObject):
        return {**shown, "absent": str(uri)}
    return {
        **shown,
        "enabled": read.enabled,
        "notBefore": at_text(read.not_before),
        "expires": at_text(read.expires),
        "keyType": read.key_type,
        "keySize": read.key_size,
        "object": str(read.uri),
    }


def earlier_from(document: Document) -> tuple[KeyUri, Earlier]:
    """The key or secret of a stored document. How many versions a key has is kept apart."""
    uri, read_at = KeyUri.parse(text(document, "uri")), time(document.get("readAt"))
    if read_at is None:
        raise DecodeError("$.readAt", "expected a time in a stored document")
    absent = maybe(document, "absent")
    if absent is not None:
        return uri, Earlier(read_at=read_at, read=Absent(what=absent))
    size = document.get("keySize")
    return uri, Earlier(
        read_at=read_at,
        read=KeyObject(
            uri=KeyUri.parse(text(document, "object")),
            enabled=document.get("enabled") is True,
            not_before=time(document.get("notBefore")),
            expires=time(document.get("expires")),
            key_type=maybe(document, "keyType"),
            key_size=size if isinstance(size, int) else None,
        ),
    )


# --- notices -------------------------------------------------------------------------------------------------------------


def heard_document(heard: Heard) -> dict[str, object]:
    """A notice and when it was received, as state keeps it with the key store."""
    notice, actor = heard.notice, heard.notice.actor
    return {
        "receivedAt": at_text(heard.received_at),
        "eventId": notice.event_id,
        "eventType": notice.event_type,
        "operation": notice.operation,
        "resourceId": str(notice.resource_id),
        "occurredAt": at_text(notice.occurred_at),
        "correlationId": notice.correlation_id,
        "actor": None
        if actor is None
        else {"objectId": actor.object_id, "name": actor.name, "appId": actor.app_id, "ip": actor.ip},
    }


def heard_from(document: Document) -> Heard:
    """The notice of a stored document."""
    actor = member(document, "actor")
    received = time(document.get("receivedAt"))
    if received is None:
        raise DecodeError("$.receivedAt", "expected a time in a stored document")
    return Heard(
        received_at=received,
        notice=ChangeNotice(
            event_id=text(document, "eventId"),
            event_type=text(document, "eventType"),
            operation=text(document, "operation"),
            resource_id=ResourceId.parse(text(document, "resourceId")),
            occurred_at=time(document.get("occurredAt")),
            correlation_id=maybe(document, "correlationId"),
            actor=None
            if actor is None
            else Actor(
                object_id=maybe(actor, "objectId"),
                name=maybe(actor, "name"),
                app_id=maybe(actor, "appId"),
                ip=maybe(actor, "ip"),
            ),
        ),
    )
