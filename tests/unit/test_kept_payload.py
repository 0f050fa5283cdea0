"""What is kept of a payload that could not be decoded: its own spelling, without tokens and without claims nobody asked for."""

from __future__ import annotations

import base64
import json

import pytest

from keydrift.kept_payload import MOST_CHARS, kept
from support.events import CLAIMS, VAULT, as_cloud_event, resource_event

DELETE = "Microsoft.KeyVault/vaults/delete"
HIDDEN = {"puid": "hidden-puid", "groups": ["hidden-group"], "xms_mirid": "hidden-mirid", "Wids": "hidden-wids"}
EVENT = resource_event(
    DELETE,
    VAULT,
    claims={**CLAIMS, **HIDDEN},
    authorization={"action": DELETE, "evidence": {"principalId": "hidden-evidence"}},
    httpRequest={"url": "https://management.azure.com/x?sig=hidden-signature"},
)
TOKEN = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJ4In0.c2ln"
TEXT = json.dumps(EVENT)


def stringly(event: dict[str, object]) -> dict[str, object]:
    """The event with its data, and the claims in it, as strings: the schema of 2018."""
    data = dict(event["data"]) if isinstance(event["data"], dict) else {}
    return {**event, "data": json.dumps({**data, "claims": json.dumps(data["claims"])})}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(TEXT, id="an event"),
        pytest.param(json.dumps([EVENT, EVENT]), id="a batch"),
        pytest.param(json.dumps(as_cloud_event(EVENT)), id="a cloud event"),
        pytest.param(base64.b64encode(TEXT.encode()).decode(), id="base64 of an event"),
        pytest.param(
            json.dumps({"data_base64": base64.b64encode(json.dumps(EVENT["data"]).encode()).decode()}), id="data in base64"
        ),
        pytest.param(json.dumps(stringly(EVENT)), id="objects in strings"),
        pytest.param(TEXT.replace('"claims"', '"CLAIMS "').replace("evidence", "Evidence"), id="another spelling"),
        pytest.param(TEXT[:-5], id="cut off"),
        pytest.param("x" + TEXT, id="no JSON"),
        pytest.param(json.dumps({"text": "x" + TEXT}), id="no JSON in a string"),
    ],
)
def test_no_claim_but_the_documented_ones_is_kept(payload: str) -> None:
    """However an event was spelled, what was not asked for is not kept."""
    assert "hidden" not in kept(payload)


def test_the_documented_claims_are_kept() -> None:
    """Who did it stays: object id, name, application and address."""
    claims = json.loads(kept(TEXT))["data"]["claims"]
    assert claims == {name: value for name, value in CLAIMS.items() if name != "aud"}


@pytest.mark.parametrize("payload", ["not json", '{"id": 1}', '{ "id" : "a",\n"x": [1,  2]}', "[]", "", '{"eventType": 5}'])
def test_a_payload_without_claims_is_kept_as_it_was_spelled(payload: str) -> None:
    """Blanks and line ends are what may have broken the reader."""
    assert kept(payload) == payload


@pytest.mark.parametrize(
    "text", [TOKEN, f"Bearer {TOKEN}", f'{{"authorization": "Bearer {TOKEN}"}}', "authorization: bearer abcdefgh12345678"]
)
def test_no_token_is_kept(text: str) -> None:
    """What looks like a token is replaced, in JSON and in text, the cut end of one too."""
    for payload in (text, f"x {text} y", json.dumps({"a": text}), "x" * (MOST_CHARS - 30) + f" {text}"):
        found = kept(payload)
        assert TOKEN[:16] not in found
        assert "abcdefgh1234" not in found


@pytest.mark.parametrize("payload", ["[" * 100_000, "x" * 50_000, '{"a":' * 2_000 + "1" + "}" * 2_000])
def test_what_is_kept_is_bounded(payload: str) -> None:
    """Size and depth are cut, not raised about."""
    assert kept(payload)[:100] == payload[:100]
    assert len(kept(payload)) <= MOST_CHARS
