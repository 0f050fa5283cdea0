"""Scenario files that are right; the mistakes stand in `tests/e2e/test_command_line.py`, as a person meets them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from keydrift.errors import ConfigError
from keydrift_local.scenario_file import Advance, Change, Fault, PlacedChange, RawEvent, ScenarioFile, Sweep, load_scenario

TENANT = {"tenantId": "00000000-0000-0000-0000-0000000000aa"}


def _load(folder: Path, **members: object) -> ScenarioFile:
    path = folder / "scenario.json"
    path.write_text(json.dumps({"tenant": TENANT, "steps": [], **members}))
    return load_scenario(path)


def test_every_kind_of_step(tmp_path: Path) -> None:
    """Each documented step is read, with the place where it stands."""
    fault = {"match": "GET *", "status": 429, "times": 2}
    steps = [
        {"sweep": True},
        {"change": {"delete": "/subscriptions/x"}, "actor": {"objectId": "o", "upn": "u", "appId": "a", "ip": "i"}},
        {"change": {"merge": {"id": "x"}}, "silent": True},
        {"event": {"id": "e"}},
        {"event": ["not an object"]},
        {"event": "text"},
        {"fault": fault},
        {"fault": None},
        {"advance": "PT10M"},
    ]
    scenario = _load(tmp_path, steps=steps)
    at = f"{tmp_path / 'scenario.json'}: $.steps"
    actor = {"objectId": "o", "upn": "u", "appId": "a", "ip": "i"}
    assert scenario.steps == (
        Sweep(),
        Change(changes=(PlacedChange(body={"delete": "/subscriptions/x"}, where=f"{at}[1].change"),), actor=actor, silent=False),
        Change(changes=(PlacedChange(body={"merge": {"id": "x"}}, where=f"{at}[2].change"),), actor=None, silent=True),
        RawEvent(event={"id": "e"}),
        RawEvent(event=["not an object"]),
        RawEvent(event="text"),
        Fault(fault=fault, where=f"{at}[6].fault"),
        Fault(fault=None, where=f"{at}[7].fault"),
        Advance(by=timedelta(minutes=10)),
    )


def test_changes_made_together(tmp_path: Path) -> None:
    """A list of changes is one step with one actor, each with its place; an empty list is refused."""
    together: list[dict[str, object]] = [{"delete": "/subscriptions/x"}, {"put": {"id": "y"}}]
    (step,) = _load(tmp_path, steps=[{"change": together, "actor": {"upn": "u"}}]).steps
    at = f"{tmp_path / 'scenario.json'}: $.steps[0].change"
    placed = (PlacedChange(body=together[0], where=f"{at}[0]"), PlacedChange(body=together[1], where=f"{at}[1]"))
    assert step == Change(changes=placed, actor={"upn": "u"}, silent=False)
    with pytest.raises(ConfigError, match=r"\$\.steps\[0\]\.change: expected at least one change"):
        _load(tmp_path, steps=[{"change": []}])
    with pytest.raises(ConfigError, match=r"\$\.steps\[0\]\.change\[1\]: expected an object"):
        _load(tmp_path, steps=[{"change": [together[0], "x"]}])


@pytest.mark.parametrize(
    ("written", "by"),
    [
        ("PT0S", timedelta()),
        ("PT1.5S", timedelta(seconds=1.5)),
        ("P2D", timedelta(days=2)),
        ("P1W", timedelta(weeks=1)),
        ("P1DT12H", timedelta(hours=36)),
    ],
)
def test_durations(tmp_path: Path, written: str, by: timedelta) -> None:
    """Durations are ISO 8601 in weeks, days and times: those that mean the same always."""
    assert _load(tmp_path, steps=[{"advance": written}]).steps == (Advance(by=by),)


@pytest.mark.parametrize("written", ["P1M", "", "1h", "-PT1S", 10, None, ["PT1S"]])
def test_durations_that_are_none(tmp_path: Path, written: object) -> None:
    """A month is no duration that a clock can be moved by, nor is a number or a negative one."""
    with pytest.raises(ConfigError, match=r"\$\.steps\[0\]\.advance: expected an ISO 8601 duration"):
        _load(tmp_path, steps=[{"advance": written}])


def test_settings_are_texts_numbers_and_lists(tmp_path: Path) -> None:
    """A setting may be written as text, as a number or as a list."""
    settings = {"KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS": 14, "KEYDRIFT_SUBSCRIPTIONS": ["a", "b"], "KEYDRIFT_TABLE": "t"}
    shown = {"KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS": "14", "KEYDRIFT_SUBSCRIPTIONS": "a,b", "KEYDRIFT_TABLE": "t"}
    assert _load(tmp_path, settings=settings).settings == shown


def test_an_expectation_of_nothing_is_not_no_expectation(tmp_path: Path) -> None:
    """An empty list expects that nothing is alerted; without one nothing is expected."""
    assert _load(tmp_path, expect=[]).expect == ()
    assert _load(tmp_path).expect is None


def test_a_tenant_beside_the_file(tmp_path: Path) -> None:
    """A tenant may stand in a file of its own, named from where the scenario file is; its mistakes are named by that file."""
    (tmp_path / "tenants").mkdir()
    beside = tmp_path / "tenants" / "one.json"
    beside.write_text(json.dumps(TENANT))
    assert _load(tmp_path, tenant="tenants/one.json").tenant.tenant_id == TENANT["tenantId"]
    beside.write_text("{}")
    with pytest.raises(ConfigError) as raised:
        _load(tmp_path, tenant="tenants/one.json")
    assert str(raised.value).startswith(f"{beside}: $.tenantId")
