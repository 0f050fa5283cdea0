"""What a scenario file expects beside what was delivered."""

from __future__ import annotations

import pytest

from keydrift_local.expectation import difference, matches

VAULT = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv1"
ROW: dict[str, object] = {
    "Kind": "opened",
    "Verdict": "lost",
    "KeyStoreId": VAULT,
    "KeyUri": "https://kv1.vault.azure.net/keys/k1",
    "FindingCodes": ["role-insufficient", "key-disabled"],
    "ConsumerCount": 1,
    "Exempted": True,
    "ActorName": None,
    "Findings": [{"code": "role-insufficient", "level": "lost"}],
}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"Kind": "opened"},
        {"KeyStoreId": VAULT.upper().replace("/SUBSCRIPTIONS", "/subscriptions")},
        {"KeyUri": "https://KV1.vault.azure.net/keys/K1"},
        {"FindingCodes": ["role-insufficient", "key-disabled"]},
        {"ConsumerCount": 1, "Exempted": True, "ActorName": None},
        {"Findings": [{"code": "role-insufficient"}]},
        {"NoSuchColumn": None},
    ],
)
def test_a_partial_row_fits(expected: dict[str, object]) -> None:
    """Members that are named must fit, others are free; ids and addresses compare in any letter case."""
    assert matches(expected, ROW)
    assert difference([expected], [ROW]) is None


@pytest.mark.parametrize(
    "expected",
    [
        {"Kind": "resolved"},
        {"Kind": "Opened"},
        {"KeyStoreId": f"{VAULT}0"},
        {"FindingCodes": ["role-insufficient"]},
        {"FindingCodes": ["key-disabled", "role-insufficient"]},
        {"FindingCodes": []},
        {"FindingCodes": "role-insufficient"},
        {"ConsumerCount": True},
        {"ConsumerCount": "1"},
        {"Exempted": 1},
        {"ActorName": "somebody"},
        {"ActorName": ""},
        {"Findings": [{"code": "role-insufficient", "summary": "x"}]},
        {"Findings": {}},
        {"NoSuchColumn": 1},
    ],
)
def test_a_row_that_differs_does_not_fit(expected: dict[str, object]) -> None:
    """A member of another value, type, order or length does not fit, and the difference shows it."""
    assert not matches(expected, ROW)
    problem = difference([expected], [ROW])
    assert problem is not None
    assert {line[0] for line in problem.splitlines()[3:]} >= {"-", "+"}


def test_the_number_of_rows_counts() -> None:
    """One row too many, one too few and none at all are differences."""
    assert difference([], []) is None
    assert difference([], [ROW]) is not None
    assert difference([{"Kind": "opened"}], []) is not None
    assert difference([{"Kind": "opened"}], [ROW, ROW]) is not None


def test_the_order_of_rows_counts() -> None:
    """The same rows in another order are a difference."""
    other = {**ROW, "Kind": "resolved"}
    assert difference([{"Kind": "opened"}, {"Kind": "resolved"}], [ROW, other]) is None
    assert difference([{"Kind": "opened"}, {"Kind": "resolved"}], [other, ROW]) is not None


def test_the_difference_reads_as_a_diff() -> None:
    """The difference is a unified diff of what was named, with the delivered value beside the expected one."""
    problem = difference([{"Kind": "opened", "Verdict": "at_risk"}], [ROW])
    assert problem is not None
    assert problem.splitlines()[:2] == ["--- expected", "+++ delivered"]
    assert '- "Verdict": "at_risk"' in problem
    assert '+ "Verdict": "lost"' in problem
    assert "KeyUri" not in problem


def test_a_row_that_fits_shows_no_difference_beside_one_that_does_not() -> None:
    """A row that fits in another letter case is not shown as different."""
    lower: dict[str, object] = {"KeyStoreId": VAULT.lower()}
    problem = difference([lower, {"Kind": "changed"}], [ROW, ROW])
    assert problem is not None
    assert not [line for line in problem.splitlines() if line[:1] in "+-" and "KeyStoreId" in line]


def test_what_was_not_expected_is_shown_in_short() -> None:
    """A row that nothing expected is shown by what a person needs to recognise it."""
    problem = difference([], [ROW])
    assert problem is not None
    assert '+ "Kind": "opened"' in problem
    assert "KeyUri" in problem
