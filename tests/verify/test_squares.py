"""Squares close on right code, name the stage of wrong code, and survive whatever a module does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from nlc.ir.affine import AffineLaw
from nlc.ir.algebra import MINUS_ONE, Constant, Expr, Map, When
from nlc.ir.build import apply_map, scale, transpose
from nlc.ir.clock import Clock, Family
from nlc.ir.law import Equation
from nlc.ir.model import Model
from nlc.ir.program import Program
from nlc.verify.square import worst
from nlc.verify.squares import Square, check_squares, faulty_stage
from tests import models
from tests.derive import systems
from tests.models import memory, stream
from tests.rows import rows
from tests.timing import is_in_time
from tests.verify.programs import DELTA_RULE, MOMENTUM, program_of

DELTA = program_of(models.delta_rule())


def open_pairs(squares: tuple[Square, ...]) -> set[str]:
    return {square.name for square in squares if not square.closed}


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_every_square_closes_on_a_right_module_in_time() -> None:
    squares = check_squares(DELTA, DELTA_RULE)
    assert is_in_time(5, lambda: check_squares(DELTA, DELTA_RULE))
    assert open_pairs(squares) == set()
    assert faulty_stage(squares) is None
    assert {(square.name, square.quantity) for square in squares} >= {
        (f"{left} = {right}", quantity)
        for left, right in [
            ("oracle", "laws"),
            ("laws", "program"),
            ("oracle", "forward"),
            ("oracle", "forward_by_token"),
            ("oracle", "step"),
        ]
        for quantity in ("outputs", "final state", "gradients")
    }


@pytest.mark.slow
def test_the_squares_are_the_same_every_time() -> None:
    assert check_squares(DELTA, DELTA_RULE) == check_squares(DELTA, DELTA_RULE)


MUTANTS = {
    "sign of a write": ("memory_c @ memory.mT", "-memory_c @ memory.mT"),
    "sign of the overlap": ("overlap = (rate", "overlap = -(rate"),
    "missing rate": ("rate * torch.cat((value, key), -1)", "torch.cat((rate * value, key), -1)"),
    "mask one too high": ("(query @ key.mT).tril()", "(query @ key.mT).tril(1)"),
    "mask one too low": ("(query @ key.mT).tril()", "(query @ key.mT).tril(-1)"),
    "no mask": ("(query @ key.mT).tril()", "(query @ key.mT)"),
    "transposed product": ("(query @ key.mT)", "(key @ query.mT)"),
    "key read for query": ("q_c @ memory.mT", "k_c @ memory.mT"),
    "value written for write": ("memory + write.mT @ k_c", "memory + values_c.mT @ k_c"),
    "stale state": ("memory = memory + write.mT @ k_c", "memory = write.mT @ k_c"),
    "last chunk dropped": ("zip(*(x.unbind(2)", "zip(*(x[:, :, : max(1, x.shape[2] - 1)].unbind(2)"),
    "padding that writes": ("(0, 0, 0, -x.shape[2] % self.chunk))", "(0, 0, 0, -x.shape[2] % self.chunk), value=1.0)"),
    "detached gradient": ("overlap = (rate", "overlap = (rate.detach()"),
    "default chunk used": ("self.chunk = d_k, d_v, chunk", "self.chunk = d_k, d_v, 2"),
    "state given back in bfloat16": (
        "return y.transpose(1, 2).to(v.dtype), memory",
        "return y.transpose(1, 2).to(v.dtype), memory.to(v.dtype)",
    ),
    "autocast left on": ("enabled=False", "enabled=True, dtype=torch.bfloat16"),
    "sign in step": ("prediction - value", "prediction + value"),
    "read before the write in step": ("(memory @ query", "(state @ query"),
    "argument overwritten": ("error = prediction - value", "error = value.neg_().add_(prediction)"),
    "not a number for a token": ("y = torch.cat(outputs, dim=2)", "y = torch.cat(outputs, dim=2) / (time != 1)"),
    "wrong name of an argument": ("def step(self, *, q,", "def step(self, *, query,"),
    "one output too many": ("return y.transpose(1, 2).to(v.dtype), memory", "return {'y': y.transpose(1, 2), 'z': y}, memory"),
}


QUICK = (
    "argument overwritten",
    "default chunk used",
    "mask one too low",
    "missing rate",
    "sign in step",
    "transposed product",
)


@pytest.mark.parametrize("name", rows(MUTANTS, QUICK))
def test_mutants_of_the_module_are_caught_and_emit_is_named(name: str) -> None:
    assert faulty_stage(check_squares(DELTA, changed(DELTA_RULE, *MUTANTS[name]))) == "emit"


@pytest.mark.slow
def test_a_square_names_the_way_that_fails() -> None:
    in_chunks = check_squares(DELTA, changed(DELTA_RULE, *MUTANTS["mask one too low"]))
    assert "oracle = forward" in open_pairs(in_chunks)
    assert not open_pairs(in_chunks) & {"oracle = laws", "laws = program", "oracle = step", "oracle = forward_by_token"}
    leaking = check_squares(DELTA, changed(DELTA_RULE, *MUTANTS["no mask"]))
    assert "forward = forward with another future" in open_pairs(leaking)
    by_step = check_squares(DELTA, changed(DELTA_RULE, *MUTANTS["sign in step"]))
    assert {"oracle = forward_by_token", "oracle = step"} <= open_pairs(by_step)
    assert "oracle = forward" not in open_pairs(by_step)


# --- wrong laws and wrong programs -------------------------------------------------------------------------------


def with_equation(program: Program, name: str, change: Callable[[Expr], Expr]) -> Program:
    def edited(equation: Equation) -> Equation:
        return replace(equation, value=change(equation.value)) if equation.name == name else equation

    (law,) = program.laws.laws
    laws = replace(program.laws, laws=(replace(law, equations=tuple(map(edited, law.equations))),))
    return replace(program, laws=laws)


def with_affine(program: Program, change: Callable[[AffineLaw], AffineLaw]) -> Program:
    (item,) = program.memories
    assert item.classified.affine is not None
    return replace(program, memories=(replace(item, classified=replace(item.classified, affine=change(item.classified.affine))),))


def without_reads(law: AffineLaw) -> AffineLaw:
    return replace(law, writes=tuple(replace(write, reads=()) for write in law.writes))


def read_by_the_query(law: AffineLaw) -> AffineLaw:
    (write,) = law.writes
    return replace(law, writes=(replace(write, reads=tuple(replace(read, vector=stream("q")) for read in write.reads)),))


@pytest.mark.parametrize(
    ("name", "change"),
    [("error", lambda value: scale(MINUS_ONE, value)), ("gradient", lambda value: scale(Constant(Fraction(2)), value))],
)
def test_a_wrong_law_is_the_fault_of_derive(name: str, change: Callable[[Expr], Expr]) -> None:
    squares = check_squares(with_equation(DELTA, name, change), DELTA_RULE)
    assert faulty_stage(squares) == "derive"


def test_a_law_of_the_wrong_shape_is_the_fault_of_derive() -> None:
    squares = check_squares(with_equation(DELTA, "gradient", transpose), DELTA_RULE)
    assert faulty_stage(squares) == "derive"
    assert next(square for square in squares if not square.closed).detail.startswith("RuntimeError")


@pytest.mark.parametrize(
    "change",
    [without_reads, read_by_the_query, lambda law: replace(law, decay=Constant(Fraction(99, 100)))],
    ids=["reads", "vector", "decay"],
)
def test_a_wrong_form_is_the_fault_of_schedule(change: Callable[[AffineLaw], AffineLaw]) -> None:
    assert faulty_stage(check_squares(with_affine(DELTA, change), DELTA_RULE)) == "schedule"


@pytest.mark.slow
def test_a_read_at_the_wrong_time_is_the_fault_of_schedule() -> None:
    (item,) = DELTA.memories
    early = tuple(replace(read, when=When.PREVIOUS) for read in item.reads)
    assert faulty_stage(check_squares(replace(DELTA, memories=(replace(item, reads=early),)), DELTA_RULE)) == "schedule"


# --- modules that misbehave --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no class DeltaRule"),
        ("class DeltaRule:", "IndentationError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (changed(DELTA_RULE, "d_k: int = 64, d_v", "width: int = 64, d_v"), "TypeError"),
        (changed(DELTA_RULE, "batch, time, heads, _ = q.shape", "raise MemoryError('too\\nlarge')"), "MemoryError: too"),
    ],
)
def test_an_exception_is_an_open_square_and_no_crash(text: str, says: str) -> None:
    squares = check_squares(DELTA, text)
    first = next(square for square in squares if not square.closed)
    assert first.detail.startswith(says)
    assert faulty_stage(squares) == "emit"


def test_a_spec_that_the_oracle_cannot_run_is_named_itself() -> None:
    model = models.delta_rule()
    fitting = replace(model.components[0], reset=Clock(Family.STEP))
    program = replace(DELTA, laws=replace(DELTA.laws, order=replace(DELTA.laws.order, model=replace(model, components=(fitting,)))))
    squares = check_squares(program, DELTA_RULE)
    assert faulty_stage(squares) == "spec"
    assert [square.name for square in squares] == ["spec = oracle"]


def with_rate(rate: Expr) -> Model:
    return replace(models.delta_rule(), components=(memory(models.l2_objective(), rate),))


def test_a_range_whose_ends_give_no_numbers_is_tried_between_them() -> None:
    """The rate -log(beta) is infinite at beta = 0, which is an end of the range."""
    program = program_of(with_rate(scale(MINUS_ONE, apply_map("log", stream("beta")))))
    text = changed(DELTA_RULE, "for x in (q, k, v, beta.unsqueeze(-1)))", "for x in (q, k, v, -beta.log().unsqueeze(-1)))")
    text = changed(
        text,
        "query, key, value, rate = (x.to(state.dtype) for x in (q, k, v, beta))",
        "query, key, value, rate = (x.to(state.dtype) for x in (q, k, v, -beta.to(state.dtype).log()))",
    )
    text = changed(text, "q, k, v, -beta.log()", "q, k, v, -beta.to(memory.dtype).log()")
    assert open_pairs(check_squares(program, text)) == set()


def test_a_spec_without_finite_numbers_says_so() -> None:
    always_negative = scale(MINUS_ONE, apply_map("exp", stream("beta")))
    program = program_of(with_rate(Map("log", always_negative, ())))
    squares = check_squares(program, DELTA_RULE)
    assert faulty_stage(squares) == "spec"
    assert next(square for square in squares if not square.closed).detail == "the spec itself gives numbers that are not finite"


# --- optimizers --------------------------------------------------------------------------------------------------

OPTIMIZER_MUTANTS = {
    "sign": (".sub_(", ".add_("),
    "decay after the gradient": (
        'mul_(group["decay"]).sub_(group["lr"] * weight.grad)',
        'sub_(group["lr"] * weight.grad).mul_(group["decay"])',
    ),
    "rate outside": (
        '.sub_(group["lr"] * weight.grad)\n                weight.add_(state["momentum"])',
        '.sub_(weight.grad)\n                weight.add_(group["lr"] * state["momentum"])',
    ),
    "hyperparameter fixed": ('group["decay"]', "0.9"),
    "read before the write": ('state["momentum"].mul_', 'weight.add_(state["momentum"]); state["momentum"].mul_'),
    "state under another name": ('["momentum"]', '["velocity"]'),
    "state outside of state_dict": ("state = self.state[weight]", "state = self.__dict__.setdefault(weight, {})"),
    "state in bfloat16": ("dtype=torch.promote_types(weight.dtype, torch.float32)", "dtype=weight.dtype"),
    "default changed": ('{"lr": learning_rate, "decay": decay}', '{"lr": learning_rate}'),
    "no gradient is a zero gradient": ("continue", "weight.grad = torch.ones_like(weight)"),
    "first group only": ("in self.param_groups", "in self.param_groups[:1]"),
}

TORCH_KEY = changed(MOMENTUM, '"lr"', '"learning_rate"').replace('if "learning_rate" in group', "if False")


@pytest.mark.parametrize("text", [MOMENTUM, TORCH_KEY], ids=["lr", "learning_rate"])
def test_every_square_of_a_right_optimizer_closes(text: str) -> None:
    squares = check_squares(program_of(models.momentum()), text)
    assert open_pairs(squares) == set()
    assert {square.quantity for square in squares if square.name == "oracle = optimizer"} == {"weights", "state"}


@pytest.mark.parametrize("name", OPTIMIZER_MUTANTS)
def test_mutants_of_the_optimizer_are_caught(name: str) -> None:
    squares = check_squares(program_of(models.momentum()), changed(MOMENTUM, *OPTIMIZER_MUTANTS[name]))
    assert faulty_stage(squares) == "emit"


def test_a_wrong_law_of_an_optimizer_is_the_fault_of_derive() -> None:
    program = program_of(models.momentum())
    first, second = program.laws.laws
    flipped = replace(second, equations=tuple(replace(item, value=scale(MINUS_ONE, item.value)) for item in second.equations))
    wrong = replace(program, laws=replace(program.laws, laws=(first, flipped)))
    assert faulty_stage(check_squares(wrong, MOMENTUM)) == "derive"


@pytest.mark.parametrize("text", ["", "class Momentum:", changed(MOMENTUM, "def step", "def move")])
def test_an_optimizer_that_cannot_run_is_an_open_square(text: str) -> None:
    assert faulty_stage(check_squares(program_of(models.momentum()), text)) == "emit"


# --- other systems, and the report -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [systems.robust_memory, systems.two_memories, systems.gated_delta_rule_with_momentum, systems.vector_memory]
)
def test_the_inner_squares_close_without_a_module(build: Callable[[], Model]) -> None:
    program = program_of(build())
    squares = check_squares(program, "")
    assert open_pairs(squares) == {"text = module"}
    assert any(square.name == "laws = program" for square in squares) is program.is_parallel


def test_a_square_as_text_and_as_json() -> None:
    square = Square(name="a = b", left="a", right="b", quantity="outputs", case="one token", error=1e-16, bound=1e-15)
    assert square.closed
    assert square.text == "a = b: outputs (one token): error 1e-16, bound 1e-15"
    lost = replace(square, error=float("inf"), detail="gone")
    assert lost.text == "a = b: outputs (one token): gone"
    assert json.loads(json.dumps(lost.as_json(), allow_nan=False))["error"] is None
    assert not replace(square, error=float("nan")).closed


def test_the_worst_case_stands_for_its_pair() -> None:
    square = Square(name="a = b", left="a", right="b", quantity="outputs", case="fine", error=0.1, bound=1.0)
    near, beyond = replace(square, case="near", error=0.9), replace(square, case="beyond", error=2.0)
    lost = replace(square, case="lost", error=float("inf"), bound=0.0)
    other = replace(square, quantity="state")
    assert worst([square, near, other]) == (near, other)
    assert worst([lost, other, near, beyond]) == (lost, other)
