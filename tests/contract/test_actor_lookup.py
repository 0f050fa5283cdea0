"""The KQL in `ActorLookup`, before Microsoft's own language service: every scenario, kind of alert and finding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keydrift.alerts.actor import Explanation
from keydrift.alerts.actor_lookup import actor_lookup
from keydrift.alerts.change import Change
from keydrift.catalogue import CODES
from keydrift.drift import Alert, Kind, Via
from keydrift.model import Finding, KeyBinding, PermissionModel, Scenario, State, Verdict
from support.builders import NOW, binding, key_at
from support.kusto import Diagnosis, diagnose
from support.tenants import HEALTHY

COLUMNS = dict.fromkeys(("Operation", "Who", "Ip", "On", "CorrelationId"), "string") | {"TimeGenerated": "datetime"}


def alert(of: KeyBinding, code: str, kind: Kind) -> Alert:
    finding = Finding(code=code, level=CODES[code].level, summary=code)
    return Alert(
        id="a",
        kind=kind,
        sequence=1,
        verdict=Verdict(binding=of, state=State.LOST, read_at=NOW, findings=(finding,)),
        previous=State.HELD,
        via=Via.SWEEP,
        detected_at=NOW,
        cause_key="c",
        explanation=Explanation.none(),
        change=Change.WORSE,
    )


def lookups() -> dict[str, str]:
    mine = binding(Scenario.CVM_CMK)
    # A name that Azure would not allow; a file of declared key bindings might
    strange = replace(mine, target=key_at(store=str(mine.target.store_id).replace("kv1", "kv\"1'")))
    nowhere = replace(mine, target=replace(mine.target, store_id=None))
    made = {
        f"{scenario} {model}": alert(binding(scenario, model), "key-disabled", Kind.OPENED)
        for scenario, model in HEALTHY
        if model is not PermissionModel.ACCESS_POLICY
    }
    made |= {f"{code} {kind}": alert(mine, code, kind) for code in CODES for kind in Kind}
    made |= {"strange": alert(strange, "key-disabled", Kind.OPENED), "nowhere": alert(nowhere, "key-disabled", Kind.OPENED)}
    return {name: actor_lookup(each) for name, each in made.items()}


LOOKUPS = lookups()


@pytest.fixture(scope="module")
def diagnoses() -> dict[str, Diagnosis]:
    """One run of Node for all."""
    return diagnose({**LOOKUPS, "broken": LOOKUPS["nowhere"].replace("_ResourceId", "ResourceUri")}, functions={})


def test_every_lookup_is_right(diagnoses: dict[str, Diagnosis]) -> None:
    """Each text names only tables and columns that are there, and answers when, what, who, from where, on what."""
    for name in LOOKUPS:
        assert (name, diagnoses[name].errors) == (name, ())
        assert dict(diagnoses[name].columns) == COLUMNS


def test_a_wrong_lookup_is_refused(diagnoses: dict[str, Diagnosis]) -> None:
    """A column that is not there is found."""
    assert "ResourceUri" in diagnoses["broken"].errors[0]
