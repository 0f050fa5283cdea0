"""Sweeps of several key stores: read by lists, confirmed one by one, bounded in calls, with every key binding's last proof."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from support import tenants
from support.estates import assignment_at, estate, key_at, vault_reads
from support.rehearsals import SWEEP, Played, advance, rehearsal
from support.tenants import Document

PAGE_SIZE = 100  # what the simulated Azure shows on a page
POSTURE = "KeyDriftPosture_CL"
SUBSCRIPTIONS = (tenants.SUBSCRIPTION, tenants.OTHER_SUBSCRIPTION)


def silently(change: Document) -> Document:
    return {"change": change, "silent": True}


@pytest.mark.parametrize(("vaults", "subscriptions"), [(2, 1), (7, 2), (30, 2)])
async def test_calls_of_a_sweep_are_bounded(vaults: int, subscriptions: int, tmp_path: Path) -> None:
    """A sweep of S subscriptions, K keys, V vaults and A assignments makes at most 12·S + K + (V + A)/page calls to ARM, apart
    from one list of backup instances for each encrypted Backup vault while the inventory is read by lists."""
    async with rehearsal(tmp_path, estate(vaults, SUBSCRIPTIONS[:subscriptions]), SWEEP, SWEEP) as played:
        played.forget()
        await played.play(SWEEP)
        arm = [each.path for each in played.azure.requests if each.host == "management.azure.com"]
    instances = [path for path in arm if path.endswith("/backupInstances")]
    total = vaults * subscriptions
    assert len(instances) == total
    assert len(arm) - len(instances) <= 12 * subscriptions + total + math.ceil((total + total) / PAGE_SIZE)
    assert vault_reads(played) == set()


async def test_a_healthy_estate_is_settled_by_lists(tmp_path: Path) -> None:
    """Where nothing differs no key store is read by itself, and every key binding's proof is as new as the sweep."""
    async with rehearsal(tmp_path, estate(3), SWEEP) as played, played.state() as state:
        first = {each.host: each.read_at for each in await state.stores() if each.read_at}
        await played.play(advance("PT1M"), SWEEP)
        second = {each.host: each.read_at for each in await state.stores() if each.read_at}
        assert played.alerts == []
    assert set(first) == set(second) == {f"kv1x{n}.vault.azure.net" for n in range(3)}
    assert all(second[host] > at for host, at in first.items())


async def test_a_difference_is_confirmed_by_a_read_of_its_own(tmp_path: Path) -> None:
    """A loss that lists show is alerted by a fresh read of that key store alone, and told as the sweep's."""
    async with rehearsal(tmp_path, estate(3), SWEEP) as played:
        await played.play(advance("PT1M"), silently({"delete": assignment_at("kv1x1", 2)}))
        played.forget()
        await played.play(SWEEP)
        assert vault_reads(played) == {"kv1x1"}
        (row,) = played.alerts
    assert (row["Kind"], row["DetectedVia"], row["KeyStoreName"], row["FindingCodes"]) == (
        "opened",
        "sweep",
        "kv1x1",
        ["role-assignment-absent"],
    )


async def test_a_fault_of_a_list_makes_no_wrong_loss(tmp_path: Path) -> None:
    """Where only the list is refused, the key stores are read by themselves and stay held; nothing is alerted."""
    whole = f"GET */subscriptions/{tenants.SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments"
    fault = {"fault": {"match": whole, "status": 403}}
    async with rehearsal(tmp_path, estate(3), SWEEP, fault) as played:
        played.forget()
        await played.play(SWEEP, advance("PT5M"))
        assert vault_reads(played) == {"kv1x0", "kv1x1", "kv1x2"}
        assert played.alerts == []


async def test_a_right_that_the_monitor_lost_is_one_cause(tmp_path: Path) -> None:
    """A monitor that may no longer list assignments says so for every key binding, with one cause, after a second read."""
    fault = {"fault": {"match": "GET *Microsoft.Authorization/roleAssignments", "status": 403}}
    async with rehearsal(tmp_path, estate(3), SWEEP, fault, SWEEP) as played:
        assert played.alerts == []
        await played.play(advance("PT2M"))
        rows = played.alerts
        await played.play(SWEEP, advance("PT2M"))
        assert len(played.alerts) == len(rows)
    assert [(row["Kind"], row["Verdict"]) for row in rows] == [("opened", "unknown")] * 3
    assert len({row["CauseKey"] for row in rows}) == 1


async def test_every_sweep_sends_the_last_proof_of_every_key_binding(tmp_path: Path) -> None:
    """A sweep sends one posture row for each key binding, whether lists settled it or a read of its own did."""
    async with rehearsal(tmp_path, estate(3), SWEEP) as played:
        await played.play(advance("PT1M"), silently({"delete": assignment_at("kv1x1", 2)}), SWEEP)
        rows = played.azure.logs.rows(POSTURE)
    sweeps = Counter(row["SweepId"] for row in rows)
    assert sorted(sweeps.values()) == [3, 3]
    newest = [row for row in rows if row["SweepId"] == rows[-1]["SweepId"]]
    assert {row["KeyStoreName"]: row["Verdict"] for row in newest} == {"kv1x0": "held", "kv1x1": "lost", "kv1x2": "held"}
    assert all(row["Proof"] for row in newest if row["Verdict"] == "held")


async def test_posture_rows_may_be_spaced(tmp_path: Path) -> None:
    """With an interval only the sweeps that fall due send posture rows; the others reconcile all the same."""
    async with rehearsal(tmp_path, estate(3), SWEEP, KEYDRIFT_POSTURE_INTERVAL_MINUTES="60") as played:
        await played.play(advance("PT50M"), silently({"delete": assignment_at("kv1x1", 2)}), advance("PT5M"), SWEEP)
        assert len(played.azure.logs.rows(POSTURE)) == 3
        assert [row["Kind"] for row in played.alerts] == ["opened"]
        await played.play(advance("PT10M"))
        assert len(played.azure.logs.rows(POSTURE)) == 6


async def test_an_only_key_store_is_read_by_itself(tmp_path: Path) -> None:
    """Where a subscription holds one watched key store no list of the whole subscription is read for its sake."""
    async with rehearsal(tmp_path, estate(1), SWEEP) as played:
        played.forget()
        await played.play(SWEEP)
        assert vault_reads(played) == {"kv1x0"}
        whole = f"/subscriptions/{tenants.SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments"
        assert f"GET {whole}" not in played.asked()
        assert len(played.azure.logs.rows(POSTURE)) == 2


async def test_keys_take_turns_where_the_budget_is_short(tmp_path: Path) -> None:
    """With a budget of two of three keys a sweep reads two, the oldest first; a disabled key is found within two sweeps, and the
    grants of the third are judged all the same."""

    def keys(played: Played) -> list[str]:
        return sorted(each.split("/")[8] for each in played.asked() if each.endswith("/keys/k1"))

    async with rehearsal(tmp_path, estate(3), KEYDRIFT_SWEEP_KEY_READS="2") as played:
        turns: list[list[str]] = []
        for _ in range(3):
            played.forget()
            await played.play(SWEEP, advance("PT1M"))
            turns.append(keys(played))
        assert [len(each) for each in turns] == [2, 2, 2]
        assert {name for each in turns[:2] for name in each} == {"kv1x0", "kv1x1", "kv1x2"}
        (waiting,) = {"kv1x0", "kv1x1", "kv1x2"} - set(turns[2])
        await played.play(silently({"delete": assignment_at("kv1x0", 1)}))
        await played.play(silently({"merge": {"id": key_at(waiting), "properties": {"attributes": {"enabled": False}}}}))
        await played.play(SWEEP, advance("PT1M"), SWEEP)
        codes = {row["KeyStoreName"]: set(row["FindingCodes"]) for row in played.alerts}
    assert codes["kv1x0"] >= {"role-assignment-absent"}
    assert codes[waiting] >= {"key-disabled"}


async def test_a_key_whose_turn_it_is_not_keeps_the_time_of_its_read(tmp_path: Path) -> None:
    """The proof of a key binding is as old as the oldest read in it: a key that waits for its turn makes it old."""
    async with rehearsal(tmp_path, estate(3), SWEEP, KEYDRIFT_SWEEP_KEY_READS="1") as played, played.state() as state:
        await played.play(*(step for _ in range(2) for step in (advance("PT1M"), SWEEP)))
        ages = sorted(each.read_at for each in await state.stores() if each.read_at)
    assert len(ages) == len(set(ages)) == 3
