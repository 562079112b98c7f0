from __future__ import annotations

import pytest
import yaml
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError
from nlc.parse.nodes import ListNode, MappingNode, Node, Scalar
from nlc.parse.texts import LARGEST_TEXT, source_of
from nlc.parse.yaml_nodes import read_yaml
from tests.parse.examples import DELTA, codes, mistakes
from tests.timing import is_in_time

LOADERS = (yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else []))


def plain(node: Node) -> object:
    """The tree as Python's own lists and dicts of texts."""
    match node:
        case Scalar(text):
            return text
        case ListNode(items):
            return [plain(item) for item in items]
        case MappingNode(entries):
            return {entry.key.text: plain(entry.value) for entry in entries}


def read(text: str, loader: object = yaml.SafeLoader) -> Node:
    return read_yaml(source_of(text, "test.yaml"), loader)


SCALARS = ("no", "on", "012", "0o7", "1e-3", "12:30:45", "1_000", "2001-01-01", "True", "~", "null", ".inf", "0x1f", "=", "y")


@pytest.mark.parametrize("text", SCALARS)
@pytest.mark.parametrize("loader", LOADERS)
def test_scalars_stay_text(text: str, loader: object) -> None:
    assert plain(read(f"key: {text}", loader)) == {"key": text}
    assert plain(read(f"{text}: value", loader)) == {text: "value"}


TREES = (
    (DELTA, None),
    ("\ufeffkey: value", {"key": "value"}),
    ("---\nkey: value\n...\n", {"key": "value"}),
    ("a: [b, {c: d}]\r\ne:\r\n  - f\r\n", {"a": ["b", {"c": "d"}], "e": ["f"]}),
    ("a: é ü # note\nb: |\n  x\n  y\nc: >-\n  x\n  y\n", {"a": "é ü", "b": "x\ny\n", "c": "x y"}),
    ("a:\n\n\n# end", {"a": ""}),
    ("text", "text"),
)


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_trees_are_the_same_with_both_scanners(text: str, tree: object) -> None:
    nodes = [read(text, loader) for loader in LOADERS]
    assert all(node == nodes[0] for node in nodes)
    assert tree is None or plain(nodes[0]) == tree


def test_every_key_and_value_has_its_exact_span() -> None:
    tree = read("é: 'a b'\nmap:\n  list: [x, y]\n  text: |\n    one\n    two\n\n# note\nend: z\n")
    assert isinstance(tree, MappingNode)
    assert [entry.key.span.text for entry in tree.entries] == ["é", "map", "end"]
    assert [entry.value.span.text for entry in tree.entries] == [
        "'a b'",
        "list: [x, y]\n  text: |\n    one\n    two",
        "z",
    ]


REFUSED = (
    ("", "NLC104"),
    ("# only a comment\n", "NLC104"),
    ("---\n", "NLC104"),
    ("~", "NLC104"),
    ("a: b: c", "NLC105"),
    ("a: 'b", "NLC105"),
    ("a: [b", "NLC105"),
    ("a: {b: c[d, e]}", "NLC105"),
    ("a: - b", "NLC105"),
    ("a: @b", "NLC105"),
    ("a:\n\t- b", "NLC105"),
    ("a: b\n c: d", "NLC105"),
    ("a:\n   b: c\n  d: e", "NLC105"),
    ("a: 'b' c", "NLC105"),
    ("a: b]\n- c", "NLC105"),
    ('a: "\\q"', "NLC105"),
    ('a: "\\u202e"', "NLC105"),
    ('a: "\\ud800"', "NLC105"),
    ('a: "\\UFFFFFFFF"', "NLC105"),
    ("a: >= b", "NLC105"),
    ("a: | b", "NLC105"),
    ("a: }", "NLC105"),
    ("a: *", "NLC105"),
    ("%YAML 1.2\n---\na: b", "NLC105"),
    (f"%YAML {'9' * 5000}.1\n---\na: b", "NLC105"),
    ("a: &x b", "NLC106"),
    ("&x a: b", "NLC106"),
    ("a: *x", "NLC106"),
    ("*x : b", "NLC106"),
    ("&a [*a]", "NLC106"),
    ("a: !!int 3", "NLC107"),
    ("!!python/object/apply:os.system ['true']", "NLC107"),
    ("a: ! b", "NLC107"),
    ("a: !x!y b", "NLC107"),
    ("<<: b", "NLC108"),
    ("a: b\n---\nc: d", "NLC109"),
    ("a: b\nc: d\na: e", "NLC110"),
    ("a: b\n'a': e", "NLC110"),
    ("{a: b, a: c}", "NLC110"),
    ("[a]: b", "NLC111"),
    ("? {a: b}\n: c", "NLC111"),
    ("[" * 41 + "]" * 41, "NLC112"),
    ("a: b\n- c", "NLC105"),
    ("a: [" + "b," * 50_000 + "]", "NLC113"),
    ("{memory: matrix(a, b)}", "NLC114"),
    ("a: [f(x, y), z]", "NLC114"),
    ("a: {b: f(x, g(y, z)), c: d}", "NLC114"),
)


@pytest.mark.parametrize(("text", "code"), REFUSED)
@pytest.mark.parametrize("loader", LOADERS)
def test_refused(text: str, code: str, loader: object) -> None:
    assert codes(lambda: read(text, loader)) == [code]


def test_duplicates_label_the_first_key_and_all_are_reported() -> None:
    found = mistakes(lambda: read("a: 1\nb: 2\na: 3\nb: 4\n"))
    assert [[label.span.line for label in mistake.labels] for mistake in found] == [[3, 1], [4, 2]]


def test_quotes_and_nesting_keep_commas_together() -> None:
    assert plain(read("{a: 'f(x, y)', b: (c)}")) == {"a": "f(x, y)", "b": "(c)"}
    assert plain(read("a: [(b), 'c(', d]")) == {"a": ["(b)", "c(", "d"]}


def test_the_deepest_tree_is_read() -> None:
    assert isinstance(read("[" * 40 + "]" * 40), ListNode)


CHARACTERS = ("\x00", "\x07", "\x1b", "\x7f", "\x85", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\ud800", "\U000e0041")


@pytest.mark.parametrize("character", CHARACTERS)
def test_characters_that_hide_are_refused_where_they_stand(character: str) -> None:
    (mistake,) = mistakes(lambda: read(f"a: é\nb: x{character}y"))
    assert mistake.code == "NLC103"
    assert mistake.labels[0].span.start == 9


def test_a_lone_carriage_return_is_refused() -> None:
    assert codes(lambda: read("a: b\rc: d")) == ["NLC103"]


HOSTILE = (
    "a: &a [x]\n" + "".join(f"{name}: &{name} [{', '.join(['*a'] * 9)}]\n" for name in "bcdefghij"),
    "[" * 5000,
    "[" * LARGEST_TEXT,
    "{" * LARGEST_TEXT,
    "- " * (LARGEST_TEXT // 2),
    "? " * (LARGEST_TEXT // 2),
    "a: " * (LARGEST_TEXT // 3),
    "[a: " * (LARGEST_TEXT // 4),
    "a: b\n" * (LARGEST_TEXT // 5),
    "a: [" + "b, " * 300_000 + "]",
    "".join(f"k{number}: v\n" for number in range(80_000)),
    "\u202e" * (LARGEST_TEXT // 3),
    "&a " * (LARGEST_TEXT // 3),
    "!a " * (LARGEST_TEXT // 3),
    "#" * LARGEST_TEXT,
    'a: "' + "\\x4" * 300_000,
    "x" * (LARGEST_TEXT + 1),
)


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="the bound on time is libyaml's")
@pytest.mark.parametrize("text", HOSTILE, ids=[text[:9].replace("\n", " ") for text in HOSTILE])
def test_hostile_texts_are_refused_fast(text: str) -> None:
    assert codes(lambda: read(text, yaml.CSafeLoader))
    assert is_in_time(0.1 if len(text) < 10_000 else 0.3, lambda: codes(lambda: read(text, yaml.CSafeLoader)))


@given(st.text(st.sampled_from("ab:,[]{}-#&*!|>'\"%@` \n\t()<?~\\xu0é"), max_size=60) | st.text(max_size=40))
def test_any_text_is_a_tree_or_a_diagnostic_whatever_the_scanner(text: str) -> None:
    for loader in LOADERS:
        try:
            assert plain(read(text, loader)) is not None
        except CompileError as error:
            assert all(label.span.end <= len(text) for item in error.diagnostics for label in item.labels)
