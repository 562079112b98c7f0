"""The mutator itself: what each operator makes of a line, what is left alone, and that the draw is fair and repeatable."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.mutator import OPERATORS, drawn, mutants, operator_name
from tests.mutation.shipped import FEW, FILES, shipped

LINES = (
    ("sign flipped", "y = a + b", {"y = a - b"}),
    ("minus added or dropped", "f(a, alpha=-1)", {"f(a, alpha=1)"}),
    ("minus added or dropped", "y = (a + b) * c", {"y = -((a + b) * c)"}),
    ("term dropped", "y = a - b", {"y = a", "y = (-b)"}),
    ("term dropped", "y = torch.baddbmm(a, b, c)", {"y = (b @ c)"}),
    ("factor dropped", "y = (a + b) * c", {"y = (a + b)", "y = c"}),
    ("operands swapped", "y = (a + b) @ c", {"y = c @ (a + b)"}),
    ("transposed", "y = a @ b.mT", {"y = a @ b", "y = a.mT @ b.mT"}),
    ("done in place", "y = a * b", {"y = a.mul_(b)"}),
    ("done in place", "y = torch.baddbmm(a, b, c)", {"y = a.baddbmm_(b, c)"}),
    ("detached", "y = a * b", {"y = a.detach() * b", "y = a * b.detach()"}),
    ("index changed", "y = a[0, -1]", {"y = a[1, -1]", "y = a[0, 0]"}),
    ("slice changed", "y = a[:, 1:]", {"y = a[1:, 1:]", "y = a[:, :]", "y = a[:, :-1]"}),
    ("new dim moved", "y = a[..., None]", {"y = a[..., None, :]"}),
    ("new dim moved", "y = a[..., None, :]", {"y = a[None, ..., :]", "y = a[..., :, None]"}),
    ("mask moved", "y = a.tril()", {"y = a.tril(-1)", "y = a.tril(1)"}),
    ("call dropped", "y = torch.cat(a, 1)", {"y = a"}),
    ("call dropped", "y = a.to(b)", {"y = a"}),
    ("arguments swapped", "f(a, b, x=a, y=b)", {"f(b, a, x=a, y=b)", "f(a, b, x=b, y=a)"}),
    ("elements swapped", "return a, b", {"return b, a"}),
    ("elements swapped", "y = {'a': a, 'b': b}", {"y = {'a': b, 'b': a}"}),
    ("keyword dropped", "f(a, x=1, y=2)", {"f(a, y=2)", "f(a, x=1)"}),
    ("constant changed", "f(1, 0.5, True)", {"f(2, 0.5, True)", "f(1, 1.0, True)", "f(1, 0.5, False)"}),
    ("key changed", "y = a['one'] + b['two']", {"y = a[\"two\"] + b['two']", "y = a['one'] + b[\"one\"]"}),
    ("word changed", "y = a.new_zeros(b)", {"y = a.new_ones(b)"}),
    ("comparison changed", "y = a < b", {"y = a <= b"}),
    ("comparison changed", "y = not a", {"y = a"}),
    ("condition fixed", "y = a if b else c", {"y = a if True else c", "y = a if False else c"}),
    ("condition fixed", "y = a and b", {"y = True and b", "y = a and True"}),
    ("variable changed", "return b", {"return a"}),
    ("state stale", "y = a; z = b; return z", {"y = a; z = b; return state"}),
    ("statement dropped", "a.append(b)", {"pass"}),
    ("statements swapped", "b = a; a = c", {"a = c; b = a"}),
    ("loop shortened", "y = [x for x in a]", {"y = [x for x in list(a)[1:]]", "y = [x for x in list(a)[:-1]]"}),
    ("result lost", "return a", {"return None"}),
)
"""An operator, the body of a function, and all that the operator makes of it."""


def bodies(operator: str, body: str) -> set[str]:
    head = "def f(a, b, c, state):\n    "
    return {mutant.text.removeprefix(head) for mutant in mutants(head + body + "\n") if mutant.operator == operator}


@pytest.mark.parametrize(("operator", "body", "made"), LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_an_operator_makes_of_a_line(operator: str, body: str, made: set[str]) -> None:
    assert bodies(operator, body) == {f"{text}\n" for text in made}


def test_a_guard_is_a_with_or_a_decorator() -> None:
    text = "@torch.no_grad()\ndef f(a):\n    with torch.enable_grad():\n        a()\n"
    made = {mutant.text for mutant in mutants(text) if mutant.operator == "guard dropped"}
    assert made == {text.replace("torch.enable_grad()", "memoryview(b'')"), text.replace("@torch.no_grad()", "")}


def test_every_operator_is_shown() -> None:
    assert {operator for operator, _, _ in LINES} | {"guard dropped"} == {operator_name(operator) for operator in OPERATORS}


UNTOUCHED = '''"""Words."""
import torch
__all__ = ["f"]
@overload
def f(a: int = 1) -> None: ...
def f(a: Tensor[1]) -> None:
    """More words."""
    raise ValueError(f"{a} is not {1 + 2}")
'''


def test_what_is_excluded_is_left_alone() -> None:
    assert {mutant.operator for mutant in mutants(UNTOUCHED)} == {"call dropped", "statement dropped"}


def test_a_name_is_not_lost_with_the_statement_that_alone_binds_it() -> None:
    assert bodies("statement dropped", "y = a; a = y") == {"y = a; pass\n"}
    assert bodies("statements swapped", "y = a; c = y") == set()


@pytest.mark.parametrize("file", [pytest.param(file, marks=[] if file in FEW[:3] else [pytest.mark.slow]) for file in FILES])
def test_mutants_are_one_edit_away_different_and_python(file: str) -> None:
    item = shipped(file)
    assert len({mutant.text for mutant in item.mutants} | {item.text}) == len(item.mutants) + 1
    for mutant in item.mutants:
        ast.parse(mutant.text)
        assert mutant.before != mutant.after
        assert f"line {mutant.line}:" in mutant.diff


def test_the_draw_is_repeatable_and_takes_turns() -> None:
    pools = {name: mutants(f"def f(a, b):\n    c = a + b\n    return c * {number}\n") for number, name in enumerate("pqr", start=2)}
    draw = drawn(pools, 12, seed=1)
    assert draw == drawn(pools, 12, seed=1)
    assert draw != drawn(pools, 12, seed=2)
    files = [file for file, _ in draw]
    assert {files.count(name) for name in pools} == {4}
    assert len(drawn(pools, 10_000, seed=1)) == sum(len(pool) for pool in pools.values())
