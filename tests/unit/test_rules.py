"""The rules within the limits of Microsoft Sentinel and Azure Monitor, and of one source."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from support import rules
from support.kusto import KQL, ROOT, texts

# https://learn.microsoft.com/azure/sentinel/map-data-fields-to-entities, …/entities-reference: the identifiers of those in use
_IDENTIFIERS = {
    "Account": {"FullName", "Name", "UPNSuffix", "AadTenantId", "AadUserId", "PUID", "ObjectGuid", "DisplayName"},
    "IP": {"Address"},
    "AzureResource": {"ResourceId"},
    "CloudApplication": {"AppId", "Name", "InstanceName"},
}
# https://attack.mitre.org, in Sentinel's spelling of the tactics
_TACTICS = {"Impact": {"T1485", "T1486", "T1490"}, "DefenseEvasion": {"T1562"}}
# https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-create-log-alert-rule: what a log alert's times may be
_FREQUENCIES = {"PT5M", "PT10M", "PT15M", "PT30M", "PT45M", "PT1H", "PT2H", "PT3H", "PT4H", "PT5H", "PT6H", "P1D"}
_WINDOWS = _FREQUENCIES | {"P2D"}


def _hours(text: str) -> float:
    """A Sentinel YAML duration, such as `5m` or `3h`."""
    found = re.fullmatch(r"(\d+)([mh])", text)
    assert found is not None, f"`{text}` is no duration that the Bicep can turn into ISO 8601"
    return int(found[1]) / (60 if found[2] == "m" else 1)


def test_every_query_is_a_rule_everywhere() -> None:
    """Each query is a rule of Sentinel, in YAML and in Bicep, and a log alert of Azure Monitor."""
    assert sorted(path.stem for path in rules.SENTINEL.glob("*.yaml")) == rules.NAMES
    assert sorted(rules.monitor()) == rules.NAMES
    loaded = re.findall(
        r"loadTextContent\('../kql/rules/([\w-]+)\.kql'\)", rules.module("sentinel") + rules.module("sentinel-nrt")
    )
    assert sorted(loaded) == rules.NAMES


@pytest.mark.parametrize("name", rules.NAMES)
def test_the_yaml_holds_the_query_of_its_file(name: str) -> None:
    """There is one source of a query: its file. The YAML's copy is the same to the letter."""
    path = KQL / "rules" / f"{name}.kql"
    assert rules.sentinel(name)["query"] == path.read_text(encoding="utf-8"), f"copy {path.relative_to(ROOT)} into the YAML"


@pytest.mark.parametrize("name", rules.NAMES)
def test_a_rule_keeps_to_the_limits_of_sentinel(name: str) -> None:
    """Severity, entity mappings, custom details, texts and query of a rule are such as Sentinel takes."""
    rule = rules.sentinel(name)
    assert UUID(rule["id"])
    assert rule["severity"] in {"High", "Medium", "Low", "Informational"}
    assert 1 <= len(rule["query"]) <= 10_000
    assert 1 <= len(rule["entityMappings"]) <= 5
    for mapping in rule["entityMappings"]:
        identifiers = [field["identifier"] for field in mapping["fieldMappings"]]
        assert 1 <= len(identifiers) <= 3
        assert set(identifiers) <= _IDENTIFIERS[mapping["entityType"]]
    assert 1 <= len(rule["customDetails"]) <= 20
    assert [key for key in rule["customDetails"] if not re.fullmatch(r"[A-Za-z]\w{0,19}", key)] == []
    override = rule["alertDetailsOverride"]
    for key in ("alertDisplayNameFormat", "alertDescriptionFormat"):
        assert len(re.findall(r"\{\{", override[key])) <= 3
    assert len(override["alertDisplayNameFormat"]) <= 256
    assert len(rule["name"]) <= 256


@pytest.mark.parametrize("name", rules.NAMES)
def test_a_rule_groups_by_what_it_tells(name: str) -> None:
    """Alerts join one incident by custom details that the rule has; each result is an alert of its own."""
    rule = rules.sentinel(name)
    grouping = rule["incidentConfiguration"]["groupingConfiguration"]
    assert grouping["enabled"] is True
    assert grouping["matchingMethod"] == "Selected"
    assert set(grouping["groupByCustomDetails"]) <= rule["customDetails"].keys()
    assert grouping["groupByCustomDetails"]
    assert rule["eventGroupingSettings"]["aggregationKind"] == "AlertPerResult"


def test_causes_make_incidents() -> None:
    """Whatever concerns key bindings is grouped by CauseKey: one cause, one incident."""
    grouped = {
        name: rules.sentinel(name)["incidentConfiguration"]["groupingConfiguration"]["groupByCustomDetails"]
        for name in rules.NAMES
    }
    assert [name for name, by in grouped.items() if by == ["CauseKey"]] == ["at-risk", "key-changed", "lost", "unknown"]


@pytest.mark.parametrize("name", rules.NAMES)
def test_tactics_fit_techniques(name: str) -> None:
    """A rule's techniques are of its tactics, and none of its tactics is without one."""
    rule = rules.sentinel(name)
    known = {technique for tactic in rule["tactics"] for technique in _TACTICS[tactic]}
    assert set(rule["relevantTechniques"]) <= known
    assert all(_TACTICS[tactic] & set(rule["relevantTechniques"]) for tactic in rule["tactics"])


def test_near_real_time_rules_are_their_yaml() -> None:
    """The ARM template takes all that such a rule is from its YAML: each member it names is there, in each rule."""
    template = (ROOT / "infra" / "sentinel-nrt.json").read_text(encoding="utf-8")
    named = set(re.findall(r"parameters\('rules'\)\[copyIndex\(\)\]\.(\w+)", template))
    passed = re.findall(
        r"union\(loadYamlContent\('../sentinel/([\w-]+)\.yaml'\), \{\s+query: loadTextContent\('../kql/rules/([\w-]+)\.kql'\)",
        rules.module("sentinel-nrt"),
    )
    assert [yaml for yaml, _ in passed] == [query for _, query in passed] == ["lost", "at-risk", "key-changed"]
    for name, _ in passed:
        rule = rules.sentinel(name)
        assert named <= rule.keys()
        # What neither the template nor Sentinel's repositories take along
        assert rule.keys() - named <= {"kind", "version", "status", "requiredDataConnectors"}


def test_a_loss_is_told_near_real_time() -> None:
    """Keys that are lost, will be or are others now are told by arrival of their row; only these rules need no schedule."""
    kinds = {name: rules.sentinel(name)["kind"] for name in rules.NAMES}
    assert {name for name, kind in kinds.items() if kind == "NRT"} == {"lost", "at-risk", "key-changed"}
    for name, kind in kinds.items():
        assert ("queryFrequency" in rules.sentinel(name)) is (kind == "Scheduled")
        assert (f"'../kql/rules/{name}.kql'" in rules.module("sentinel-nrt")) is (kind == "NRT")


@pytest.mark.parametrize("name", ["monitor-blind", "monitor-silent", "unknown"])
def test_a_schedule_leaves_no_gap(name: str) -> None:
    """A scheduled rule looks back further than to its last run."""
    rule = rules.sentinel(name)
    assert _hours(rule["queryPeriod"]) > _hours(rule["queryFrequency"]) >= 5 / 60
    assert (rule["triggerOperator"], rule["triggerThreshold"]) == ("gt", 0)


@pytest.mark.parametrize("name", rules.NAMES)
def test_a_log_alert_keeps_to_the_limits_of_azure_monitor(name: str) -> None:
    """A log alert's times are such as Azure Monitor takes, its windows overlap, and it is as severe as Sentinel's rule."""
    entry = dict(re.findall(r"^    (\w+): '?([\w-]+)'?$", rules.monitor()[name], re.MULTILINE))
    assert entry["frequency"] in _FREQUENCIES
    assert entry["window"] in _WINDOWS
    assert _iso_minutes(entry["window"]) > _iso_minutes(entry["frequency"])
    assert entry["severity"] == {"High": "1", "Medium": "2"}[rules.sentinel(name)["severity"]]
    assert (name == "monitor-silent") == (rules.dimensions(name) == [])
    assert len(rules.dimensions(name)) <= 6
    assert f"loadTextContent('../kql/rules/{name}.kql')" in rules.monitor()[name]


@pytest.mark.parametrize("name", rules.NAMES)
def test_a_query_looks_no_further_than_its_rule(name: str) -> None:
    """A rule is shown at least the time that its query asks for by `ago`."""
    asked = max((_hours(each) for each in re.findall(r"ago\((\w+)\)", texts("rules")[name])), default=0)
    entry = dict(re.findall(r"^    (\w+): '?([\w-]+)'?$", rules.monitor()[name], re.MULTILINE))
    assert _iso_minutes(entry["window"]) / 60 > asked
    rule = rules.sentinel(name)
    if rule["kind"] == "Scheduled":
        assert _hours(rule["queryPeriod"]) > asked


def _iso_minutes(text: str) -> int:
    days = re.fullmatch(r"P(\d+)D", text)
    if days:
        return int(days[1]) * 1440
    found = re.fullmatch(r"PT(\d+)([MH])", text)
    assert found is not None, text
    return int(found[1]) * (1 if found[2] == "M" else 60)
