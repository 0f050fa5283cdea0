"""What is remembered of a key binding, as a JSON document and back. Pure."""

from __future__ import annotations

from datetime import timedelta

from keydrift.alerts.record import BindingRecord, Flapping, Standing
from keydrift.errors import DecodeError
from keydrift.model import State
from keydrift.stored_fields import Document, at_text, maybe, member, number, text, texts, time, times, word


def record_document(record: BindingRecord) -> dict[str, object]:
    """A binding's record as state keeps it."""
    return {
        "bindingId": record.binding_id,
        "sequence": record.sequence,
        "state": str(record.state),
        "pendingUnknownSince": at_text(record.pending_unknown_since),
        "readAt": at_text(record.read_at),
        "grantedBy": sorted(record.granted_by),
        "grantedThroughGroups": sorted(record.granted_through_groups),
        "endedAt": [at_text(each) for each in record.ended_at],
        "flapping": None if record.flapping is None else _flapping_document(record.flapping),
        "explainedUntil": at_text(record.explained_until),
        "toldUntil": at_text(record.told_until),
        "standing": None if record.standing is None else _standing_document(record.standing),
    }


def _standing_document(standing: Standing) -> dict[str, object]:
    return {
        "state": str(standing.state),
        "codes": sorted(standing.codes),
        "causeKey": standing.cause_key,
        "openedAt": at_text(standing.opened_at),
        "after": at_text(standing.after),
        "lostAt": at_text(standing.lost_at),
        "lostForSeconds": standing.lost_for.total_seconds(),
        "actorNamed": standing.actor_named,
        "operations": sorted(standing.operations),
        "explainedUntil": at_text(standing.explained_until),
        "vanished": None if standing.vanished is None else sorted(standing.vanished),
        "exempted": standing.exempted,
        "exemptionReason": standing.exemption_reason,
        "lagSeconds": standing.lag.total_seconds(),
        "remindedAt": at_text(standing.reminded_at),
        "unseen": sorted(standing.unseen),
    }


def record_from(document: Document) -> BindingRecord:
    """The record of a stored document."""
    standing = member(document, "standing")
    return BindingRecord(
        binding_id=text(document, "bindingId"),
        sequence=int(number(document, "sequence")),
        state=word(document, "state", State),
        pending_unknown_since=time(document.get("pendingUnknownSince")),
        read_at=time(document.get("readAt")),
        granted_by=texts(document, "grantedBy"),
        granted_through_groups=texts(document, "grantedThroughGroups"),
        ended_at=tuple(times(document, "endedAt")),
        flapping=None if (flapping := member(document, "flapping")) is None else _flapping_from(flapping),
        explained_until=time(document.get("explainedUntil")),
        told_until=time(document.get("toldUntil")),
        standing=None if standing is None else _standing_from(standing),
    )


def _standing_from(document: Document) -> Standing:
    opened = time(document.get("openedAt"))
    if opened is None:
        raise DecodeError("$.standing.openedAt", "expected a time in a stored document")
    return Standing(
        state=word(document, "state", State),
        codes=texts(document, "codes"),
        cause_key=text(document, "causeKey"),
        opened_at=opened,
        after=time(document.get("after")),
        lost_at=time(document.get("lostAt")),
        lost_for=timedelta(seconds=number(document, "lostForSeconds")),
        actor_named=document.get("actorNamed") is True,
        operations=texts(document, "operations"),
        explained_until=time(document.get("explainedUntil")),
        vanished=None if document.get("vanished") is None else texts(document, "vanished"),
        exempted=document.get("exempted") is True,
        exemption_reason=maybe(document, "exemptionReason"),
        # Records of earlier releases do not tell
        lag=timedelta(seconds=number(document, "lagSeconds") if "lagSeconds" in document else 0),
        reminded_at=time(document.get("remindedAt")),
        unseen=texts(document, "unseen"),
    )


def _flapping_document(flapping: Flapping) -> dict[str, object]:
    return {
        "since": at_text(flapping.since),
        "told": _standing_document(flapping.told),
        "turnedAt": at_text(flapping.turned_at),
        "ends": flapping.ends,
        "lostForSeconds": flapping.lost_for.total_seconds(),
    }


def _flapping_from(document: Document) -> Flapping:
    since, turned_at, told = time(document.get("since")), time(document.get("turnedAt")), member(document, "told")
    if since is None or turned_at is None or told is None:
        raise DecodeError("$.flapping", "expected times and a standing in a stored document")
    return Flapping(
        since=since,
        told=_standing_from(told),
        turned_at=turned_at,
        ends=int(number(document, "ends")),
        lost_for=timedelta(seconds=number(document, "lostForSeconds")),
    )
