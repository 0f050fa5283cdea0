"""Who did it: operations that fit, windows of time, what vanished, and how sure the actor is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from keydrift.alerts.actor import LAG, Confidence, Heard, explain, fitting_operations
from keydrift.catalogue import CODES
from keydrift.model import Actor, ChangeNotice
from support.builders import NOW, STRANGER, VAULT, assignment, rid

DELETE = "Microsoft.Authorization/roleAssignments/delete"
WRITE = "Microsoft.KeyVault/vaults/write"
CHANGED = "Microsoft.KeyVault.VaultAccessPolicyChanged"
ADMIN, OTHER_ADMIN = (Actor(object_id=name, name=f"{name}@contoso.com") for name in ("admin", "other-admin"))
NOBODY = Actor(ip="10.0.0.1")
FIRST, SECOND = str(assignment().id), str(assignment(name="2").id)
AFTER, BEFORE = NOW, NOW + timedelta(minutes=10)
SECONDS = timedelta(seconds=1)
ABSENT = fitting_operations(begun=["role-assignment-absent"])
POLICY = fitting_operations(begun=["access-policy-absent"])
ONLY_FIRST = frozenset({rid(FIRST).key})


def heard(
    operation: str,
    actor: Actor | None,
    at: datetime | None = NOW + timedelta(minutes=5),
    resource: str = VAULT,
    received: datetime = BEFORE,
) -> Heard:
    notice = ChangeNotice(
        event_id=f"{operation}{resource}{actor}{at}",
        event_type="t",
        operation=operation,
        resource_id=rid(resource),
        occurred_at=at,
        actor=actor,
    )
    return Heard(notice=notice, received_at=received)


@pytest.mark.parametrize(
    ("at", "confidence"),
    [
        (AFTER, Confidence.CERTAIN),
        # the read saw it otherwise after that change: it lagged, or somebody else did it
        (AFTER - SECONDS, Confidence.LIKELY),
        (AFTER - LAG, Confidence.LIKELY),
        (AFTER - LAG - SECONDS, Confidence.NONE),
        (BEFORE, Confidence.CERTAIN),
        (BEFORE + LAG, Confidence.CERTAIN),
        (BEFORE + LAG + SECONDS, Confidence.NONE),
    ],
)
def test_window(at: datetime, confidence: Confidence) -> None:
    """A change has to lie between the last other read and the finding, give or take Azure's lag, which is less than certain."""
    found = explain(POLICY, [heard(WRITE, ADMIN, at)], after=AFTER, before=BEFORE)
    assert found.confidence is confidence
    assert (found.actor == ADMIN) is found.names_actor is (confidence is not Confidence.NONE)


def test_a_binding_never_read_before_has_no_earliest_time() -> None:
    """Any earlier change may explain what was never seen otherwise."""
    assert explain(POLICY, [heard(WRITE, ADMIN, NOW - timedelta(days=1))], after=None, before=BEFORE).actor == ADMIN


def test_an_event_without_a_time_happened_when_it_was_received() -> None:
    """The time of receipt stands in for a missing one."""
    assert explain(POLICY, [heard(WRITE, ADMIN, None)], after=AFTER, before=BEFORE).occurred_at == BEFORE
    late = heard(WRITE, ADMIN, None, received=BEFORE + 2 * LAG)
    assert explain(POLICY, [late], after=AFTER, before=BEFORE).actor is None


@pytest.mark.parametrize(("offset", "fits"), [(-1, False), (0, False), (1, True)])
def test_what_explained_before(offset: int, fits: bool) -> None:
    """Changes up to the newest that explained an alert explain no other."""
    made = heard(WRITE, ADMIN, NOW + offset * SECONDS)
    assert explain(POLICY, [made], after=AFTER, before=BEFORE, explained_until=NOW).names_actor is fits


@pytest.mark.parametrize(
    ("operation", "fits"),
    [
        (WRITE, True),
        (WRITE.upper(), True),
        ("Microsoft.KeyVault/vaults/accessPolicies/write", True),
        (CHANGED, True),
        (DELETE, False),
        ("Microsoft.KeyVault/vaults/delete", False),
        ("Microsoft.KeyVault/vaults/writes", False),
        ("", False),
    ],
)
def test_operation(operation: str, fits: bool) -> None:
    """Only an operation that the catalogue gives as a cause names anybody, in any letter case."""
    assert explain(POLICY, [heard(operation, ADMIN)], after=AFTER, before=BEFORE).names_actor is fits


def test_fitting_operations() -> None:
    """Causes of what began and repairs of what ended fit, and nothing else."""
    assert fitting_operations() == frozenset()
    assert fitting_operations(begun=["role-assignment-absent"]) == {DELETE.lower()}
    assert fitting_operations(ended=["role-assignment-absent"]) == {DELETE.lower().replace("delete", "write")}
    both = fitting_operations(begun=["network-blocked"], ended=["deny-assignment"])
    assert both == {*CODES["network-blocked"].causes, *CODES["deny-assignment"].repairs}


@pytest.mark.parametrize(
    ("vanished", "resource", "confidence"),
    [
        (ONLY_FIRST, FIRST, Confidence.CERTAIN),
        (ONLY_FIRST, FIRST.upper(), Confidence.CERTAIN),
        (ONLY_FIRST, SECOND, Confidence.NONE),
        (ONLY_FIRST, FIRST + "0", Confidence.NONE),
        (frozenset[str](), FIRST, Confidence.NONE),
        (frozenset({"/vaults/kv1|accesspolicies/x"}), FIRST, Confidence.NONE),
        (None, FIRST, Confidence.LIKELY),
    ],
)
def test_deleted_assignment(vanished: frozenset[str] | None, resource: str, confidence: Confidence) -> None:
    """A deletion explains a loss only if what it deleted vanished; where that is not known, it is likely at best."""
    found = explain(ABSENT, [heard(DELETE, ADMIN, resource=resource)], after=AFTER, before=BEFORE, vanished=vanished)
    assert found.confidence is confidence


def test_several_people() -> None:
    """Changes by different people make the latest likely, changes by one person certain."""
    admin, later, theirs = (heard(WRITE, who, NOW + n * SECONDS) for n, who in enumerate((ADMIN, ADMIN, OTHER_ADMIN)))
    one = explain(POLICY, [later, admin], after=AFTER, before=BEFORE)
    two = explain(POLICY, [theirs, admin], after=AFTER, before=BEFORE)
    assert (one.heard, one.confidence) == (later, Confidence.CERTAIN)
    assert (two.heard, two.confidence) == (theirs, Confidence.LIKELY)


def test_two_vanished_assignments_of_two_people() -> None:
    """Where two people each deleted a grant that vanished, neither is certain."""
    both = frozenset({rid(FIRST).key, rid(SECOND).key})
    admin, theirs = heard(DELETE, ADMIN, resource=FIRST), heard(DELETE, OTHER_ADMIN, NOW + timedelta(minutes=6), SECOND)
    found = explain(ABSENT, [admin, theirs], after=AFTER, before=BEFORE, vanished=both)
    assert (found.actor, found.confidence) == (OTHER_ADMIN, Confidence.LIKELY)


def test_the_deletion_of_what_vanished_beats_a_later_change() -> None:
    """Who deleted the very assignment that vanished is certain, whatever else happened since."""
    operations = fitting_operations(begun=["role-insufficient"])
    edit = heard("Microsoft.Authorization/roleDefinitions/write", OTHER_ADMIN, BEFORE)
    made = [heard(DELETE, ADMIN, resource=FIRST), edit]
    found = explain(operations, made, after=AFTER, before=BEFORE, vanished=ONLY_FIRST)
    assert (found.actor, found.confidence) == (ADMIN, Confidence.CERTAIN)


@pytest.mark.parametrize("actor", [None, NOBODY, Actor()])
def test_an_event_that_names_nobody(actor: Actor | None) -> None:
    """An event without a name explains when, not who; one with a name is preferred, even an earlier one."""
    silent = heard(CHANGED, actor, BEFORE)
    alone = explain(POLICY, [silent], after=AFTER, before=BEFORE)
    assert (alone.heard, alone.confidence, alone.names_actor) == (silent, Confidence.NONE, False)
    beside = explain(POLICY, [silent, heard(WRITE, ADMIN, NOW)], after=AFTER, before=BEFORE)
    assert (beside.actor, beside.confidence) == (ADMIN, Confidence.CERTAIN)


def test_nothing_heard() -> None:
    """Without a fitting change nothing is explained."""
    found = explain(POLICY, [heard(DELETE, Actor(object_id=STRANGER))], after=AFTER, before=BEFORE)
    assert (found.heard, found.notice, found.actor, found.occurred_at, found.received_at) == (None, None, None, None, None)
    assert not found.names_actor


def request(operation: str, actor: Actor | None, correlation: str | None, seconds: int = 0) -> Heard:
    found = heard(operation, actor, NOW + timedelta(minutes=5) + seconds * SECONDS)
    return replace(found, notice=replace(found.notice, correlation_id=correlation))


@pytest.mark.parametrize(
    ("notices", "who", "confidence"),
    [
        # the event that fits names nobody, another of the same request does: whatever its own operation
        ([request(WRITE, None, "c1"), request("other", ADMIN, "c1")], ADMIN, Confidence.CERTAIN),
        ([request(WRITE, NOBODY, "c1"), request("other", ADMIN, "c1")], ADMIN, Confidence.CERTAIN),
        # it wins over a later change by somebody else, who still may have been it
        (
            [request(WRITE, None, "c1"), request("other", ADMIN, "c1"), request(WRITE, OTHER_ADMIN, "c2", 9)],
            ADMIN,
            Confidence.LIKELY,
        ),
        ([request(WRITE, None, "c1"), request(WRITE, ADMIN, "c1"), request(WRITE, ADMIN, "c2", 9)], ADMIN, Confidence.CERTAIN),
        # another request, or none that is told
        ([request(WRITE, None, "c1"), request("other", ADMIN, "c2")], None, Confidence.NONE),
        ([request(WRITE, None, None), request("other", ADMIN, None)], None, Confidence.NONE),
        ([request(WRITE, None, ""), request("other", ADMIN, "")], None, Confidence.NONE),
        # one that several people share names none of them
        ([request(WRITE, None, "c1"), request("other", ADMIN, "c1"), request("other", OTHER_ADMIN, "c1")], None, Confidence.NONE),
        # what does not fit is not made to fit by a name
        ([request("other", None, "c1"), request("other", ADMIN, "c1")], None, Confidence.NONE),
    ],
)
def test_the_same_request(notices: list[Heard], who: Actor | None, confidence: Confidence) -> None:
    """A fitting notice that names nobody takes the actor of another notice of the same request, and stays what happened."""
    found = explain(POLICY, notices, after=AFTER, before=BEFORE)
    assert (found.actor if found.names_actor else None, found.confidence) == (who, confidence)
    if found.names_actor and found.notice is not None:
        assert found.notice.operation == WRITE
