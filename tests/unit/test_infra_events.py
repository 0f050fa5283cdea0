"""Which events the deployment subscribes to, and how it has them delivered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from keydrift.doctor.event_coverage import AdvancedFilter, EventSubscription, coverage
from keydrift.events import decode_one
from keydrift.model import ChangeNotice
from support.bicep import INFRA, literal, members, read, text_of

SOURCE = "/subscriptions/00000000-0000-0000-0000-000000000001"
EVENTS: Mapping[str, list[dict[str, Any]]] = json.loads((INFRA / "events.json").read_text(encoding="utf-8"))
# learn.microsoft.com/azure/event-grid/event-filtering: for all advanced filters of an event subscription together
MOST_VALUES = 25


def subscribed(wanted: Iterable[Mapping[str, Any]]) -> list[EventSubscription]:
    """Event subscriptions as the template makes them of events.json."""
    return [
        EventSubscription(
            name=each["name"],
            destination="StorageQueue",
            event_types=frozenset(kind.lower() for kind in each["types"]),
            filters=(
                AdvancedFilter(
                    operator="StringBeginsWith",
                    key="data.operationName",
                    values=tuple(prefix.lower() for prefix in each["operations"]),
                ),
            )
            if each["operations"]
            else (),
        )
        for each in wanted
    ]


def test_every_operation_that_matters_passes() -> None:
    """What the doctor would ask of these event subscriptions, they give."""
    weighed = coverage(subscribed(EVENTS["subscription"]), SOURCE)
    assert (weighed.missing, weighed.untold) == ((), ())


@pytest.mark.parametrize(
    ("subscription", "prefix"),
    [
        (index, prefix)
        for index, each in enumerate(EVENTS["subscription"])
        for prefix in each["operations"]
        if "denyAssignments" not in prefix  # the doctor does not ask for these: most raise no event (azure-facts 3.3)
    ],
)
def test_no_prefix_is_too_many(subscription: int, prefix: str) -> None:
    """With another in the place of any one of the prefixes, an operation that matters is filtered out."""
    changed = [dict(each) for each in EVENTS["subscription"]]
    changed[subscription]["operations"] = [
        "Contoso.Nothing/" if each == prefix else each for each in changed[subscription]["operations"]
    ]
    assert coverage(subscribed(changed), SOURCE).missing != ()


@pytest.mark.parametrize("each", [*EVENTS["subscription"], *EVENTS["keyVault"]], ids=lambda each: each["name"])
def test_filters_keep_to_the_budget(each: Mapping[str, Any]) -> None:
    """An event subscription has no more filter values than Azure takes, none of them twice, and names its types."""
    assert len(each["operations"]) <= MOST_VALUES
    assert len({prefix.lower() for prefix in each["operations"]}) == len(each["operations"])
    assert each["types"]


def test_event_subscriptions_are_told_apart() -> None:
    """No two have one name: the later would replace the earlier."""
    found = [each["name"] for wanted in EVENTS.values() for each in wanted]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "operation", ["Microsoft.Compute/virtualMachines/start/action", "Microsoft.Compute/disks/beginGetAccess/action"]
)
def test_what_machines_do_all_day_is_not_delivered(operation: str) -> None:
    """Starting a machine raises an event that no event subscription lets through: it changes no key."""
    kind = "microsoft.resources.resourceactionsuccess"
    taking = [each for each in subscribed(EVENTS["subscription"]) if kind in each.event_types]
    assert taking
    assert [each.name for each in taking if operation.lower().startswith(each.filters[0].values)] == []


@pytest.mark.parametrize("kind", [kind for each in EVENTS["keyVault"] for kind in each["types"]])
def test_a_key_vaults_events_are_understood(kind: str) -> None:
    """Each type that is subscribed to on a key vault is one that the product acts upon."""
    vault = f"{SOURCE}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"
    event = {
        "id": "1", "source": vault, "type": kind, "subject": "k1", "time": "2026-01-01T00:00:00Z", "specversion": "1.0",
        "data": {"VaultName": "kv", "ObjectType": kind.removeprefix("Microsoft.KeyVault.")[:6], "ObjectName": "k1"},
    }  # fmt: skip
    assert isinstance(decode_one(event), ChangeNotice)


def test_both_ways_in_take_the_same_events() -> None:
    """The queue's and the function's event subscriptions are made of one file by one module."""
    for path in ("modules/watched-subscription.bicep", "modules/watched-key-vault.bicep", "function-events.bicep"):
        template = read(INFRA / path)
        assert text_of(template.variables["events"]).endswith("events.json')")
        made = [each for each in template.modules if each.reference.endswith("event-subscriptions.bicep")]
        assert made
        for each in made:
            assert text_of(members(each.member("params"))["wanted"]) in ("events.subscription", "events.keyVault")


def test_delivery_is_by_identity_in_a_stated_schema() -> None:
    """Schema, identity, patience and dead letters are said, none left to a default that drops events."""
    template = read(INFRA / "modules/event-subscriptions.bicep")
    made = template.resource("subscriptions")
    properties = members(made.member("properties"))
    assert literal(properties["eventDeliverySchema"]) == "CloudEventSchemaV1_0"
    assert text_of(properties["deliveryWithResourceIdentity"]) == "toQueue ? byIdentity : null"
    assert text_of(properties["destination"]) == "toQueue ? null : toFunction"
    queue = members(members(template.variables["byIdentity"])["destination"])
    assert literal(queue["endpointType"]) == "StorageQueue"
    assert text_of(members(queue["properties"])["queueMessageTimeToLiveInSeconds"]) == "-1"
    retry = members(properties["retryPolicy"])
    assert (text_of(retry["maxDeliveryAttempts"]), text_of(retry["eventTimeToLiveInMinutes"])) == ("30", "1440")
    buried = made.member("properties", "deadLetterWithResourceIdentity", "deadLetterDestination")
    assert literal(members(buried)["endpointType"]) == "StorageBlob"
