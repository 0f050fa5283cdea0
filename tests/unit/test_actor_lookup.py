"""The lookup: one KQL text whose ids are compared whole, whatever characters they hold."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from keydrift.alerts.actor_lookup import actor_lookup
from keydrift.alerts.record import BindingRecord
from keydrift.drift import Alert, Moment, Via, compare
from keydrift.model import Consumer, KeyBinding, Scenario
from support.builders import (
    BACKUP_VAULT,
    NOW,
    POLICY,
    RBAC,
    VAULT,
    VM,
    binding,
    granting,
    judged,
    key_at,
    key_object,
    rid,
    with_object,
)

MINUTE = timedelta(minutes=1)


def lost(of: KeyBinding, **changes: object) -> Alert:
    facts = replace(granting(of, POLICY, ()), read_at=NOW)
    alert = compare(BindingRecord.created(of.id, NOW), judged(of, facts), Moment(now=NOW, via=Via.SWEEP)).alert
    assert alert is not None
    return replace(alert, **changes)  # type: ignore[arg-type]


def test_it_looks_where_and_when_the_change_was() -> None:
    """From the last read that saw it otherwise to the finding, at the key store, what stands below and what grants above it."""
    text = actor_lookup(lost(binding(Scenario.CVM_CMK), sought_since=NOW - 20 * MINUTE))
    assert text.count("TimeGenerated between (datetime(2026-03-01T11:35:00Z) .. datetime(2026-03-01T12:05:00Z))") == 2
    assert f'_ResourceId =~ "{VAULT}" or _ResourceId startswith "{VAULT}/"' in text
    group, subscription = VAULT.partition("/providers/")[0], VAULT.partition("/resourceGroups/")[0]
    assert f'_ResourceId startswith "{group}/providers/Microsoft.Authorization/"' in text
    assert f'_ResourceId startswith "{subscription}/providers/Microsoft.Authorization/"' in text
    assert 'OperationNameValue in~ ("microsoft.keyvault/vaults/accesspolicies/write", "microsoft.keyvault/vaults/write")' in text
    assert f'ResourceId =~ "{VAULT}"' in text


def test_a_loss_never_seen_otherwise_is_looked_for_in_the_day_before() -> None:
    """Without a read before, a day is searched."""
    assert "datetime(2026-02-28T11:55:00Z)" in actor_lookup(lost(binding(Scenario.CVM_CMK), sought_since=None))


def test_findings_that_no_operation_brings_about_look_at_every_change() -> None:
    """A disabled key has no event of ARM's: every change of rights and key stores is shown, and the vault's own log."""
    of = binding(Scenario.CVM_CMK)
    held = granting(of, RBAC, ("Microsoft.KeyVault/vaults/keys/*",))
    verdict = judged(of, with_object(held, of.target, key_object(of.target, enabled=False)))
    alert = compare(BindingRecord.created(of.id, NOW), verdict, Moment(now=NOW, via=Via.SWEEP)).alert
    assert alert is not None
    assert 'OperationNameValue startswith "microsoft.keyvault/" or' in actor_lookup(alert)


def test_no_id_is_compared_in_part() -> None:
    """Every prefix that is compared ends with a slash: `kv1` is not `kv10`."""
    consumers = tuple(Consumer(id=rid(f"{VM}{n}")) for n in range(9))
    text = actor_lookup(lost(binding(Scenario.BACKUP_VAULT_CMK, consumers=consumers)))
    prefixes = re.findall(r"_ResourceId startswith [\"']([^\"']*)[\"']", text)
    assert prefixes
    assert all(each.endswith("/") for each in prefixes)
    assert f"{BACKUP_VAULT}/" in prefixes
    # five consumers are enough to find who it was
    assert [f"{VM}{n}/" in prefixes for n in range(9)] == [True] * 5 + [False] * 4
    assert not re.search(r"\b(contains|has|has_any|matches)\b", text)


def test_quotes_do_not_end_a_literal() -> None:
    """A name with quotes stays inside its literal."""
    evil = VAULT.replace("kv1", 'kv"1')
    of = binding(Scenario.CVM_CMK, target=key_at(store=evil))
    blind = replace(lost(of), verdict=replace(lost(of).verdict, key_store=None))
    assert '/vaults/kv\\"1"' in actor_lookup(blind)
    assert '/vaults/kv"1' not in actor_lookup(blind)
