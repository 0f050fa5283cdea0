"""What a row may hold: nothing that Log Analytics would cut in silence, and what is left out says so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydrift.alerts.record import BindingRecord
from keydrift.alerts.row import alert_row, posture_row
from keydrift.alerts.row_size import FIELD_BYTES, fitted, size
from keydrift.catalogue import CODES
from keydrift.declared import NOT_EXEMPT
from keydrift.drift import Moment, Via, compare
from keydrift.model import Finding, Scenario, State, Verdict
from keydrift.tables import ALERT_COLUMNS, POSTURE_COLUMNS
from support.builders import NOW, VAULT, binding

# Log Analytics cuts a field at 64 KB and takes 1 MB a call (azure-facts 6)
LIMIT = 64 * 1024


def test_what_fits_is_untouched() -> None:
    """A row whose fields are small comes back as it is, long lists of short things included."""
    row: dict[str, object] = {
        "Summary": "x" * 29_000,
        "Missing": ["keys/get"] * 1000,
        "Count": 3,
        "None": None,
        "Nested": {"a": [1]},
    }
    assert fitted(row) == row


@pytest.mark.parametrize("text", ["x", "ü", "𝄞", '"', "\\", "\x00"])
@pytest.mark.parametrize("length", [FIELD_BYTES - 2, FIELD_BYTES - 1, 70_000, 1_000_000])
def test_a_text_is_cut_and_says_so(text: str, length: int) -> None:
    """A text that is too long as JSON keeps its beginning and tells how much is missing; one at the limit is whole."""
    value = text * length
    (cut,) = fitted({"Remediation": value}).values()
    assert isinstance(cut, str)
    if size(value) <= FIELD_BYTES:
        assert cut == value
        return
    assert size(cut) <= FIELD_BYTES
    kept, _, rest = cut.partition("… (cut: ")
    assert value.startswith(kept)
    assert int(rest.split()[0].replace(",", "")) + len(kept) == length
    assert size(cut) > FIELD_BYTES // 2


def test_evidence_is_cut_before_findings_are() -> None:
    """A finding with evidence of thousands of ids keeps its code and summary, and tells how many ids are missing."""
    ids = [f"/subscriptions/s/roleAssignments/{number}" for number in range(5_000)]
    finding: dict[str, Any] = {
        "code": "deny-assignment",
        "summary": "denied",
        "evidence": {"principals": ids},
        "remediation": "az",
    }
    (cut,) = fitted({"Findings": [finding, {**finding, "code": "other"}]}).values()
    assert isinstance(cut, list)
    assert [each["code"] for each in cut] == ["deny-assignment", "other"]
    assert cut[0]["evidence"]["principals"][:50] == ids[:50]
    assert cut[0]["evidence"]["principals"][50] == "… (cut: 4,950 more)"
    assert cut[0]["summary"] == "denied"
    (many,) = fitted({"Findings": [finding] * 20}).values()
    assert isinstance(many, list)
    assert [each["code"] for each in many] == ["deny-assignment"] * 20
    assert many[0]["evidence"]["principals"][-1] == "… (cut: 4,990 more)"


def test_more_findings_than_fit_end_with_how_many_are_missing() -> None:
    """Of more findings than fit the first stay, whole, and the last element tells how many are missing."""
    findings = [{"code": f"code-{number}", "summary": "s" * 1_500} for number in range(40)]
    (cut,) = fitted({"Findings": findings}).values()
    assert isinstance(cut, list)
    assert cut[:-1] == findings[: len(cut) - 1]
    assert cut[-1] == {"cut": f"{40 - len(cut) + 1} more"}
    assert len(cut) > 10


def test_an_object_that_is_too_large_says_so() -> None:
    """An object keeps its first members and tells how many are missing."""
    (cut,) = fitted({"Counters": {f"name-{number}": "v" * 1_000 for number in range(100)}}).values()
    assert isinstance(cut, dict)
    assert size(cut) <= FIELD_BYTES
    assert cut["cut"] == f"{100 - len(cut) + 1} more"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3_000),
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(st.text(max_size=20), inner, max_size=20),
    max_leaves=200,
)


@given(st.dictionaries(st.text(min_size=1, max_size=20), _JSON, max_size=5))
def test_every_field_fits(row: dict[str, object]) -> None:
    """Whatever a row holds, every field of it fits afterwards, is JSON, and stays as it was where it did fit."""
    found = fitted(row)
    assert list(found) == list(row)
    for name, value in row.items():
        assert size(found[name]) <= FIELD_BYTES < LIMIT
        assert json.loads(json.dumps(found[name])) is not ...
        if size(value) <= FIELD_BYTES:
            assert found[name] == value


def test_rows_are_fitted() -> None:
    """Rows of a verdict with monstrous findings stay under the limits, and keep every column of the contract."""
    many = tuple(f"{VAULT}/providers/Microsoft.Authorization/denyAssignments/{number}" for number in range(3_000))
    code = sorted(CODES)[0]
    found = Finding(code=code, level=State.LOST, summary="s" * 500, evidence={"denies": many}, remediation="az " + "x" * 90_000)
    key = binding(Scenario.CVM_CMK)
    verdict = Verdict(
        binding=key, state=State.LOST, read_at=NOW, findings=tuple(replace(found, summary=f"{n}") for n in range(60))
    )
    outcome = compare(BindingRecord.created(key.id, NOW), verdict, Moment(now=NOW, via=Via.SWEEP, confirmed=True))
    assert outcome.alert is not None
    row, posture = alert_row(outcome.alert, "t"), posture_row(verdict, NOT_EXEMPT, "sweep", NOW, "t")
    assert (set(row), set(posture)) == (set(ALERT_COLUMNS), set(POSTURE_COLUMNS))
    for each in (row, posture):
        assert max(size(value) for value in each.values()) <= FIELD_BYTES
        assert len(json.dumps(each)) < 300_000
        assert "more" in json.dumps(each["Findings"])
        assert str(each["Remediation"]).endswith("characters more)")
