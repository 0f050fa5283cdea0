"""Every reader of what others wrote: on what broke it once, on hostile changes of real documents, on noise, and at its size."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fuzz_targets import JSON_TARGETS, ROOT, TARGETS
from support.hostile import STRINGS, VALUES, mutated, spelled

KEPT = ROOT / "tests" / "fuzz_corpus"
MEGABYTES = 10 * 1024 * 1024


def kept() -> list[Path]:
    return sorted(path for path in KEPT.rglob("*") if path.is_file() and path.suffix != ".md")


@pytest.mark.parametrize("path", kept(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_broke_a_reader_once_breaks_none_now(path: Path) -> None:
    """Each input that fuzzing found, and each that led the coverage somewhere new, is read without an undocumented error."""
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_values_break_no_reader(name: str) -> None:
    """Nothing but the documented errors comes of a value that was made to break a parser, alone or as a document."""
    run = TARGETS[name].run
    for value in VALUES:
        run(json.dumps(value).encode())
    for text in STRINGS:
        run(text.encode("utf-8", "surrogatepass"))
    run(b"")
    run(bytes(range(256)))


@pytest.mark.parametrize("name", sorted(JSON_TARGETS))
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_hostile_changes_of_real_documents_break_no_reader(name: str, seed: int) -> None:
    """Documents that are real but for a few hostile places give a value or a documented error."""
    dice = random.Random(seed)
    target = TARGETS[name]
    chosen = dice.choice(target.seeds())
    lead = chosen[:1] if name == "answers" else b""
    document = mutated(json.loads(chosen[len(lead) :].decode("utf-8-sig")), dice)
    target.run(bytes([dice.randrange(8)]) * len(lead) + spelled(document, dice).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise_breaks_no_reader(name: str, data: bytes) -> None:
    """Any bytes at all give a value or a documented error."""
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(b"a" * MEGABYTES, id="one word"),
        pytest.param(b"/a" * (MEGABYTES // 2), id="one path"),
        pytest.param(b'"' + b"x" * MEGABYTES + b'"', id="one string"),
        pytest.param(b"[" * 1_000_000, id="nesting"),
        pytest.param(b'{"a":' * 100_000, id="nested objects"),
        pytest.param(b"9" * 1_000_000, id="one number"),
        pytest.param(b"[" + b"{}," * 300_000 + b"{}]", id="many items"),
        pytest.param(b"{" + b'"id":1,' * 300_000 + b'"id":2}', id="a member again and again"),
        pytest.param(b"- [" * 100_000, id="nested lists in YAML"),
    ],
)
def test_ten_megabytes_break_no_reader(name: str, shape: bytes) -> None:
    """Size and depth alone give a value or a documented error: no recursion to the stack's end, no wait without one."""
    TARGETS[name].run(shape)
