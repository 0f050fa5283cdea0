"""Cloud Custodian's answers about access policies, in its own environment: its JMESPath value filter and its whitelist.

The JMESPath expression is compiled once, as the filter itself does, and asks the whole question in one go; of four ways to write
it this is one of the fastest. The whitelist asks another one: whether nobody but the listed users holds more than the listed
permissions. Vaults are handed to both as ARM shows them; the whitelist, which would read each vault again, gets its access
policies in the place where it keeps them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from c7n.filters.core import ValueFilter
from c7n_azure.resources.key_vault import WhiteListFilter
from cpu_time import all_of, medians

HOLDS = (
    "properties.accessPolicies[?objectId=='{who}'].permissions.keys[] | contains(@, 'get') && contains(@, 'list') "
    "&& contains(@, 'backup')"
)


def main() -> None:
    """Read the work, print microseconds of CPU a vault, and what was answered."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    vaults, who = work["vaults"], work["principal"]
    for vault in vaults:
        vault["accessPolicies"] = vault["properties"]["accessPolicies"]
    value = ValueFilter({"type": "value", "key": HOLDS.format(who=who), "value": True})
    whitelist = WhiteListFilter({"type": "whitelist", "key": "objectId", "users": [who], "permissions": work["allowed"]})
    answers = [bool(value(vault)) for vault in vaults]
    jmespath_us = medians(lambda: all_of(value(vault) for vault in vaults), len(vaults))
    whitelist_us = medians(lambda: all_of(whitelist(vault) for vault in vaults), len(vaults))
    print(json.dumps({"jmespath_us": jmespath_us, "whitelist_us": whitelist_us, "answers": answers}))


if __name__ == "__main__":
    main()
