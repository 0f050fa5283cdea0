"""A day without Log Analytics: nothing is lost, each key binding's alerts keep their order, and then all of it arrives."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from keydrift_local.local_azure import LocalAzure
from simulation.history import estate
from support.rehearsals import SWEEP, Document, advance, rehearsal
from support.tenants import SUBSCRIPTION

EVERY = 3
RETRIES = 6


def tries(azure: LocalAzure) -> list[str]:
    """Requests of alerts, tokens apart."""
    return [each.path for each in azure.requests if "KeyDriftAlerts" in each.path]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503}, id="fails"),
        pytest.param({"status": 0}, id="never answers"),
    ],
)
async def test_a_day_without_log_analytics(fault: Document, tmp_path: Path) -> None:
    """Changes go on all day; in the end every alert has arrived once, those of one key binding in their order."""
    tenant = estate(2, (SUBSCRIPTION,))
    grants = [each for each in tenant["roleAssignments"] if "/keys/" not in each["id"]]
    assert len(grants) == 2
    async with rehearsal(tmp_path, tenant, SWEEP, KEYDRIFT_SWEEP_SCHEDULE="0 0 */6 * * *") as played:
        await played.play({"fault": {"match": "POST *KeyDriftAlerts_CL*", **fault}})
        for hour in range(0, 24, EVERY):
            grant = grants[hour // EVERY % 2]
            gone = hour // EVERY % 4 < 2
            await played.play({"change": {"delete": grant["id"]} if gone else {"put": grant}}, advance(f"PT{EVERY}H"))
        assert played.alerts == []
        async with played.state() as state:
            assert len(await state.undelivered()) == 24 // EVERY
        played.forget()
        await played.play(advance("PT1H"))
        # Every eight minutes, each time with the client's own retries: the timer's other turns leave it alone
        assert 7 <= len(tries(played.azure)) <= 8 * RETRIES
        await played.play({"fault": None}, advance("PT12M"))
        by_binding = defaultdict(list)
        for row in played.alerts:
            by_binding[row["BindingId"]].append((row["Sequence"], row["Kind"]))
        assert sorted(len(each) for each in by_binding.values()) == [4, 4]
        for told in by_binding.values():
            assert [kind for _, kind in told] == ["opened", "resolved"] * 2
            assert all(earlier < later for (earlier, _), (later, _) in pairwise(told))
        async with played.state() as state:
            assert await state.undelivered() == []
