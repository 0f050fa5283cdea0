"""The watchlist file: what it declares, and that every mistake is one line with file, line and column."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keydrift.adapters.watchlist_file import read_watchlist
from keydrift.declared import Declarations, DeclaredBinding, Exemption, Match
from keydrift.errors import ConfigError
from keydrift.key_uri import KeyUri
from keydrift.model import ResourceIdentity, Scenario
from keydrift.reading import declarations
from keydrift.resource_id import ResourceId
from keydrift.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg1/providers"
OBJECT = "00000000-0000-0000-0000-000000000101"
BINDING_ID = "00000000-0000-0000-0000-0000000000aa"
KEY = "https://kv1.vault.azure.net/keys/k1"

FULL = f"""\
# what cannot be discovered
version: 1
bindings:
  - scenario: backup-vault-cmk
    key: {KEY}
    key_store: {GROUP}/Microsoft.KeyVault/vaults/kv1
    consumer: {GROUP}/Microsoft.DataProtection/backupVaults/bv1
    identity: {{system_assigned: {OBJECT}}}
  - scenario: rsv-cmk
    key: {KEY}
    consumer: {GROUP}/Microsoft.RecoveryServices/vaults/rsv1
    identity:
      user_assigned: {GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/id1
  - scenario: cvm-des
    key: https://hsm1.managedhsm.azure.net/keys/k1
    key_store: {GROUP}/Microsoft.KeyVault/managedHSMs/hsm1
    consumer: {GROUP}/Microsoft.Compute/virtualMachines/vm1
    identity: {{resource: {GROUP}/Microsoft.Compute/diskEncryptionSets/des1, system_assigned: {OBJECT}}}
  - scenario: ade-kek
    key: {KEY}
    consumer: {GROUP}/Microsoft.Compute/virtualMachines/vm1
    secrets: ["https://kv1.vault.azure.net/secrets/s1"]
exemptions:
  - match: {{binding: {BINDING_ID}}}
    codes: ["*"]
    justification: a test
    author: team
    expires: 2026-12-31
  - match:
      key: "https://kv-test*.vault.azure.net/*"
      scenario: cvm-*
      consumer: "*/vm1"
    codes: [purge-protection-off, soft-delete-off]
    justification: >
      folded over
      two lines
    author: "2026-01-01"
    expires: "2026-12-31T18:00:00+01:00"
"""


def rid(tail: str) -> ResourceId:
    return ResourceId.parse(f"{GROUP}/{tail}")


def read(folder: Path, text: str | bytes) -> Declarations:
    """What a file of this text declares, called `w.yaml` in errors."""
    path = folder / "w.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_watchlist(path, "w.yaml")


def test_everything(tmp_path: Path) -> None:
    """Every member is read as it is meant, comments and YAML's ways of writing included."""
    vault, hsm = rid("Microsoft.KeyVault/vaults/kv1"), rid("Microsoft.KeyVault/managedHSMs/hsm1")
    backup, recovery = rid("Microsoft.DataProtection/backupVaults/bv1"), rid("Microsoft.RecoveryServices/vaults/rsv1")
    chosen = rid("Microsoft.ManagedIdentity/userAssignedIdentities/id1")
    vm, disk_set = rid("Microsoft.Compute/virtualMachines/vm1"), rid("Microsoft.Compute/diskEncryptionSets/des1")
    key = KeyUri.parse(KEY)
    assert read(tmp_path, FULL) == Declarations(
        bindings=(
            DeclaredBinding(
                scenario=Scenario.BACKUP_VAULT_CMK,
                key=key,
                key_store=vault,
                consumer=backup,
                identity=ResourceIdentity(resource_id=backup, system_object_id=OBJECT),
                where="w.yaml:4:5",
            ),
            DeclaredBinding(
                scenario=Scenario.RSV_CMK,
                key=key,
                consumer=recovery,
                identity=ResourceIdentity(resource_id=recovery, user_assigned=chosen, attached={chosen.key: None}),
                where="w.yaml:9:5",
            ),
            DeclaredBinding(
                scenario=Scenario.CVM_DES,
                key=KeyUri.parse("https://hsm1.managedhsm.azure.net/keys/k1"),
                key_store=hsm,
                consumer=vm,
                identity=ResourceIdentity(resource_id=disk_set, system_object_id=OBJECT),
                where="w.yaml:14:5",
            ),
            DeclaredBinding(
                scenario=Scenario.ADE_KEK,
                key=key,
                consumer=vm,
                secrets=(KeyUri.parse("https://kv1.vault.azure.net/secrets/s1"),),
                where="w.yaml:19:5",
            ),
        ),
        exemptions=(
            Exemption(
                match=Match(binding=BINDING_ID),
                codes=frozenset({"*"}),
                justification="a test",
                author="team",
                expires=datetime(2026, 12, 31, 23, 59, 59, 999999, UTC),
                where="w.yaml:24:5",
            ),
            Exemption(
                match=Match(key="https://kv-test*.vault.azure.net/*", scenario="cvm-*", consumer="*/vm1"),
                codes=frozenset({"purge-protection-off", "soft-delete-off"}),
                justification="folded over two lines",
                author="2026-01-01",
                expires=datetime(2026, 12, 31, 17, tzinfo=UTC),
                where="w.yaml:29:5",
            ),
        ),
    )


@pytest.mark.parametrize(
    "text", ["version: 1\n", "version: 1\nbindings: []\nexemptions: []\n", "\ufeffversion: 1", '{"version": 1}']
)
def test_nothing_declared(tmp_path: Path, text: str) -> None:
    """A file may declare nothing, and JSON is YAML."""
    assert read(tmp_path, text) == Declarations()


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    """The example in docs/watchlist.md is a watchlist file."""
    document = (ROOT / "docs" / "watchlist.md").read_text(encoding="utf-8")
    example = document.partition("```yaml\n")[2].partition("```")[0]
    found = read(tmp_path, example)
    assert (len(found.bindings), len(found.exemptions)) == (2, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-12-31", datetime(2026, 12, 31, 23, 59, 59, 999999, UTC)),
        ("'2026-12-31'", datetime(2026, 12, 31, 23, 59, 59, 999999, UTC)),
        ("2026-12-31T18:00:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31t18:00:00z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31 18:00-05:30", datetime(2026, 12, 31, 23, 30, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)),
    ],
)
def test_expiry(tmp_path: Path, value: str, expected: datetime) -> None:
    """A date is valid to its end in UTC, a time is a moment whatever its offset."""
    (found,) = read(tmp_path, EXEMPTION.replace("2026-12-31", value)).exemptions
    assert found.expires == expected


# --- mistakes --------------------------------------------------------------------------------------------------------------

BINDING = f"""\
version: 1
bindings:
  - scenario: backup-vault-cmk
    key: {KEY}
    consumer: {GROUP}/Microsoft.DataProtection/backupVaults/bv1
    identity: {{system_assigned: {OBJECT}}}
"""
MACHINE = f"""\
version: 1
bindings:
  - scenario: ade-kek
    key: {KEY}
    consumer: {GROUP}/Microsoft.Compute/virtualMachines/vm1
    secrets: ["https://kv1.vault.azure.net/secrets/s1"]
"""
EXEMPTION = """\
version: 1
exemptions:
  - match: {scenario: cvm-cmk}
    codes: [purge-protection-off]
    justification: why
    author: team
    expires: 2026-12-31
"""
_SYSTEM = f"{{system_assigned: {OBJECT}}}"

MISTAKES = [
    # the file
    pytest.param("", "", "", "1:1", "got nothing", id="empty"),
    pytest.param("- 1", "", "", "1:1", "to be a mapping", id="a list"),
    pytest.param("bindings: []", "", "", "1:1", "needs `version`", id="no version"),
    pytest.param("version: 2", "", "", "1:10", "expected version 1", id="another version"),
    pytest.param("version: '1'", "", "", "1:10", "expected version 1", id="version as text"),
    pytest.param("version: 1\nbinding: []", "", "", "2:1", "unknown member `binding`", id="unknown section"),
    pytest.param("version: 1\nversion: 1", "", "", "2:1", "`version` stands here twice", id="a section twice"),
    pytest.param("version: 1\nbindings: {}", "", "", "2:11", "`bindings` to be a list", id="bindings no list"),
    pytest.param("version: 1\nbindings:\n", "", "", "2:10", "`bindings` to be a list", id="bindings of nothing"),
    pytest.param("version: 1\nexemptions: [x]", "", "", "2:14", "an exemption to be a mapping", id="an exemption of text"),
    pytest.param("version: 1\nbindings: [", "", "", "2:12", "not YAML", id="not closed"),
    pytest.param("version: 1\n\tbindings: []", "", "", "2:1", "not YAML", id="a tab"),
    pytest.param("version: 1\n--- \nversion: 1", "", "", "2:1", "not YAML", id="two documents"),
    pytest.param("version: 1\nbindings: *x", "", "", "2:11", "not YAML", id="an undefined alias"),
    pytest.param("version: 1\nx: \x01", "", "", "2:4", "does not allow", id="a control character"),
    pytest.param("version: 1\n? [a]\n: b", "", "", "2:3", "unknown member `not text`", id="a list for a name"),
    pytest.param("version: 1\n<<: {bindings: []}", "", "", "2:1", "unknown member `<<`", id="a merge"),
    # key bindings
    pytest.param(BINDING, "    key:", "    kee:", "4:5", "unknown member `kee`", id="unknown member of a binding"),
    pytest.param(BINDING, f"    key: {KEY}\n", "", "3:5", "a key binding needs `key`", id="no key"),
    pytest.param(BINDING, "backup-vault-cmk", "backup-vault", "3:15", "expected a scenario (ade-bek", id="no such scenario"),
    pytest.param(BINDING, KEY, "kv1/k1", "4:10", "expected `https://", id="no address"),
    pytest.param(BINDING, "/keys/k1", "/secrets/k1", "4:10", "one of a key store's keys", id="a secret for a key"),
    pytest.param(
        BINDING, "DataProtection/backupVaults", "RecoveryServices/vaults", "5:15", "backupvaults", id="another consumer"
    ),
    pytest.param(BINDING, f"{GROUP}/Micro", "Micro", "5:15", "starts with `/`", id="no ARM id"),
    pytest.param(BINDING, "    identity", "    key_store: /x\n    identity", "6:16", "or microsoft.keyvault", id="no key store"),
    pytest.param(BINDING, f"    identity: {_SYSTEM}\n", "", "3:5", "needs `identity`", id="no identity"),
    pytest.param(BINDING, _SYSTEM, "{}", "6:15", "exactly one", id="an identity of none"),
    pytest.param(BINDING, "{system_a", "{user_assigned: /x, system_a", "6:15", "exactly one", id="an identity of two"),
    pytest.param(BINDING, OBJECT, "team", "6:33", "expected an object id (a GUID)", id="an object id of text"),
    pytest.param(BINDING, OBJECT, "12", "6:33", "put it in quotes", id="an object id of a number"),
    pytest.param(BINDING, _SYSTEM, "{user_assigned: /x}", "6:31", "userassignedidentities", id="no identity's id"),
    pytest.param(BINDING, _SYSTEM, "{app: x}", "6:16", "unknown member `app` of `identity`", id="unknown kind of identity"),
    pytest.param(BINDING, "{system_a", "{resource: /x, system_a", "6:16", "unknown member `resource`", id="an owner of its own"),
    pytest.param(
        BINDING, "    identity", "    secrets: []\n    identity", "6:14", "are for scenario ade-kek", id="secrets for none"
    ),
    pytest.param(
        MACHINE, '    secrets: ["https://kv1.vault.azure.net/secrets/s1"]\n', "", "3:5", "needs `secrets`", id="no secrets"
    ),
    pytest.param(MACHINE, '["https://kv1.vault.azure.net/secrets/s1"]', "[]", "6:14", "at least one secret", id="empty secrets"),
    pytest.param(MACHINE, "/secrets/s1", "/keys/s1", "6:15", "key store's secrets", id="a key for a secret"),
    pytest.param(MACHINE, "    secrets", f"    identity: {_SYSTEM}\n    secrets", "6:15", "leave `identity` out", id="the app's"),
    pytest.param(BINDING + BINDING.partition("bindings:\n")[2], "", "", "7:5", "the same as line 3", id="a binding twice"),
    # exemptions
    pytest.param(EXEMPTION, "    expires: 2026-12-31\n", "", "3:5", "needs `expires`", id="no expiry"),
    pytest.param(EXEMPTION, "    justification: why\n", "", "3:5", "needs `justification`", id="no justification"),
    pytest.param(EXEMPTION, "    author: team\n", "", "3:5", "needs `author`", id="no author"),
    pytest.param(EXEMPTION, "    author: team", "    owner: team", "6:5", "unknown member `owner`", id="unknown member"),
    pytest.param(EXEMPTION, "author: team", "author: ''", "6:13", "an author, got nothing", id="an author of nothing"),
    pytest.param(EXEMPTION, "author: team", "author:", "6:12", "an author as text", id="an author of null"),
    pytest.param(EXEMPTION, "author: team", "author: 2026-01-01", "6:13", "put it in quotes", id="an author of a date"),
    pytest.param(EXEMPTION, "author: team", "author: yes", "6:13", "put it in quotes", id="an author of a truth value"),
    pytest.param(
        EXEMPTION, "justification: why", "justification: 12", "5:20", "put it in quotes", id="a justification of a number"
    ),
    pytest.param(EXEMPTION, "2026-12-31", "tomorrow", "7:14", "expected a date", id="an expiry of text"),
    pytest.param(EXEMPTION, "2026-12-31", "2026-12-31T18:00:00", "7:14", "with an offset", id="an expiry without an offset"),
    pytest.param(EXEMPTION, "2026-12-31", "2026-02-30", "7:14", "no such date", id="no such day"),
    pytest.param(EXEMPTION, "2026-12-31", "20261231", "7:14", "expected a date", id="an expiry of a number"),
    pytest.param(EXEMPTION, "2026-12-31", "2026-W53-4", "7:14", "expected a date", id="an expiry of a week"),
    pytest.param(EXEMPTION, "2026-12-31", "[2026-12-31]", "7:14", "expected a date", id="an expiry of a list"),
    pytest.param(EXEMPTION, "2026-12-31", "0001-01-01T00:00:00+14:00", "7:14", "no such date", id="before all time"),
    pytest.param(EXEMPTION, "2026-12-31", "!!python/name:os.system", "7:14", "expected a date", id="a tag"),
    pytest.param(EXEMPTION, "[purge-protection-off]", "purge-protection-off", "4:12", "to be a list", id="a code, no list"),
    pytest.param(EXEMPTION, "[purge-protection-off]", "[]", "4:12", "at least one finding code", id="no code"),
    pytest.param(EXEMPTION, "off]", "off, purge]", "4:35", "got `purge`", id="no such code"),
    pytest.param(EXEMPTION, "off]", "off, purge-protection-off]", "4:35", "twice", id="a code twice"),
    pytest.param(EXEMPTION, "[purge-protection-off]", "[*]", "4:14", "not YAML", id="a bare asterisk"),
    pytest.param(EXEMPTION, "{scenario: cvm-cmk}", "{}", "3:12", "at least one of", id="a match of nothing"),
    pytest.param(EXEMPTION, "{scenario: cvm-cmk}", "cvm-cmk", "3:12", "`match` to be a mapping", id="a match of text"),
    pytest.param(
        EXEMPTION, "{scenario: cvm-cmk}", "{vault: kv1}", "3:13", "unknown member `vault`", id="unknown member of a match"
    ),
    pytest.param(EXEMPTION, "cvm-cmk", "cvm", "3:23", "no scenario (", id="a pattern that no scenario fits"),
    pytest.param(EXEMPTION, "scenario: cvm-cmk", "binding: x*", "3:22", "a key binding's id (a GUID)", id="a pattern of ids"),
    pytest.param(EXEMPTION, "scenario: cvm-cmk", "key: ''", "3:18", "a key, got nothing", id="a pattern of nothing"),
    pytest.param(
        EXEMPTION + EXEMPTION.partition("exemptions:\n")[2], "", "", "8:5", "the same as line 3", id="an exemption twice"
    ),
]


@pytest.mark.parametrize(("text", "old", "new", "position", "problem"), MISTAKES)
def test_mistakes(tmp_path: Path, text: str, old: str, new: str, position: str, problem: str) -> None:
    """Every mistake is one line that begins with file, line and column and says what is wrong there."""
    assert old in text
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text.replace(old, new, 1) if old else text)
    message = str(raised.value)
    assert message.startswith(f"w.yaml:{position}: ")
    assert problem in message
    assert "\n" not in message


def test_not_utf_8(tmp_path: Path) -> None:
    """A file of another encoding is refused where it stops being UTF-8."""
    with pytest.raises(ConfigError, match=r"^w\.yaml:2:2: not UTF-8$"):
        read(tmp_path, b"version: 1\n\xc3\xa4\xff")


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is not there is one line that names it."""
    with pytest.raises(ConfigError, match=r"^w\.yaml: cannot be read: "):
        read_watchlist(tmp_path / "w.yaml", "w.yaml")


def test_nested_too_deeply(tmp_path: Path) -> None:
    """A file that would exhaust the stack is refused."""
    with pytest.raises(ConfigError, match=r"^w\.yaml: nested too deeply$"):
        read(tmp_path, "[" * 100_000)


def test_an_alias_is_the_value_it_stands_for(tmp_path: Path) -> None:
    """An anchor may be used again; one that contains itself is no value."""
    (found,) = read(tmp_path, EXEMPTION.replace("why", "&a why").replace("team", "*a")).exemptions
    assert found.author == "why"
    with pytest.raises(ConfigError, match=r"^w\.yaml:4:12: "):
        read(tmp_path, EXEMPTION.replace("[purge-protection-off]", "&a [*a]"))


def test_the_setting_names_the_file(tmp_path: Path) -> None:
    """`KEYDRIFT_WATCHLIST` is relative to the app's root, or absolute; without it nothing is declared."""
    path = tmp_path / "w.yaml"
    path.write_text(EXEMPTION, encoding="utf-8")
    found = declarations(Settings.from_environment({"KEYDRIFT_WATCHLIST": str(path)}))
    assert len(found.exemptions) == 1
    assert declarations(Settings.from_environment({})) == Declarations()
    with pytest.raises(ConfigError, match=r"^docs/watchlist\.md:\d+:\d+: not YAML: "):
        declarations(Settings.from_environment({"KEYDRIFT_WATCHLIST": "docs/watchlist.md"}))
