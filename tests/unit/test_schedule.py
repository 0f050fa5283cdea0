"""NCRONTAB beside croniter, which the product does not carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from keydrift.schedule import times_due

START = datetime(2026, 1, 28, 23, 58, 30, tzinfo=UTC)
SCHEDULES = (
    "0 */15 * * * *",
    "30 */2 * * * *",
    "15 */5 * * * *",
    "*/20 * * * * *",
    "0 0 * * * *",
    "0 7-59/20 9-17 * * 1-5",
    "0 0 0 31 12 *",
    "5,35 0 6 1,29 * *",
    "0 30 4 * feb *",
    "0 0 12 * * mon,fri",
    "0 0 12 29 1 4",
)


@given(
    schedule=st.sampled_from(SCHEDULES),
    after=st.integers(0, 40 * 86_400).map(lambda each: START + timedelta(seconds=each)),
    span=st.one_of(st.integers(0, 7_200), st.integers(0, 40 * 86_400)),
    most=st.sampled_from((1, 3, 7)),
)
def test_counts_like_croniter(schedule: str, after: datetime, span: int, most: int) -> None:
    """A schedule falls due as often as croniter says, whatever its fields; both ends of the time count as they should."""
    until = after + timedelta(seconds=span)
    following = croniter(schedule, after, second_at_beginning=True, day_or=False)
    expected = 0
    try:
        expected = sum(1 for _ in takewhile(lambda _: following.get_next(datetime) <= until, range(most)))
    except ValueError:  # croniter finds none within its horizon
        expected = 0
    assert times_due(schedule, after, until, most) == expected


@pytest.mark.parametrize(("schedule", "expected"), [("*/15 * * * *", 4), ("0 0 12 * * 7", 0), ("0 0 * * * THU", 1)])
def test_other_spellings(schedule: str, expected: int) -> None:
    """Five fields begin with minutes, Sunday is 0 and 7, names are told in any case."""
    assert times_due(schedule, START, START + timedelta(hours=1), 9) == expected
    assert times_due("0 0 12 * * 7", START, START + timedelta(days=7), 9) == 1


@pytest.mark.parametrize(
    "schedule", ["", "hourly", "0 */15 * * *  * *", "0 60 * * * *", "0 5-1 * * * *", "0 */0 * * * *", "0 x * * * *"]
)
def test_nonsense_is_refused(schedule: str) -> None:
    """What is no schedule raises, so that it is told and not taken for one that never falls due."""
    with pytest.raises(ValueError, match=r"."):
        times_due(schedule, START, START + timedelta(hours=1), 3)
