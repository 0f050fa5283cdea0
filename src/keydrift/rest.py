"""Rest: every key binding of a key store is held, and nothing is open, pending or half told of any. Pure.

INVARIANT (rest is a fixed point): the same verdicts again, whenever they come, change no record of a key store at rest and tell
nothing. So a sweep compares one digest, kept with the key store, and reads none of the bindings' records (docs/adr/0013).

INVARIANT (whoever writes stirs first): before a record is changed, a mark of its own says that the key store is stirred, and its
digest counts for nothing until a sweep has compared it record by record when the writer had certainly ended. So no crash and no
other worker leaves a key store that is passed by though a record of it says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from keydrift import __version__
from keydrift.alerts.cause import grants_through_groups
from keydrift.document import verdict_document
from keydrift.judgement import Judged
from keydrift.model import State, Verdict

# The host ends a trigger's work after ten minutes (`functionTimeout` in host.json); clocks of two workers may differ
_WRITER_HAS_ENDED = timedelta(minutes=30)


def has_calmed(stirred_at: datetime, now: datetime) -> bool:
    """Whether whoever stirred a key store then has certainly ended: what is compared now is what stands."""
    return now - stirred_at >= _WRITER_HAS_ENDED


def digest_of_judged(judged: Iterable[Judged]) -> str | None:
    """The digest of a key store that is at rest after these; None where it is not."""
    each_of = tuple(judged)
    rests = all(each.record.is_at_rest and not each.outdated for each in each_of)
    return digest_of([each.verdict for each in each_of]) if rests else None


def digest_of(verdicts: Sequence[Verdict]) -> str | None:
    """What a key store's verdicts come to: everything that its records are made of, times apart. None where they are not at rest.

    A binding of several key stores is written with each of them, so none of those rests.
    """
    if not verdicts or any(each.state is not State.HELD or len(each.binding.hosts) > 1 for each in verdicts):
        return None
    text = json.dumps([__version__, *(_told(each) for each in verdicts)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _told(verdict: Verdict) -> list[object]:
    # The posture holds the proof, and so the grants that a record keeps; what else a record is made of stands beside it
    posture = {**verdict_document(verdict), "read_at": None}
    repointed = [each.repointed.at.isoformat() for each in verdict.binding.consumers if each.repointed is not None]
    return [posture, sorted(grants_through_groups(verdict)), repointed]
