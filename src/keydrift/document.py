"""Verdicts and failed reads as JSON documents: what scan and posture show (formats). Pure."""

from __future__ import annotations

from keydrift.alerts.row import exemption_document, finding_document, proof_document, stamp
from keydrift.catalogue import severity_of
from keydrift.declared import NOT_EXEMPT, ExemptionOutcome
from keydrift.facts import Unread
from keydrift.model import AppIdentity, Verdict


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
