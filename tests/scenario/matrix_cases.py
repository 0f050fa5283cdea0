"""Each cell of the mutation matrix as a scenario file: a healthy tenant, one sweep, the change, and what is to be delivered.

A change whose event tells is found by that event; one that tells nothing is found by a sweep long after. To print a cell's file:
`PYTHONPATH=tests python -m scenario.matrix_cases CODE SCENARIO MODEL`; to play it: `keydrift rehearse FILE --check`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from keydrift.catalogue import level_of
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, PermissionModel, ResourceIdentity, Scenario, State
from keydrift.resource_id import ResourceId
from keydrift.settings import DELIVER_SCHEDULE, PULSE_SCHEDULE, SWEEP_SCHEDULE
from keydrift.watchlist import binding_id
from keydrift_local.documents import JsonObject, member
from scenario.matrix import ROWS, Row
from scenario.matrix_changes import ADMIN, changes_between, events_of
from support.events import key_vault_event
from support.rehearsals import SWEEP, advance
from support.tenants import BACKUP_APP_ID, Document, set_id

type Step = Mapping[str, object]

# No timer comes in between: what is found is found by the change's event, or by the sweep that is a step
ONCE_A_YEAR = dict.fromkeys((SWEEP_SCHEDULE, DELIVER_SCHEDULE, PULSE_SCHEDULE), "0 0 0 31 12 *")
# The actor's grace (15 s) and a new consumer's (30 s) are over, the settling read (2 minutes) is not due
SOON = advance("PT1M")
# The settling read, and the one that confirms a drift (10 minutes), are done
SETTLED = advance("PT13M")
# A day later versions are counted again
NEXT_DAY = advance("P1D")
# An unknown needs a second read, a minute after the first
SECOND_READ = advance("PT2M")


def mutation(code: str, scenario: Scenario, model: PermissionModel) -> Document:
    """The scenario of a mutation. Where its event tells nothing, `SWEEP` stands in it twice: nothing comes before the second."""
    row = ROWS[code]
    start, target = row.start(scenario, model, row.before), _document(row.mutated(scenario, model))
    steps = [*_swept(start), *_change(row, start, target)]
    if row.silence(scenario, model) is None:
        steps += [SOON]
    else:
        steps += [SETTLED, *([NEXT_DAY] if row.daily else []), SWEEP, SECOND_READ]
    found = [_alert(row, each, scenario, model) for each in hit(row, scenario, model)]
    return _file(start, steps, [*_notice(row, scenario, level_of(code, scenario), code), *found])


def near_miss(code: str, scenario: Scenario, model: PermissionModel) -> Document:
    """The scenario of a near-miss: nothing comes of the change, nor of the sweep after it; at most the notice of another key."""
    row = ROWS[code]
    start, target = row.start(scenario, model, row.near_before), _document(row.missed(scenario, model))
    steps = [*_swept(start), *_change(row, start, target), SETTLED, SWEEP, SECOND_READ]
    return _file(start, steps, _notice(row, scenario, State.HELD))


def announcement(code: str, scenario: Scenario, model: PermissionModel) -> Document:
    """The scenario of a time that has come: nobody changes anything, and Key Vault's own event says so (azure-facts 3.1)."""
    row = ROWS[code]
    start, target = row.start(scenario, model, row.before), _document(row.mutated(scenario, model))
    kind = "Secret" if row.announced.startswith("Secret") else "Key"
    name = "s1" if kind == "Secret" else "k1"
    event = key_vault_event(row.announced, object_type=kind, object_name=name, subject=name, eventTime="2026-01-01T00:01:00Z")
    passed: Step = {"change": list(changes_between(start, target)), "silent": True}
    expect = [{**_alert(row, each, scenario, model), "DetectedVia": "event"} for each in hit(row, scenario, model)]
    return _file(start, [*_swept(start), passed, {"event": event}, SOON], expect)


def hit(row: Row, scenario: Scenario, model: PermissionModel) -> list[Scenario]:
    """The scenarios of the key bindings that show the code, in the order in which they are alerted."""
    together = {Scenario.CVM_CMK: Scenario.CVM_DES, Scenario.CVM_DES: Scenario.CVM_CMK}
    other = together.get(scenario)
    both = other is not None and row.shared and row.reason(other, model) is None
    return sorted([scenario, other] if both and other else [scenario], key=lambda each: _binding_id(each, model))


def told_by(row: Row, scenario: Scenario, model: PermissionModel) -> list[JsonObject]:
    """The events that Azure emits for the mutation, whether or not they tell anything."""
    start = row.start(scenario, model, row.before)
    return [] if row.by_azure else events_of(start, changes_between(start, _document(row.mutated(scenario, model))))


def _binding_id(scenario: Scenario, model: PermissionModel) -> str:
    host = "hsm1.managedhsm.azure.net" if model is PermissionModel.MANAGED_HSM else "kv1.vault.azure.net"
    application, of_set = AppIdentity(app_id=BACKUP_APP_ID), ResourceIdentity(resource_id=ResourceId.parse(set_id()))
    return binding_id(scenario, of_set if scenario is Scenario.CVM_DES else application, KeyUri(host, "keys", "k1"))


def _document(tenant: Document | str) -> Document:
    assert not isinstance(tenant, str), tenant
    return tenant


def _change(row: Row, start: Document, target: Document) -> list[Step]:
    changes: Sequence[object] = changes_between(start, target)
    how = {"silent": True} if row.by_azure else {"actor": ADMIN}
    return [*([{"change": list(changes), **how}] if changes else []), *_faults(start, target)]


def _swept(start: Document) -> list[Step]:
    return [*_faults({}, start), SWEEP, SOON]


def _faults(start: Document, target: Document) -> list[Step]:
    before, after = start.get("faults", []), target.get("faults", [])
    if before == after:
        return []
    return [{"fault": None}, *({"fault": each} for each in after)]


def _alert(row: Row, scenario: Scenario, played: Scenario, model: PermissionModel) -> JsonObject:
    told = row.silence(played, model) is None
    named = told and any(member(each, "data", "claims") for each in told_by(row, played, model))
    return {
        "Kind": "opened",
        "Scenario": str(scenario),
        "Verdict": str(level_of(row.code, scenario)),
        "PreviousVerdict": "held",
        "FindingCodes": [row.code],
        "DetectedVia": "event" if told else "sweep",
        "ActorObjectId": ADMIN["objectId"] if named else None,
        "ActorConfidence": "certain" if named else "none",
    }


def _notice(row: Row, scenario: Scenario, verdict: State, *found: str) -> list[JsonObject]:
    """A consumer that names another key afterwards is told of, beside what was found of that key."""
    told: JsonObject = {
        "Kind": "changed",
        "Scenario": str(scenario),
        "Verdict": str(verdict),
        "PreviousVerdict": "held",
        "FindingCodes": ["key-changed", *found],
        "DetectedVia": "event",
        "ActorObjectId": ADMIN["objectId"],
        "ActorConfidence": "certain",
    }
    return [told] if row.repoints else []


def _file(start: Document, steps: list[Step], expect: list[JsonObject]) -> Document:
    tenant = {name: each for name, each in start.items() if name != "faults"}
    return {"tenant": tenant, "settings": ONCE_A_YEAR, "steps": steps, "expect": expect}


if __name__ == "__main__":
    json.dump(mutation(sys.argv[1], Scenario(sys.argv[2]), PermissionModel(sys.argv[3])), sys.stdout, indent=2)
