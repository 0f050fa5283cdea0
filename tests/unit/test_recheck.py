"""The recheck message: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from keydrift.drift import Via
from keydrift.errors import DecodeError
from keydrift.recheck import Recheck, canary_body, canary_in
from support.builders import NOW, VAULT_HOST


@pytest.mark.parametrize("via", list(Via))
@pytest.mark.parametrize("consumers", [False, True])
def test_round_trip(via: Via, consumers: bool) -> None:
    """A message is read back as it was written, to the microsecond."""
    made = Recheck(host=VAULT_HOST, noticed_at=NOW + timedelta(microseconds=1), via=via, consumers=consumers)
    assert Recheck.parse(made.body()) == made


def test_round_trip_of_what_a_sweep_and_a_consumer_add() -> None:
    """The subscriptions to look into and the sweep that asks are read back; a message without them is a former release's."""
    made = Recheck(host="", noticed_at=NOW, via=Via.SWEEP, consumers=True, subscriptions=("s1", "s2"), sweep="id")
    assert Recheck.parse(made.body()) == made
    assert Recheck.parse(json.dumps(GOOD)).subscriptions == ()


GOOD = {"v": 1, "host": "h", "noticedAt": "2026-01-01T00:00:00+00:00", "via": "event", "consumers": False}


def test_unknown_members_are_ignored() -> None:
    """A later version's member does not hinder this one."""
    assert Recheck.parse(json.dumps({**GOOD, "later": 1})).host == "h"


@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "1", '"text"', "{}", "[" * 100_000,
        *(json.dumps({k: v for k, v in GOOD.items() if k != gone}) for gone in ("host", "noticedAt", "via", "consumers")),
        json.dumps({**GOOD, "host": None}),
        json.dumps({**GOOD, "host": 1}),
        json.dumps({**GOOD, "noticedAt": "yesterday"}),
        json.dumps({**GOOD, "noticedAt": 1}),
        json.dumps({**GOOD, "noticedAt": "2026-01-01T00:00:00"}),
        json.dumps({**GOOD, "via": "rumour"}),
        json.dumps({**GOOD, "via": ["event"]}),
        json.dumps({**GOOD, "subscriptions": 1}),
        json.dumps({**GOOD, "subscriptions": "s1"}),
        json.dumps({**GOOD, "subscriptions": ["s1", 2]}),
        json.dumps({**GOOD, "subscriptions": ["../x"]}),
        json.dumps({**GOOD, "subscriptions": ["a/b?c"]}),
        json.dumps({**GOOD, "noticedAt": "0001-01-01T00:00:00+14:00"}),
        json.dumps({**GOOD, "noticedAt": "9999-12-31T23:59:59-14:00"}),
        json.dumps({**GOOD, "host": "h/../x"}),
        json.dumps({**GOOD, "host": "evil.example@h"}),
        json.dumps({**GOOD, "host": "h" * 254}),
        json.dumps({**GOOD, "host": "\x00"}),
    ],
)  # fmt: skip
def test_foreign_message(body: str) -> None:
    """What is no recheck message is a decode error, never another exception."""
    with pytest.raises(DecodeError):
        Recheck.parse(body)


def test_a_canary_is_told_from_a_recheck() -> None:
    """A canary's message is its own; a recheck's is none, nor is noise."""
    assert canary_in(canary_body("c1")) == "c1"
    for other in (json.dumps(GOOD), "", "[]", '"text"', '{"canary": 1}', '{"canary": null}', "[" * 100_000):
        assert canary_in(other) is None
