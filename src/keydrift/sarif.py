"""A scan as SARIF 2.1.0, for code scanning and whatever else reads it (docs.oasis-open.org/sarif/sarif/v2.1.0). Pure.

The catalogue's codes are the rules, findings the results, exemptions suppressions, and what could not be read stands among the
invocation's notifications, so that a scan that saw half does not look like one that found nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import quote

from keydrift import __version__
from keydrift.alerts.row import stamp
from keydrift.catalogue import CODES, Code
from keydrift.declared import ExemptionOutcome
from keydrift.facts import Unread
from keydrift.model import Finding, State, Verdict

type Document = dict[str, object]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASE = "AZURE_RESOURCE_MANAGER"
_RULES = {code: index for index, code in enumerate(CODES)}
_MEANING = {
    State.LOST: "Azure Backup cannot use the key: backups, restores or the expiry of restore points fail.",
    State.UNKNOWN: "Whether Azure Backup may use the key could not be decided.",
    State.AT_RISK: "Azure Backup can use the key now; that may end, or is not what Microsoft asks for.",
}


def log(
    verdicts: Sequence[Verdict],
    exemption: Callable[[Verdict], ExemptionOutcome],
    *,
    unread: Sequence[Unread],
    unlisted: Sequence[Unread],
    at: datetime,
    exit_status: int,
) -> Document:
    """The SARIF log of one scan. `unlisted` are those of `unread` behind which a key binding may hide: errors, not warnings."""
    hiding = frozenset(unlisted)
    run: Document = {
        "tool": {"driver": _driver()},
        "automationDetails": {"id": "keydrift/scan/"},
        "invocations": [
            {
                "executionSuccessful": not hiding,
                "exitCode": exit_status,
                "endTimeUtc": stamp(at),
                "toolExecutionNotifications": [_notification(each, hides=each in hiding) for each in unread],
            }
        ],
        "originalUriBaseIds": {_BASE: {"description": {"text": "Resource ids are relative to Azure Resource Manager."}}},
        "results": [each for verdict in verdicts for each in _results(verdict, exemption(verdict))],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver() -> Document:
    return {
        "name": "keydrift",
        "semanticVersion": __version__,
        "shortDescription": {"text": "Detects when Azure Backup loses access to the keys that its backups depend on."},
        "rules": [_rule(code, each) for code, each in CODES.items()],
    }


def _rule(code: str, each: Code) -> Document:
    title = each.title
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": f"{title}."},
        "fullDescription": {"text": f"{title}. {_MEANING[each.level]}"},
        "defaultConfiguration": {"level": _level(each.level, by_itself=each.by_itself)},
        "help": {"text": _help(each)},
        "properties": {"verdict": str(each.level)},
    }


def _help(each: Code) -> str:
    lines = [f"{each.title}. {_MEANING[each.level]}"]
    if each.by_itself:
        lines.append("It becomes a loss with time alone.")
    for words, operations in (("May be brought about by", each.causes), ("May be ended by", each.repairs)):
        if operations:
            lines.append(f"{words}: {', '.join(operations)}.")
    lines.append("Each result names the command that repairs it, where there is one.")
    return "\n".join(lines)


def _level(level: State, *, by_itself: bool) -> str:
    """SARIF's word: as severities are, an endangered key is a warning only where it becomes lost by itself."""
    match level:
        case State.LOST:
            return "error"
        case State.UNKNOWN:
            return "warning"
        case _:
            return "warning" if by_itself else "note"


def _results(verdict: Verdict, exemption: ExemptionOutcome) -> list[Document]:
    made: list[Document] = []
    seen: Counter[str] = Counter()
    for finding in verdict.findings:
        seen[finding.code] += 1
        made.append(_result(verdict, finding, seen[finding.code], exemption))
    return made


def _result(verdict: Verdict, finding: Finding, nth: int, exemption: ExemptionOutcome) -> Document:
    binding, key = verdict.binding, str(verdict.binding.target.uri.versionless)
    repair = f"\nTo repair: {finding.remediation}" if finding.remediation else ""
    fingerprint = f"{binding.id}/{finding.code}" + (f"/{nth}" if nth > 1 else "")
    return {
        "ruleId": finding.code,
        "ruleIndex": _RULES[finding.code],
        "level": _level(finding.level, by_itself=CODES[finding.code].by_itself),
        "message": {"text": _literal(f"{finding.summary}\nKey: {key}, scenario {binding.scenario}.{repair}")},
        "locations": [_location(verdict)],
        "partialFingerprints": {"keyBindingAndCode/v1": fingerprint},
        "suppressions": [{"kind": "external", "status": "accepted", "justification": exemption.reason}]
        if exemption.exempted
        else [],
        "properties": {
            "keyBinding": binding.id,
            "scenario": str(binding.scenario),
            "verdict": str(verdict.state),
            "key": key,
            "principal": verdict.principal.object_id if verdict.principal else None,
            "missing": list(verdict.missing),
            "consumers": [str(consumer.id) for consumer in binding.consumers],
            "evidence": {name: list(v) if isinstance(v, tuple) else v for name, v in finding.evidence.items()},
            "remediation": finding.remediation,
            "readAt": stamp(verdict.read_at),
        },
    }


def _location(verdict: Verdict) -> Document:
    """The key store: as a file would be, since many readers show nothing else, and by name."""
    target = verdict.binding.target
    store = verdict.key_store.id if verdict.key_store else target.store_id
    named = {"name": target.uri.object_name, "kind": "resource", "fullyQualifiedName": str(target.uri.versionless)}
    if store is None:
        return {"logicalLocations": [named]}
    path = quote(str(store).lstrip("/"), safe="/-._~()")
    return {
        "physicalLocation": {"artifactLocation": {"uri": path, "uriBaseId": _BASE}},
        "logicalLocations": [{"name": store.name, "kind": "resource", "fullyQualifiedName": str(store)}, named],
    }


def _literal(text: str) -> str:
    """Text that is a message: braces would be placeholders and brackets links (SARIF 3.11.5, 3.11.6), whoever names a vault."""
    doubled = text.replace("{", "{{").replace("}", "}}")
    return doubled.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def _notification(unread: Unread, *, hides: bool) -> Document:
    status = f"HTTP {unread.status} {unread.code}" if unread.status else unread.code
    repair = f"; what would repair it: {unread.repair}" if unread.repair else ""
    return {
        "level": "error" if hides else "warning",
        "message": {"text": _literal(f"could not read {unread.source}: {status}{repair}")},
        "associatedRule": {"id": "facts-unreadable", "index": _RULES["facts-unreadable"]},
    }
