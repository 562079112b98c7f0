"""Evidence without tolerance: polynomial systems agree to the bit on whole numbers and halves, and what hides in rounding shows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import reduce
from itertools import chain
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify import exact_squares as exactness
from nlc.verify.arithmetic import NotRational
from nlc.verify.dyadic import DYADIC, Dyadic
from nlc.verify.exact_squares import exact_squares, reckoned
from nlc.verify.exact_steps import exact_step_squares
from nlc.verify.load import load_source
from nlc.verify.squares import Square, check_squares
from tests.architecture.modules import ROOT
from tests.emit.systems import program_from
from tests.verify import test_time as time
from tests.verify.slow_systems import LAYER
from tests.verify.test_parts_of_tokens import DELTA_PRODUCT, OLDER_PARTS_EXACTLY

ARCHITECTURES = tuple(sorted((ROOT / "specs" / "architectures").glob("*.yaml")))
OPTIMIZERS = tuple(sorted((ROOT / "specs" / "optimizers").glob("*.yaml")))


def squares_of(program: Program, text: str = "") -> list[Square]:
    made = getattr(load_source(text or emit_module(program)), program.model.name)
    return list((exact_step_squares if program.model.kind == "optimizer" else exact_squares)(program, made))


LAYERS = {
    "cms",
    "cms_in_context",
    "cms_independent",
    "cms_nested",
    "cms_nested_in_context",
    "delta_rule_layer",
    "gated_delta_rule_layer",
    "mamba2_layer",
    "memory_as_context_layer",
    "memory_as_gate_layer",
    "retention_layer",
    "self_modifying_titans",
    "swiglu_layer",
    "titans_layer",
    "titans_linear_layer",
    "ttt_linear_layer",
}
ATTENTION = {
    "segment_attention",
    "sliding_window_attention",
    "sliding_window_attention_layer",
    "softmax_attention",
    "softmax_attention_layer",
}
DEEP = {"atlas", "dla", "titans", "ttt_linear", "ttt_mlp", "yaad", "moneta", "memora", "hope_inner", "hope_inner_per_token"}
POLYNOMIAL = {path.stem for path in ARCHITECTURES} - {"hebbian_mlp", "longhorn", "mesa", *LAYERS, *ATTENTION, *DEEP}
POLYNOMIAL |= {"gradient_descent", "heavy_ball", "momentum", "nesterov", "nesterov_momentum"}


@pytest.mark.parametrize("spec", (*ARCHITECTURES, *OPTIMIZERS), ids=lambda spec: spec.stem)
def test_shipped_specs_are_exact_where_they_are_polynomial(spec: Path) -> None:
    squares = squares_of(pipeline.compile_program(spec))
    assert [square.text for square in squares if not square.closed] == []
    assert all(square.applies for square in squares) is (spec.stem in POLYNOMIAL)
    assert {square.bound for square in squares} == {0.0}


SYSTEMS = {
    "previous inputs": time.PREVIOUS,
    "a mean over four tokens, and a held read": time.PERIOD.replace("3 tokens", "4 tokens"),
    "levels of three clocks": time.MIXED.replace("0.1", "0.25"),
    "a reset to a start": time.BEGUN.replace("1 / tick", "0.5"),
    "three updates a token": DELTA_PRODUCT,
    "older values of each part of a token": OLDER_PARTS_EXACTLY,
    "axes split and joined": LAYER,
}


@pytest.mark.parametrize("what", SYSTEMS)
def test_systems_in_time_are_exact(what: str) -> None:
    squares = squares_of(program_from(SYSTEMS[what]))
    assert all(square.applies for square in squares), squares[0].text
    assert [square.text for square in squares if not square.closed] == []
    assert {square.right for square in squares} >= {"exact numbers", "laws", "forward", "forward_by_token", "step", "forward in pieces"}


NETWORK = """
nlc: 1
name: Network
dims: {{d: 3}}
inputs: {{x: [d], target: [d], rate: {{shape: [], range: {range}}}}}
levels:
  memory:
    memory: mlp(d, d, d, activation = {activation})
    keys: x
    values: target
    objective: {objective}
    optimizer: gradient_descent({by})
    every: token
outputs: {{y: memory(x)}}
"""


def network(activation: str = "relu", objective: str = "dot", by: str = "rate", range: str = "[0, 1]") -> Program:
    return program_from(NETWORK.format(activation=activation, objective=objective, by=by, range=range))


def test_what_is_polynomial_piece_by_piece_is_exact_too() -> None:
    squares = squares_of(network())
    assert [square.text for square in squares if not (square.applies and square.closed)] == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (network(activation="gelu"), "gelu"),
        (network(by="0.1"), "-1/10 is no whole number over a power of two"),
        (network(by="rate / (1 + rate)"), "it divides by what is no power of two"),
        (network(by="sqrt(rate)"), "sqrt"),
        (network(by="rate / 2 ** 60"), "numbers get too long for float64 after 0 tokens"),
        (network(range="[0.31, 0.32]"), "no small number over a power of two is in the range of rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_report_says_why_a_system_is_not_exact(program: Program, reason: str) -> None:
    (square,) = squares_of(program)
    assert not square.applies
    assert square.text.endswith(f"the laws do not stay exact: {reason}")


# --- what only these squares see ---------------------------------------------------------------------------------

HIDDEN = (
    ("delta_rule", "memory = torch.baddbmm(memory, write.mT, key)", "memory = torch.baddbmm(memory, write.mT, key) * (1 + 2.0**-50)"),
    ("delta_rule", "error = prediction - v", "error = prediction - v * (1 + 2.0**-51)"),
    ("retention", "gamma = 1 - 2 ** (-5 - heads_index)", "gamma = 1 - torch.exp2(-5 - heads_index) * (1 - 2.0**-48)"),
    (
        "momentum",
        "torch._foreach_add_(momentum, gradient, alpha=-learning_rate)",
        "torch._foreach_add_(momentum, gradient, alpha=-learning_rate * (1 + 2.0**-51))",
    ),
)
"""Changes too small for the bounds of rounding."""


@pytest.mark.parametrize(("name", "old", "new"), HIDDEN)
def test_what_hides_in_rounding_is_seen(name: str, old: str, new: str) -> None:
    (spec,) = (spec for spec in (*ARCHITECTURES, *OPTIMIZERS) if spec.stem == name)
    program = pipeline.compile_program(spec)
    text = emit_module(program)
    assert old in text
    squares = check_squares(program, text.replace(old, new))
    still_open = {square.left for square in squares if not square.closed}
    assert exactness.NAME in still_open <= {exactness.NAME, "state before"}  # no bound is wide enough for what must not change at all


def test_the_evidence_is_not_trivial() -> None:
    wanted = reckoned(pipeline.compile_program(ROOT / "specs" / "architectures" / "delta_rule.yaml"))
    assert wanted.drawn.tokens == 9
    assert set(wanted.drawn.inputs["beta"].unique().tolist()) == {0.0, 0.5, 1.0}
    assert all(bool(tensor.frac().any()) and float(tensor.abs().max()) > 4 for tensor in (*wanted.outputs.values(), *wanted.state.values()))


# --- the numbers -------------------------------------------------------------------------------------------------


def drawn(seed: int) -> list[Dyadic]:
    generator = random.Random(seed)
    return [Dyadic.of(Fraction(generator.randint(-5, 5), 2 ** generator.randint(0, 3))) for _ in range(12)]


@pytest.mark.parametrize("seed", range(20))
def test_a_reach_bounds_every_grouping(seed: int) -> None:
    """A product of sums, multiplied out in any order and added up in any: no part is longer than the reach of the whole."""
    left, right = drawn(seed)[:6], drawn(seed + 100)[:6]
    whole = reduce(Dyadic.__add__, left) * reduce(Dyadic.__add__, right)
    terms = [Fraction(a) * Fraction(b) for a in left for b in right]
    random.Random(seed).shuffle(terms)
    parts = list(chain(terms, _partial_sums(terms), _partial_sums(list(map(Fraction, left)))))
    assert all(abs(part) * 2**whole.bits <= whole.reach and (part * 2**whole.bits).denominator == 1 for part in parts)
    assert sum(terms) == whole


def _partial_sums(terms: list[Fraction]) -> Iterator[Fraction]:
    total = Fraction(0)
    for term in terms:
        total += term
        yield total


def test_exactness_ends_where_float64_rounds() -> None:
    longest = Dyadic.of(2**52 - 1)
    assert longest.is_exact
    assert not (longest + 1).is_exact
    assert not (longest * Dyadic.of(Fraction(1, 2)) + longest).is_exact
    assert 2.0**53 + 1 == 2.0**53  # what is_exact is about


def test_only_powers_of_two_divide() -> None:
    assert Dyadic.of(3) / Dyadic.of(-4) == Fraction(-3, 4)
    for divisor in (0, 3, Fraction(3, 4)):
        with pytest.raises(NotRational):
            Dyadic.of(1) / Dyadic.of(divisor)
    with pytest.raises(NotRational):
        Dyadic.of(Fraction(1, 3))
    assert DYADIC.power(Dyadic.of(2), Dyadic.of(-5)) == Fraction(1, 32)
    assert DYADIC.power(Dyadic.of(Fraction(-3, 2)), Dyadic.of(2)) == Fraction(9, 4)
