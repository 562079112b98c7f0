from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError
from nlc.ir.spec import Call, Listing, Name, Number, Syntax
from nlc.parse.expressions import parse_expression
from nlc.parse.nodes import Scalar
from nlc.parse.sizes import children
from nlc.source import Source, Span
from tests.parse.examples import codes, expression, form, mistakes

GRAMMAR = (
    ("a + b * c", "(a + (b * c))"),
    ("a - b - c", "((a - b) - c)"),
    ("a / b * c", "((a / b) * c)"),
    ("a @ b * c", "((a @ b) * c)"),
    ("a * b @ c", "((a * b) @ c)"),
    ("(a + b) * c", "((a + b) * c)"),
    ("-a * b", "((-a) * b)"),
    ("-a ** 2", "(-(a ** 2))"),
    ("a ** -b", "(a ** (-b))"),
    ("a ** -b * c", "((a ** (-b)) * c)"),
    ("a ** b ** c", "(a ** (b ** c))"),
    ("a ** -b ** c", "(a ** (-(b ** c)))"),
    ("(a ** b) ** c", "((a ** b) ** c)"),
    ("--a", "(-(-a))"),
    ("a - -b", "(a - (-b))"),
    ("a == b + c", "(a == (b + c))"),
    ("a > b ~ c", "(a > b ~ c)"),
    ("a <= b != c >= d < e", "(a <= b != c >= d < e)"),
    ("a == b and c == d and e", "(((a == b) and (c == d)) and e)"),
    ("n in [2, 4, 8]", "(n in [2, 4, 8])"),
    ("(a == b) == c", "((a == b) == c)"),
    ("f()", "f()"),
    ("f(a, b)", "f(a, b)"),
    ("f(a, over = b + c)", "f(a, over=(b + c))"),
    ("prev(memory)(k)", "prev(memory)(k)"),
    ("-prev(memory)(k) ** 2", "(-(prev(memory)(k) ** 2))"),
    ("(a + b)(k)", "(a + b)(k)"),
    ("project_q.momentum > a", "(project_q.momentum > a)"),
    ("a . b", "a.b"),
    ("16 tokens", "<16 token>"),
    ("1 step", "<1 step>"),
    ("2 sequences", "<2 sequence>"),
    ("period steps", "<period step>"),
    ("(period steps) / 5", "(<period step> / 5)"),
    ("(2 * n) tokens", "<(2 * n) token>"),
    ("2 * n tokens", "(2 * <n token>)"),
    ("f(n) tokens", "<f(n) token>"),
    ("hold(x, n tokens)(k)", "hold(x, <n token>)(k)"),
    ("token / n", "(token / n)"),
    ("step", "step"),
    ("(x) -> scale * x", "(x -> (scale * x))"),
    ("(x, y) -> x == y", "(x, y -> (x == y))"),
    ("f((x) -> x, a)", "f((x -> x), a)"),
    ("[]", "[]"),
    ("[a, 2 tokens]", "[a, <2 token>]"),
    ("optimizers/momentum(learning_rate = beta)", "(optimizers / momentum(learning_rate=beta))"),
    ("0.5", "1/2"),
    (".5", "1/2"),
    ("1e-3", "1/1000"),
    ("2.5E2", "250"),
    ("012", "12"),
    ("no", "no"),
    ("dotted.android", "dotted.android"),
    ("android + index", "(android + index)"),
)


@pytest.mark.parametrize(("text", "tree"), GRAMMAR)
def test_grammar(text: str, tree: str) -> None:
    scalar = Scalar(text, Span(Source("test", text), 0, len(text)))
    assert form(parse_expression(scalar)) == tree


REFUSED = (
    ("'  '", "NLC121", "'  '"),
    ("a b", "NLC126", "a b"),
    ("f(x) y", "NLC126", ") y"),
    ("f(a b)", "NLC126", "a b"),
    ("16 tokens steps", "NLC126", "tokens steps"),
    ("2x", "NLC127", "2x"),
    ("2tokens", "NLC127", "2tokens"),
    ("1_000", "NLC127", "1_000"),
    ("(a + b", "NLC128", "("),
    ("f(a, (b)", "NLC128", "("),
    ("f(", "NLC128", "("),
    ("(a]", "NLC128", "("),
    ("a + b)", "NLC129", ")"),
    (") + a", "NLC129", ")"),
    ("f(a,)", "NLC130", ","),
    ("f(a, b,", "NLC130", ","),
    ("m = a", "NLC131", "="),
    ("(m = a)", "NLC131", "="),
    ("<k, v>", "NLC132", "<"),
    ("a + <k, v>", "NLC132", "<"),
    ("1e401", "NLC133", "1e401"),
    ("1e-401", "NLC133", "1e-401"),
    ("1" * 41, "NLC133", "1" * 41),
    ("f(a = 1, b)", "NLC134", "b"),
    ("f(a = 1, a = 2)", "NLC135", "a"),
    ("(x, x) -> x", "NLC135", "x"),
    ("k[0]", "NLC136", "["),
    ("a + * b", "NLC125", "*"),
    ("a +", "NLC125", ""),
    ("a, b", "NLC125", ","),
    ("f(, a)", "NLC125", ","),
    ("()", "NLC125", ")"),
    ("() -> x", "NLC125", ")"),
    ("x -> x", "NLC125", "->"),
    ("+a", "NLC125", "+"),
    ("f(x).y", "NLC125", "."),
    ("a == == b", "NLC125", "=="),
    ("and a", "NLC125", "and"),
)


@pytest.mark.parametrize(("text", "code", "place"), REFUSED)
def test_refused(text: str, code: str, place: str) -> None:
    (mistake,) = mistakes(lambda: expression(text))
    assert (mistake.code, mistake.labels[0].span.text) == (code, place)
    assert mistake.help


WORDS = (
    ("x ^ 2", "**"),
    ("a & b", "and"),
    ("‖k‖", "norm(x)"),
    ("kᵀ", "transpose(x)"),
    ("α * k", "alpha"),  # noqa: RUF001
    ("μ", "mu"),
    ("é", "acute"),
    ("a ≤ b", "<="),
    ("a − b", "minus"),  # noqa: RUF001
    ("⟨k, v⟩", "dot(k, v)"),
    ("f(x)!", "!="),
)


@pytest.mark.parametrize(("text", "word"), WORDS)
def test_the_word_to_use_is_named(text: str, word: str) -> None:
    (mistake,) = mistakes(lambda: expression(text))
    assert mistake.code == "NLC124"
    assert word in mistake.help


def test_brackets_label_the_opener_and_the_place_of_the_closer() -> None:
    (mistake,) = mistakes(lambda: expression("f(a, (b + c)"))
    assert [label.span.column for label in mistake.labels] == [7, 18]


@pytest.mark.parametrize(
    "value", ["(" * 64 + "x" + ")" * 64, "-" * 64 + "x", "**".join("x" * 65), "+".join("x" * 200), "f(" * 64 + "x" + ")" * 64]
)
def test_at_the_limit(value: str) -> None:
    parse_expression(Scalar(value, Span(Source("test", value), 0, len(value))))


@pytest.mark.parametrize(
    "value",
    ["(" * 65 + "x" + ")" * 65, "-" * 65 + "x", "**".join("x" * 66), "+".join("x" * 201), "f(" * 65 + "x" + ")" * 65, f"f({'x,' * 2000}x)",
     "a and a==a+a*(" * 200, "a and a==a+a*f([" * 200, "f" + "()" * 200],
)  # fmt: skip
def test_over_the_limit(value: str) -> None:
    assert codes(lambda: parse_expression(Scalar(value, Span(Source("test", value), 0, len(value))))) == ["NLC123"]


def test_long_texts_are_refused() -> None:
    assert codes(lambda: expression("x + " * 1024 + "x")) == ["NLC122"]


SPANS = (
    ("a + beta", ["a", "beta"]),
    ("'a + beta'", ["a", "beta"]),
    ('"a + beta"', ["a", "beta"]),
    ("a +\n  beta", ["a", "beta"]),
    ("|\n  a +\n    beta\n", ["a", "beta"]),
    (">-\n\n  a\n  + beta\n\n\n", ["a", "beta"]),
    ("'a +\n\n   beta'", ["a", "beta"]),
    ("> # not in it\n  a\n\n  + beta\n", ["a", "beta"]),
)


@pytest.mark.parametrize(("value", "places"), SPANS)
def test_spans_in_every_style_of_yaml(value: str, places: list[str]) -> None:
    tree = expression(value)
    assert [child.span.text for child in children(tree)] == places
    assert tree.span.text.split() == ["a", "+", "beta"]


def test_escapes_fall_back_to_the_whole_value() -> None:
    tree = expression(r'"a + \x62"')
    assert tree == expression("a + b")
    assert {child.span.text for child in children(tree)} == {r'"a + \x62"'}


def test_spans_cover_brackets_and_units() -> None:
    tree = expression("f((a + b) * c, over = 2 tokens)")
    assert isinstance(tree, Call)
    assert [argument.span.text for argument in tree.arguments] == ["(a + b) * c"]
    assert [(name.span.text, value.span.text) for name, value in tree.keywords] == [("over", "2 tokens")]
    assert tree.span.text == "f((a + b) * c, over = 2 tokens)"


def test_numbers_are_exact() -> None:
    tree = expression("f([0.1, 1e-400, 3.14159265358979323846])")
    assert isinstance(tree, Call) and isinstance(tree.arguments[0], Listing)
    values = [item.value for item in tree.arguments[0].items if isinstance(item, Number)]
    assert values == [Fraction(1, 10), Fraction(1, 10**400), Fraction("3.14159265358979323846")]


NAMES = st.sampled_from(["a", "b", "memory", "x1"]).map(Name)
NUMBERS = st.integers(0, 10**6).map(lambda value: Number(Fraction(value, 100)))


@given(st.recursive(NAMES.map(form), lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "@", "**", "and"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    st.tuples(inner, st.sampled_from(["==", "<", "~", "in"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    inner.map(lambda text: f"(-{text})"),
    st.lists(inner, max_size=3).map(lambda items: f"f({', '.join(items)})"),
    st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
), max_leaves=12))  # fmt: skip
def test_a_fully_bracketed_text_is_its_own_tree(text: str) -> None:
    assert form(parse_expression(Scalar(text, Span(Source("test", text), 0, len(text))))) == text


@given(st.text(st.sampled_from("ab2.+-*/@<>=~(),[] \n_éα^"), max_size=60) | st.text(max_size=40))
def test_any_text_is_a_tree_or_a_diagnostic_and_spans_nest(text: str) -> None:
    try:
        tree = parse_expression(Scalar(text, Span(Source("test", text), 0, len(text))))
    except CompileError as error:
        assert all(0 <= label.span.start <= label.span.end <= len(text) for item in error.diagnostics for label in item.labels)
    else:
        assert_nested(tree)


def assert_nested(tree: Syntax) -> None:
    for child in children(tree):
        assert tree.span.start <= child.span.start < child.span.end <= tree.span.end
        assert_nested(child)
