"""The product's verdict beside the oracle's opinion, and a dump of the tenant on which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pprint import pformat

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.model import Verdict
from support.oracle import Opinion, second_opinion
from support.random_facts import RandomTenant, random_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One tenant, two answers."""

    tenant: RandomTenant
    product: Opinion
    oracle: Opinion
    verdict: Verdict

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"seed {self.tenant.seed}: {self.tenant.binding.scenario}, product and oracle disagree"
        yield f"  state    {self.product.state} / {self.oracle.state}"
        for name, ours, theirs in (
            ("codes", self.product.codes, self.oracle.codes),
            ("missing", self.product.missing, self.oracle.missing),
        ):
            yield f"  {name:8} both {sorted(ours & theirs)}"
            yield f"           product alone {sorted(ours - theirs)}, oracle alone {sorted(theirs - ours)}"
        yield "  proof"
        yield from (f"    {step.effect}: {step.id} at {step.scope}: {step.reason}" for step in self.verdict.proof)
        yield pformat(self.tenant.binding, width=160)
        yield pformat(self.tenant.facts, width=160)


def compare_opinions(seed: int) -> Opinion | Disagreement:
    """What both say of the seed's tenant, where they agree in state, finding codes and missing permissions."""
    tenant = random_tenant(seed)
    horizon = Horizon(now=tenant.now, key_expiry=tenant.key_expiry, grant_expiry=tenant.grant_expiry)
    verdict = decide(tenant.binding, tenant.facts, horizon)
    product = Opinion(state=verdict.state, codes=verdict.codes, missing=frozenset(name.lower() for name in verdict.missing))
    oracle = second_opinion(
        tenant.binding, tenant.facts, tenant.now, key_expiry=tenant.key_expiry, grant_expiry=tenant.grant_expiry
    )
    if product == oracle:
        return oracle
    return Disagreement(tenant=tenant, product=product, oracle=oracle, verdict=verdict)
