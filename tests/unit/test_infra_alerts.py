"""The alert rules on the monitor itself, their queries run on rows that the product renders."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import timedelta

import pytest

from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.tables import HEALTH, HEALTH_COLUMNS
from keydrift_local.azure.log_analytics import LogAnalytics
from support.bicep import INFRA, Declared, literal, members, read, text_of
from support.builders import NOW

_RULES = read(INFRA / "modules/health-alerts.bicep")
_OPERATORS = {"LessThan": operator.lt, "GreaterThan": operator.gt}


def fires(rule: Declared, readings: Sequence[HealthReading]) -> bool:
    """Whether a rule fires on a window that holds these readings."""
    logs = LogAnalytics(lambda: NOW)
    logs.declare(HEALTH, HEALTH_COLUMNS)
    logs.accept(HEALTH, [health_row(each, NOW - timedelta(minutes=1), None) for each in readings])
    criteria = rule.member("properties", "criteria", "allOf")
    assert criteria is not None
    criterion = members(criteria.named_children[0])
    query, column = literal(criterion["query"]), literal(criterion["metricMeasureColumn"])
    assert query is not None
    assert literal(criterion["timeAggregation"]) == "Total"
    compare = _OPERATORS[literal(criterion["operator"]) or ""]
    threshold = int(text_of(criterion["threshold"]))
    return any(compare(int(str(row[column or ""])), threshold) for row in logs.query(query))


def reading(check: HealthCheck, status: HealthStatus) -> HealthReading:
    return HealthReading(check=check, status=status, summary="s")


ALIVE = reading(HealthCheck.HEARTBEAT, HealthStatus.OK)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ((), True),
        ((ALIVE,), False),
        ((ALIVE, ALIVE), False),
        ((reading(HealthCheck.SWEEP, HealthStatus.OK),), True),
        ((reading(HealthCheck.CANARY, HealthStatus.FAILED),), True),
    ],
)
def test_silence_is_an_incident(readings: tuple[HealthReading, ...], expected: bool) -> None:
    """The rule fires when no heartbeat came, even where no row came at all, and whatever else did."""
    assert fires(_RULES.resource("silence"), readings) is expected


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ((), False),
        ((ALIVE,), False),
        ((ALIVE, reading(HealthCheck.SWEEP, HealthStatus.FAILED)), True),
        ((reading(HealthCheck.DEAD_LETTERS, HealthStatus.WARNING), reading(HealthCheck.CANARY, HealthStatus.UNKNOWN)), False),
    ],
)
def test_a_failed_check_is_an_incident(readings: tuple[HealthReading, ...], expected: bool) -> None:
    """The rule fires when a check failed, and not for warnings or what could not be told."""
    assert fires(_RULES.resource("failure"), readings) is expected


def test_somebody_is_told() -> None:
    """Both rules look at the same window of the workspace and tell the action groups that the operator names."""
    for rule in ("silence", "failure"):
        properties = members(_RULES.resource(rule).member("properties"))
        assert text_of(properties["windowSize"]) == "heartbeatWindow"
        assert text_of(members(properties["actions"])["actionGroups"]) == "actionGroups"
    passed = members(read(INFRA / "main.bicep").module("alerts").member("params"))
    assert text_of(passed["actionGroups"]) == "actionGroupIds"
