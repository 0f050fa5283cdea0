"""A change at or near a subscription's scope concerns many key stores: they are read from lists, and what differs by itself."""

from __future__ import annotations

import json
from pathlib import Path

from scenario.matrix_changes import ADMIN, events_of
from support import tenants
from support.estates import assignment_at, estate, key_at, vault_reads
from support.rehearsals import SWEEP, advance, rehearsal
from support.tenants import SUBSCRIPTION, Document, guid

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
MANY, FEW = 30, 24
# The last in the order of names, which is not among the few that are asked for at once
LAST = "kv1x9"
_STRANGER = "5713a900-0000-4000-8000-000000000001"
AT_SUBSCRIPTION = f"{SCOPE}/providers/Microsoft.Authorization/roleAssignments/{guid(999)}"


def _estate(vaults: int) -> Document:
    """The last key store's role is assigned at the subscription, as a role that reaches all the others too."""
    found = estate(vaults)
    mine = assignment_at(LAST, 10)
    for each in found["roleAssignments"]:
        if each["id"] == mine:
            each["id"], each["name"] = AT_SUBSCRIPTION, guid(999)
            each["properties"]["scope"] = SCOPE
    return found


def _by_admin(change: Document) -> Document:
    return {"change": change, "actor": ADMIN}


def _of_a_stranger() -> Document:
    assignment = tenants.role_assignment(
        500, SCOPE, tenants.CRYPTO_SERVICE_ENCRYPTION_USER, "5713a900-0000-4000-8000-000000000001"
    )
    return _by_admin({"put": assignment})


async def test_a_change_that_concerns_none_of_many_reads_lists(tmp_path: Path) -> None:
    """Of thirty key stores below a changed scope ten are read by themselves at once, all from lists, and again when settled."""
    async with rehearsal(tmp_path, _estate(MANY), SWEEP, advance("PT20S")) as played:
        played.forget()
        await played.play(_of_a_stranger(), advance("PT1M"))
        asked = played.asked()
        assert len(vault_reads(played)) == 10
        assert sum(each.endswith(f"{SCOPE}/providers/Microsoft.Authorization/roleAssignments") for each in asked) == 1
        assert {key_at(f"kv1x{number}") for number in range(MANY)} <= {each.removeprefix("GET ") for each in asked}
        played.forget()
        await played.play(advance("PT3M"))
        assert sum("roleAssignments" in each and f"{SCOPE}/providers" in each for each in played.asked()) == 1
        assert played.alerts == []


async def test_a_few_key_stores_are_read_by_themselves(tmp_path: Path) -> None:
    """Two dozen are read one by one: that is as cheap, and tells sooner."""
    async with rehearsal(tmp_path, _estate(FEW), SWEEP, advance("PT20S")) as played:
        played.forget()
        await played.play(_of_a_stranger(), advance("PT1M"))
        assert len(vault_reads(played)) == FEW


async def test_a_loss_among_many_is_told_with_its_actor(tmp_path: Path) -> None:
    """What lists show is confirmed by a read of that key store alone, and told as the event's, with who made it."""
    async with rehearsal(tmp_path, _estate(MANY), SWEEP, advance("PT1M")) as played:
        await played.play(_by_admin({"delete": AT_SUBSCRIPTION}), advance("PT1M"))
        (row,) = played.alerts
    shown = {name: row[name] for name in ("Kind", "KeyStoreName", "DetectedVia", "ActorObjectId", "ActorConfidence")}
    assert shown == {
        "Kind": "opened",
        "KeyStoreName": LAST,
        "DetectedVia": "event",
        "ActorObjectId": ADMIN["objectId"],
        "ActorConfidence": "certain",
    }


async def test_a_burst_at_a_scope_is_looked_at_once(tmp_path: Path) -> None:
    """Facts that were listed after a notice answer it."""
    async with rehearsal(tmp_path, _estate(MANY), SWEEP, advance("PT20S")) as played:
        message = {"v": 1, "host": "", "noticedAt": "2026-01-01T00:00:10+00:00", "via": "event", "consumers": False}
        wide = json.dumps({**message, "subscriptions": [SUBSCRIPTION], "wide": True})
        played.forget()
        for _ in range(5):
            await played.queued("recheck", wide)
        await played.play(advance("PT1M"))
        assert played.asked().count(f"GET {key_at(LAST)}") == 1


async def test_what_cannot_be_looked_at_together_is_asked_for_one_by_one(tmp_path: Path) -> None:
    """A look that failed for good, as its poison message says, becomes a recheck of each key store."""
    async with rehearsal(tmp_path, _estate(MANY), SWEEP, advance("PT20S")) as played:
        message = {"v": 1, "host": "", "noticedAt": "2026-01-01T00:00:15+00:00", "via": "event", "consumers": False}
        played.forget()
        await played.queued("recheck_poison", json.dumps({**message, "subscriptions": [SUBSCRIPTION], "wide": True}))
        await played.play(advance("PT1M"))
        assert len(vault_reads(played)) == MANY


async def test_an_actor_who_comes_later_is_joined(tmp_path: Path) -> None:
    """A loss that a sweep found before its event came is told again with who made it, also where the event concerns many."""
    gone: Document = {"delete": AT_SUBSCRIPTION}
    events = events_of(_estate(MANY), [gone])
    async with rehearsal(tmp_path, _estate(MANY), SWEEP, advance("PT20S")) as played:
        await played.play({"change": gone, "silent": True}, SWEEP, advance("PT20S"))
        (opened,) = played.alerts
        await played.play(*({"event": each} for each in events), advance("PT1M"))
        _, changed = played.alerts
    assert (opened["Kind"], opened["ActorConfidence"]) == ("opened", "none")
    assert (changed["Kind"], changed["KeyStoreName"], changed["ActorObjectId"]) == ("changed", LAST, ADMIN["objectId"])
