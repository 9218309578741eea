"""YAML: data, positions, and refusals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.documents import load, load_all
from harness.errors import Position, ScenarioError

FILE = Path("lab.yaml")

TEXT = """\
# a comment
machine:
  mac: 52:54:00:00:00:01
  cpus: 2
  disks:
    - size: 1GiB
    - {size: 2GiB}
when: 2024-01-02
yes: no
octal: 012
"""


def test_mac_date_and_yaml_1_1_words_stay_text() -> None:
    document = load(TEXT, file=FILE)
    assert document.data == {
        "machine": {
            "mac": "52:54:00:00:00:01",
            "cpus": 2,
            "disks": [{"size": "1GiB"}, {"size": "2GiB"}],
        },
        "when": "2024-01-02",
        "yes": "no",
        "octal": 12,
    }


def test_a_yaml_1_1_directive_does_not_turn_macs_into_numbers() -> None:
    assert load("%YAML 1.1\n---\nmac: 52:54:00:00:00:01\n").data == {"mac": "52:54:00:00:00:01"}


@pytest.mark.parametrize(
    ("path", "key", "line", "column"),
    [
        ((), False, 2, 1),
        (("machine", "mac"), False, 3, 8),
        (("machine", "mac"), True, 3, 3),
        (("machine", "disks", 1, "size"), False, 7, 14),
        (("machine", "disks", 0), False, 6, 7),
        (("machine", "absent"), False, 3, 3),
        (("machine", "absent", "deeper"), True, 2, 1),
    ],
)
def test_positions(path: tuple[str | int, ...], key: bool, line: int, column: int) -> None:
    position = load(TEXT, file=FILE).position(path, key=key)
    assert position == Position(file=FILE, line=line, column=column)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key 'a' is given twice"),
        ("a:\n\tb: 1\n", 2, 1, "not YAML"),
        ("a: b: c", 1, 5, "mapping values are not allowed"),
        ("a: [1,\n", 2, 1, "not YAML"),
        ("a: !!python/object:os.system x", 1, 4, "is not supported here"),
        ("a: !thing x", 1, 4, "the tag !thing is not supported"),
        ("a: !!int x", 1, 4, "not what !!int promises"),
        ("a: *nowhere", 1, 4, "no anchor &nowhere"),
        ("a: &x [*x]", 1, 8, "no anchor &x"),
        ("x: 1\ny: \x01", 2, 4, "is not allowed"),
        ("[a]: 1", 1, 1, "a key must be a plain value"),
        ("a: 1\n---\nb: 1\n", 3, 1, "a second document"),
        ("# nothing\n", 1, 1, "nothing in here"),
        ("[" * 100 + "]" * 100, 1, 66, "nested deeper"),
        ("a: 1\n<<: 3\n", 2, 1, "merges mappings only"),
    ],
)
def test_refusals_have_a_position(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(text, file=FILE)
    assert message in str(caught.value)
    assert caught.value.at == Position(file=FILE, line=line, column=column)


def test_a_duplicate_key_names_the_first() -> None:
    with pytest.raises(ScenarioError, match=r"lab\.yaml:1:1 already"):
        load("a: 1\na: 2\n", file=FILE)


def test_the_same_text_in_two_files_has_its_place_in_each() -> None:
    """Nodes of a text that was seen before are shared; files, data and mistakes are not."""
    here, there = (load("a: {b: [1]}", file=Path(name)) for name in ("here.yaml", "there.yaml"))
    here.data["a"]["b"].append(2)
    assert there.data == {"a": {"b": [1]}}
    assert str(here.position(("a", "b"))) == "here.yaml:1:8"
    assert str(there.position(("a", "b"))) == "there.yaml:1:8"
    inner = load("a: {b: [1]}", file=Path("in.yaml"), place=there.place)
    assert str(inner.position(("a", "b"))) == "there.yaml:1:8"
    for name in ("here.yaml", "there.yaml"):
        with pytest.raises(ScenarioError, match="given twice") as caught:
            load("a: 1\na: 2", file=Path(name))
        assert str(caught.value.at) == f"{name}:2:1"
        assert caught.value.hint == f"it was given at {name}:1:1 already"


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ScenarioError, match="aliases expand"):
        load("\n".join(lines))


def test_anchors_and_merges() -> None:
    document = load("base: &b {cpus: 1, mem: 2}\nvm:\n  <<: *b\n  cpus: 4\n", file=FILE)
    assert document.data["vm"] == {"cpus": 4, "mem": 2}
    assert document.position(("vm", "mem")) == Position(file=FILE, line=1, column=25)


def test_several_documents_and_empty_ones() -> None:
    documents = load_all("---\n---\nkind: A\n---\n# only a comment\n---\nkind: B\n", file=FILE)
    assert [d.data["kind"] for d in documents] == ["A", "B"]
    assert documents[1].position(("kind",)).line == 7


def test_text_in_a_block_scalar_keeps_its_place() -> None:
    text = "spec:\n  data: |\n    version: '0.1'\n\n    tasks:\n      - name: x\n  plain: abc\n"
    document = load(text, file=FILE)
    inner = document.embedded(("spec", "data"))
    assert inner.position(("tasks", 0, "name")) == Position(file=FILE, line=6, column=15)
    assert document.inside(("spec", "plain"), 1, 2) == Position(file=FILE, line=7, column=11)
    with pytest.raises(ScenarioError) as caught:
        load("data: |\n  a: 1\n  a: 2\n", file=FILE).embedded(("data",))
    assert caught.value.at == Position(file=FILE, line=3, column=3)


def test_crlf_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: |\r\n  b: 1\r\n  c: 2\r\n")
    document = load(path)
    assert document.embedded(("a",)).position(("c",)) == Position(file=path, line=3, column=6)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1")
    with pytest.raises(ScenarioError, match=r"no such file\n.*other\.yaml"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(ScenarioError, match="can't be read: Is a directory"):
        load(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ScenarioError, match=r"binary\.yaml:2:4: not UTF-8 text"):
        load(binary)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"# " + b"x" * (2 << 20))
    with pytest.raises(ScenarioError, match="more than 1024 KiB"):
        load(large)


@given(
    st.text(
        alphabet=st.sampled_from("ab: -\n\t[]{},&*!|>'\"#?%@`<~\\.0\x00\ufeff\u2028é"), max_size=60
    )
)
def test_arbitrary_text_never_crashes(text: str) -> None:
    try:
        documents = load_all(text, file=FILE)
    except ScenarioError as error:
        at = error.at
    else:
        at = Position(file=FILE)
        for document in documents:
            document.position()
    assert at is not None
    assert 1 <= at.line <= text.count("\n") + text.count("\u2028") + 2


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=10,
)


def ruamel_reads(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return None


@given(st.dictionaries(_text, _values, min_size=1, max_size=4))
def test_reads_what_ruamel_writes(value: dict[str, Any]) -> None:
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(value, out)
    # ruamel can't read all that it writes ('?0', U+0085)
    assume(ruamel_reads(out.getvalue()) == value)
    assert load(out.getvalue()).data == value
