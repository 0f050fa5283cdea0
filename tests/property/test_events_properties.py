"""What holds of every event: decoding never raises, spelling does not matter, and a batch is its events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from keydrift.events import Undecodable, decode, decode_one
from keydrift.model import ChangeNotice
from support.events import (
    ASSIGNMENT,
    CLAIMS,
    GROUP,
    KEY,
    SECRET,
    SUBSCRIPTION,
    VAULT,
    Event,
    as_cloud_event,
    event_grid,
    key_vault_event,
    resource_event,
)

OPERATIONS = (
    "Microsoft.Authorization/roleAssignments/delete",
    "Microsoft.KeyVault/vaults/accessPolicies/write",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Compute/virtualMachines/start/action",
    "Microsoft.Storage/storageAccounts/write",
)
RESOURCES = (f"{SUBSCRIPTION}/{ASSIGNMENT}", f"{KEY}/{ASSIGNMENT}", GROUP, VAULT, SECRET)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
event_values = st.one_of(
    json_values,
    st.sampled_from(
        (
            "1.0",
            VAULT,
            KEY,
            "Microsoft.KeyVault.KeyExpired",
            "Microsoft.Resources.ResourceWriteSuccess",
            *OPERATIONS,
            json.dumps(dict(CLAIMS)),
        )
    ),
)
data_like = st.dictionaries(
    st.sampled_from(
        (
            "operationName",
            "resourceUri",
            "claims",
            "authorization",
            "httpRequest",
            "Id",
            "ObjectType",
            "ObjectName ",
            "NBF",
            "action",
        )
    ),
    event_values,
)
event_like = st.dictionaries(
    st.sampled_from(
        (
            "id",
            "eventType",
            "type",
            "specversion",
            "topic",
            "source",
            "subject",
            "eventTime",
            "time",
            "data_base64",
            " ID",
            "Type ",
        )
    ),
    event_values,
).flatmap(lambda top: st.one_of(event_values, data_like).map(lambda data: {**top, "data": data}))

key_vault_events = st.builds(
    key_vault_event,
    st.sampled_from(("VaultAccessPolicyChanged", "KeyExpired", "SecretNearExpiry", "CertificateExpired")),
    object_type=st.sampled_from(("Key", "Secret", "", None)),
    object_name=st.sampled_from(("key1", "secret1", "", None)),
    topic=st.sampled_from((VAULT, VAULT.upper(), SUBSCRIPTION)),
)
resource_events = st.builds(
    resource_event,
    st.sampled_from(OPERATIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from(("WriteSuccess", "DeleteSuccess", "ActionSuccess", "WriteFailure")),
    claims=st.sampled_from((dict(CLAIMS), json.dumps(dict(CLAIMS)), {}, None)),
    httpRequest=st.sampled_from(({"clientIpAddress": "203.0.113.9"}, "", None)),
)
other_events = st.just(
    event_grid("Microsoft.Storage.BlobCreated", {"api": "PutBlob"}, topic=SUBSCRIPTION, subject="/blobServices")
)
good_events = st.one_of(key_vault_events, resource_events, other_events)


def respell(value: object, pick: Callable[[], int]) -> object:
    """The value with every member's name in any letter case and with blanks around it."""
    if not isinstance(value, Mapping):
        return value
    casings: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower, str.swapcase)
    blanks = ("", " ", "\t", "  ")
    return {blanks[pick()] + casings[pick()](str(name)) + blanks[pick()]: respell(inner, pick) for name, inner in value.items()}


@given(st.one_of(json_values, event_like, st.lists(event_like | json_values, max_size=4), st.binary(), st.text()))
def test_decoding_never_raises(payload: object) -> None:
    """Any JSON, any text and any bytes are answered, and what is refused names a JSON path."""
    for decoded in decode(payload):
        if isinstance(decoded, Undecodable):
            assert decoded.error.path.startswith("$")


@given(event_like)
def test_text_and_parsed_json_decode_alike(event: dict[str, object]) -> None:
    """It makes no difference who parses the JSON, as long as it is JSON."""
    try:
        text = json.dumps(event, allow_nan=False)
    except ValueError:
        return
    assert repr(decode(text)) == repr(decode(json.loads(text)))


@given(good_events, st.data())
def test_the_spelling_of_members_does_not_matter(event: Event, data: st.DataObject) -> None:
    """An event with its members in any letter case, blanks around them, decodes the same in either schema."""
    for each in (event, as_cloud_event(event)):
        assert repr(decode(respell(each, lambda: data.draw(st.integers(0, 3))))) == repr(decode(each))


@given(st.lists(good_events | event_like | json_values, max_size=6))
def test_a_batch_is_its_events(events: list[object]) -> None:
    """No event of a batch changes what another decodes to."""
    alone = [decode([event]) for event in events]
    assert repr(decode(events)) == repr(tuple(decoded for (decoded,) in alone))


@given(key_vault_events | resource_events)
def test_the_schemas_tell_the_same(event: Event) -> None:
    """Event Grid's schema and CloudEvents 1.0 give one and the same result, but for the name of the topic in an error."""
    (one,), (other,) = decode(event), decode(as_cloud_event(event))
    assert repr(one).replace("$.topic", "$.source") == repr(other)


@given(resource_events)
def test_the_actor_is_none_only_without_claims(event: Event) -> None:
    """Whoever waits for an actor to arrive later waits for exactly the events that carry no claims."""
    decoded = decode_one(event)
    claims = cast(dict[str, object], event["data"])["claims"]
    if isinstance(decoded, ChangeNotice):
        assert (decoded.actor is None) == (not claims)
