"""What leaves for other products' readers: OCSF against two independent readings of its schema, SARIF against its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from ocsf_json_schema.embedded import OcsfJsonSchemaEmbedded
from ocsf_json_schema.loader import get_ocsf_schema
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from keydrift import ocsf, sarif
from keydrift.alerts.actor import Confidence, Explanation, Heard
from keydrift.alerts.row import alert_row, posture_row
from keydrift.catalogue import CODES, level_of
from keydrift.declared import NOT_EXEMPT, Exemption, ExemptionOutcome, Match
from keydrift.drift import Alert, Kind, Via, alert_id
from keydrift.model import Actor, ChangeNotice, Finding, PermissionModel, Scenario, State, Verdict
from support.azurite import install_node_modules
from support.builders import NOW, TENANT, VAULT, rid, unread
from support.postures import lost_finding, mixed, verdict

type Document = dict[str, Any]

EXEMPT = ExemptionOutcome(
    by=(
        Exemption(
            match=Match(scenario="*"),
            codes=frozenset({"*"}),
            justification="a test",
            author="team",
            expires=NOW + timedelta(days=1),
        ),
    )
)
HOSTILE = "</script>{0} [x](javascript:alert) \u202e \x00 " + "x" * 10_000
NOTICE = ChangeNotice(
    event_id="e1",
    event_type="Microsoft.Resources.ResourceDeleteSuccess",
    operation="Microsoft.Authorization/roleAssignments/delete",
    resource_id=rid(f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/x"),
    occurred_at=NOW - timedelta(minutes=1),
    actor=Actor(object_id="11111111-0000-0000-0000-000000000001", name="dana@contoso.com", app_id="a1", ip="192.0.2.7"),
    correlation_id="c1",
)
EXPLAINED = Explanation(heard=Heard(notice=NOTICE, received_at=NOW), confidence=Confidence.CERTAIN)


def with_code(code: str, scenario: Scenario = Scenario.CVM_CMK) -> Verdict:
    """A verdict whose finding has that code."""
    level = level_of(code, scenario)
    found = Finding(code=code, level=level, summary=f"{CODES[code].title}, said at length", remediation="az something")
    return verdict(level, scenario=scenario, findings=(found,), permission_model=PermissionModel.RBAC, missing=("keys/get",))


def alert(of: Verdict, kind: Kind, explanation: Explanation, **changes: Any) -> Document:
    """An alert's row."""
    made = Alert(
        id=alert_id(of.binding.id, 5),
        kind=kind,
        sequence=5,
        verdict=of,
        previous=State.LOST if kind is Kind.RESOLVED else State.HELD,
        via=Via.EVENT,
        detected_at=NOW,
        cause_key="cause",
        explanation=explanation,
    )
    return alert_row(replace(made, **changes), TENANT)


# --- OCSF ----------------------------------------------------------------------------------------------------------------


@cache
def _schema() -> Draft202012Validator:
    built = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.OCSF_VERSION)).get_class_schema("detection_finding", ["cloud"])
    Draft202012Validator.check_schema(built)
    return Draft202012Validator(built)


def check_ocsf(event: Mapping[str, object]) -> DetectionFinding:
    """The event as `py-ocsf-models` reads it, once the published schema of the class allows every member of it."""
    plain = json.loads(json.dumps(event, allow_nan=False))
    assert [f"{each.json_path}: {each.message[:200]}" for each in _schema().iter_errors(plain)] == []
    read = DetectionFinding.model_validate(plain)
    assert (read.class_uid, read.category_uid, read.metadata.version) == (2004, 2, "1.5.0")
    assert read.type_uid == read.class_uid * 100 + read.activity_id
    return read


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_a_detection_finding(code: str) -> None:
    """A scan's finding of every code of the catalogue is a valid Detection Finding with its title, severity and command."""
    for exemption in (NOT_EXEMPT, EXEMPT):
        row = posture_row(with_code(code), exemption, "scan", NOW, TENANT)
        read = check_ocsf(ocsf.scan_finding(row))
        assert read.finding_info.uid == row["BindingId"]
        assert read.finding_info.title.startswith(CODES[code].title)
        assert read.severity == row["Severity"]
        assert read.severity_id.name == row["Severity"]
        assert read.status_id is not None
        assert read.status_id.name == ("Suppressed" if exemption.exempted else "New")
        assert read.remediation is not None
        assert read.remediation.desc == "az something"


@pytest.mark.parametrize("explanation", [Explanation.none(), EXPLAINED], ids=["nobody", "somebody"])
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_alert_is_a_detection_finding(kind: Kind, explanation: Explanation) -> None:
    """Opened creates, changed updates and resolved closes one and the same finding, named by the key binding."""
    of = verdict(State.HELD if kind is Kind.RESOLVED else State.LOST)
    row = alert(of, kind, explanation, outage=timedelta(hours=2) if kind is Kind.RESOLVED else None)
    event = ocsf.alert_finding(row)
    read = check_ocsf(event)
    expected = {Kind.OPENED: ("Create", "New"), Kind.CHANGED: ("Update", "New"), Kind.RESOLVED: ("Close", "Resolved")}[kind]
    assert read.status_id is not None
    assert (read.activity_id.name, read.status_id.name) == expected
    assert (read.metadata.uid, read.metadata.sequence, read.metadata.correlation_uid) == (row["AlertId"], 5, "cause")
    assert (read.finding_info.uid, read.finding_info.title, read.time) == (
        row["BindingId"],
        row["Title"],
        int(NOW.timestamp() * 1000),
    )
    assert read.duration == (7_200_000 if kind is Kind.RESOLVED else None)
    assert event["is_alert"] is (kind is not Kind.RESOLVED)


def test_who_did_it_is_told_where_it_is_known() -> None:
    """The actor, operation, correlation and address stand in the first evidence where an event names them, and nowhere else."""
    named: Document = ocsf.alert_finding(alert(verdict(State.LOST), Kind.OPENED, EXPLAINED))
    change, *found = named["evidences"]
    assert change["actor"] == {
        "user": {"uid": "11111111-0000-0000-0000-000000000001", "name": "dana@contoso.com"},
        "app_uid": "a1",
    }
    assert change["api"]["operation"] == "Microsoft.Authorization/roleAssignments/delete"
    assert change["api"]["request"] == {"uid": "c1"}
    assert change["src_endpoint"] == {"ip": "192.0.2.7"}
    assert change["data"]["confidence"] == "certain"
    assert [each["name"] for each in found] == ["access-policy-absent"]
    nobody: Document = ocsf.alert_finding(alert(verdict(State.LOST), Kind.OPENED, Explanation.none()))
    assert [each["name"] for each in nobody["evidences"]] == ["access-policy-absent"]
    assert "dana" not in json.dumps(nobody)


@pytest.mark.parametrize(
    ("code", "techniques"),
    [
        ("role-assignment-absent", ["T1490"]),
        ("key-not-found", ["T1485", "T1490"]),
        ("key-store-not-found", ["T1485", "T1490"]),
        ("purge-protection-off", ["T1490"]),
        ("key-expiring", []),
        ("region-mismatch", []),
        ("facts-unreadable", []),
    ],
)
def test_attack_techniques_are_named_where_they_fit(code: str, techniques: list[str]) -> None:
    """A loss inhibits recovery, a deletion destroys data besides; what is unknown or ages by itself is no technique."""
    info: Any = ocsf.scan_finding(posture_row(with_code(code), NOT_EXEMPT, "scan", NOW, TENANT))["finding_info"]
    assert [each["technique"]["uid"] for each in info.get("attacks", [])] == techniques


def test_hostile_names_and_nothing_known_are_valid_too() -> None:
    """A name of any characters, a store that no subscription shows and a tenant that is not known still make valid events."""
    of = verdict(State.LOST, findings=(lost_finding(summary=HOSTILE, evidence={HOSTILE: HOSTILE}),))
    bare = replace(of, binding=replace(of.binding, target=replace(of.binding.target, store_id=None), consumers=()))
    row = posture_row(bare, NOT_EXEMPT, "scan", NOW, None)
    read = check_ocsf(ocsf.scan_finding(row))
    assert read.message == HOSTILE
    assert read.resources is not None
    assert len(read.resources) == 2


def test_what_could_not_be_read_is_a_finding_too() -> None:
    """A source that could not be read is a finding of its own: the same one at the next scan."""
    first, second = (check_ocsf(ocsf.unread_finding(unread(), NOW + timedelta(days=day), None)) for day in (0, 1))
    other = check_ocsf(ocsf.unread_finding(unread("another", None, ""), NOW, TENANT))
    assert first.finding_info.uid == second.finding_info.uid != other.finding_info.uid


# --- SARIF ---------------------------------------------------------------------------------------------------------------


@cache
def _sarif_schema() -> Draft7Validator:
    _, modules = install_node_modules()
    path = modules / "@microsoft" / "jest-sarif" / "lib" / "schemas" / "sarif-2.1.0-rtm.5.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema["title"] == "Static Analysis Results Format (SARIF) Version 2.1.0-rtm.5 JSON Schema"
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def checked(log: Document) -> Document:
    """The one run of a log that its schema allows."""
    plain: Document = json.loads(json.dumps(log, allow_nan=False))
    assert [f"{each.json_path}: {each.message[:200]}" for each in _sarif_schema().iter_errors(plain)] == []
    (run,) = plain["runs"]
    found: Document = run
    return found


def a_log(verdicts: list[Verdict], exempt: ExemptionOutcome = NOT_EXEMPT, **more: Any) -> Document:
    given: Document = {"unread": (), "unlisted": (), "at": NOW, "exit_status": 1, **more}
    return checked(sarif.log(verdicts, lambda _: exempt, **given))


def test_the_schema_refuses_what_is_wrong() -> None:
    """The schema in use is not one that lets everything pass."""
    log = sarif.log(mixed(), lambda _: NOT_EXEMPT, unread=(), unlisted=(), at=NOW, exit_status=0)
    wrong: Document = json.loads(json.dumps(log))
    wrong["runs"][0]["results"][0]["level"] = "severe"
    assert not _sarif_schema().is_valid(wrong)


def test_every_code_is_a_rule_with_help() -> None:
    """The catalogue's codes are the rules, each with its title, a level and a text that says what it means."""
    rules = a_log([])["tool"]["driver"]["rules"]
    assert [each["id"] for each in rules] == list(CODES)
    by_id = {each["id"]: each for each in rules}
    assert by_id["role-assignment-absent"]["defaultConfiguration"] == {"level": "error"}
    assert by_id["facts-unreadable"]["defaultConfiguration"] == {"level": "warning"}
    assert by_id["key-expiring"]["defaultConfiguration"] == {"level": "warning"}
    assert by_id["purge-protection-off"]["defaultConfiguration"] == {"level": "note"}
    assert (
        "May be brought about by: microsoft.authorization/roleassignments/delete."
        in by_id["role-assignment-absent"]["help"]["text"]
    )


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_a_result(code: str) -> None:
    """A finding of every code is a result with its rule, key store, stable fingerprint and command."""
    of = with_code(code)
    run = a_log([of])
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == code
    assert result["level"] == {"lost": "error", "unknown": "warning"}.get(
        of.state, "warning" if CODES[code].by_itself else "note"
    )
    (location,) = result["locations"]
    store = str(of.binding.target.store_id)
    assert location["logicalLocations"][0]["fullyQualifiedName"] == store
    assert f"/{location['physicalLocation']['artifactLocation']['uri']}" == store
    assert result["partialFingerprints"] == {"keyBindingAndCode/v1": f"{of.binding.id}/{code}"}
    assert result["suppressions"] == []
    assert "az something" in result["message"]["text"]


def test_held_is_no_result_and_two_alike_have_two_fingerprints() -> None:
    """What is held makes no result; two findings of one code and key binding are told apart."""
    twice = verdict(State.LOST, findings=(lost_finding(), lost_finding(summary="another")))
    results = a_log([verdict(State.HELD), twice])["results"]
    fingerprints = [each["partialFingerprints"]["keyBindingAndCode/v1"] for each in results]
    assert fingerprints == [f"{twice.binding.id}/access-policy-absent", f"{twice.binding.id}/access-policy-absent/2"]


def test_an_exempted_finding_is_suppressed() -> None:
    """An exemption is an accepted suppression with its justification, author and expiry."""
    (result,) = a_log([verdict(State.LOST)], EXEMPT)["results"]
    (suppression,) = result["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"] == "a test (team, expires 2026-03-02T12:00:00Z)"


def test_a_blind_scan_does_not_look_like_a_clean_one() -> None:
    """What could not be read is a notification, an error where a key binding may hide behind it; then the scan is no success."""
    hiding, other = unread("backup vaults"), unread("a group", None)
    blind = a_log([], unread=(hiding, other), unlisted=(hiding,), exit_status=3)["invocations"][0]
    assert (blind["executionSuccessful"], blind["exitCode"], blind["endTimeUtc"]) == (False, 3, "2026-03-01T12:00:00.000Z")
    assert [each["level"] for each in blind["toolExecutionNotifications"]] == ["error", "warning"]
    assert "backup vaults: HTTP 403 AuthorizationFailed" in blind["toolExecutionNotifications"][0]["message"]["text"]
    assert a_log([])["invocations"][0]["executionSuccessful"] is True


def test_a_hostile_name_is_no_link_and_no_placeholder() -> None:
    """Brackets and braces of a message are literal, and the command as it is stands among the properties."""
    of = verdict(State.LOST, findings=(lost_finding(summary=HOSTILE, remediation="az rest --body '{}'"),))
    bare = replace(of, binding=replace(of.binding, target=replace(of.binding.target, store_id=None)))
    (result,) = a_log([bare])["results"]
    text = result["message"]["text"]
    assert "{{0}} \\[x\\](javascript:alert)" in text
    assert result["properties"]["remediation"] == "az rest --body '{}'"
    assert "physicalLocation" not in result["locations"][0]
