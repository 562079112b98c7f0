"""What breaks kernels: dims of 1, strides of 0, zero and collinear keys, rates of 0 and 2, closed gates, huge and tiny numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.model import InputStream, Model
from nlc.ir.program import Program
from nlc.verify import inputs as evidence
from nlc.verify.bounds import rounding_bound
from nlc.verify.conditioning import conditioning_of
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn, draw, moving
from nlc.verify.judge import Judged, judged_by_oracle
from nlc.verify.load import load_source
from nlc.verify.observe import Failure, Pair, Seen, observe
from nlc.verify.square import Square
from tests.architecture.modules import ROOT
from tests.emit.systems import CHANNELS, program_from
from tests.rows import rows
from tests.verify.test_chunked_forms import UNREAD
from tests.verify.test_metamorphic import TOLD

NAMES = tuple(sorted({path.stem for path in (ROOT / "specs" / "architectures").glob("*.yaml")} - TOLD))
QUICK = (
    "delta_product",
    "delta_rule",
    "delta_rule_layer",
    "gated_delta_rule",
    "gated_linear_attention",
    "hebbian_mlp",
    "hope_inner",
    "linear_attention",
    "longhorn",
    "mesa",
    "omega",
    "retention",
    "sliding_window_attention",
    "softmax_attention",
    "titans",
    "titans_linear",
    "ttt_linear",
)
"""One of every form and of every kind of memory."""

each_spec = pytest.mark.parametrize("name", rows(NAMES, QUICK))

CHANNELS_UNREAD = UNREAD.format(objective="0.5 * norm2(memory(k) - v)", retention="channels").replace("y: v", "y: memory(k)")
"""Triangular chunks by halves."""


@cache
def program_named(name: str) -> Program:
    texts = {"channels": CHANNELS, "channels_unread": CHANNELS_UNREAD}
    return program_from(texts[name]) if name in texts else pipeline.compile_program(ROOT / "specs" / "architectures" / f"{name}.yaml")


@cache
def class_of(name: str) -> Callable[..., torch.nn.Module]:
    program = program_named(name)
    made: Callable[..., torch.nn.Module] = getattr(load_source(emit_module(program)), program.model.name)
    return made


def drawn_for(program: Program, tokens: int = 5, *, carried: bool = True, chunk: int = 2) -> Drawn:
    case = Case(name="adversarial", chunks=0, extra=tokens, batch=2, carried=carried)
    return replace(draw(program.model, case, program.chunk, seed=7, slots=program.slots), chunk=chunk)


def assert_right(name: str, drawn: Drawn, *, chunks: tuple[int, ...] = (2, 8)) -> bool:
    """Every way to run a module agrees with the oracle, outputs, states and gradients; whether the oracle's numbers are finite at all."""
    program = program_named(name)
    wanted = judged_by_oracle(program, drawn)
    assert not isinstance(wanted, Failure), wanted
    if not wanted.is_finite:
        return False
    conditioning, width = conditioning_of(program, Judged(drawn, wanted)), max(drawn.sizes.values())
    for chunk in chunks if program.is_parallel else (2,):
        emitted = build(class_of(name), program, replace(drawn, chunk=chunk))
        for way, run in emitted.ways(drawn.tokens):
            seen = observe(run, drawn, emitted.leaves)
            assert seen.is_finite
            squares = Pair("oracle", way, "adversarial", drawn.updates, width).compare(wanted, seen)
            open_squares = [square for square in conditioning.widened(squares, drawn.updates + width) if not square.closed]
            assert [square.text for square in open_squares if not is_rounded_sign(square, drawn)] == []
    return True


def is_rounded_sign(square: Square, drawn: Drawn) -> bool:
    """Whether an open square is the derivative of a unit vector of one number, its sign: zero, of which torch leaves the rounding."""
    rounding = rounding_bound(torch.float64, drawn.updates, max(drawn.sizes.values()), 1.0)
    return 1 in drawn.sizes.values() and bool(square.of_zero) and square.error <= rounding


# --- sizes -------------------------------------------------------------------------------------------------------


def all_of_size(size: int, model: Model) -> dict[str, int]:
    """One place along every axis, every other dim of one size, and kernels with a row more, so that so many older values are carried."""
    kernels = {name for item in model.recents for name in item.recent.shape[0].names}
    free = {dim.name: 1 if dim.name in model.axes else size + (dim.name in kernels) for dim in model.dims if dim.definition is None}
    return evidence._defined(model, free | {axis: 1 for axis in model.axes if axis not in {dim.name for dim in model.dims}})


@each_spec
@pytest.mark.parametrize("size", [1, 2, 5])
def test_dims_of_any_size(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "small_sizes", partial(all_of_size, size))
    for tokens in (1, 3):
        assert assert_right(name, drawn_for(program_named(name), tokens))


# --- values ------------------------------------------------------------------------------------------------------

Change = Callable[[InputStream, Tensor], Tensor]


def on_vectors(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda stream, x: change(x) if stream.shape and stream.low is None and stream.high is None else x


def on_gates(value: float) -> Change:
    return lambda stream, x: x if stream.shape and stream.low is None and stream.high is None else torch.full_like(x, value)


def collinear(x: Tensor) -> Tensor:
    """Every token's vector along the first one's, with signs and lengths of its own."""
    lengths = torch.tensor([1.0, -1.0, 0.5, 0.0, -2.0], dtype=x.dtype)[: x.shape[1]]
    return x[:, :1] * lengths.reshape(1, -1, *(1,) * (x.dim() - 2))


VALUES: dict[str, Change] = {
    "zero vectors": on_vectors(torch.zeros_like),
    "zeros below zero": on_vectors(lambda x: -torch.zeros_like(x)),
    "repeated vectors": on_vectors(lambda x: x[:, :1].repeat_interleave(x.shape[1], 1)),
    "collinear vectors": on_vectors(collinear),
    "every other vector zero": on_vectors(lambda x: x * (torch.arange(x.shape[1]) % 2).reshape(1, -1, *(1,) * (x.dim() - 2))),
    "tiny vectors": on_vectors(lambda x: x * 1e-30),
    "denormal vectors": on_vectors(lambda x: x * 1e-310),
    "huge vectors": on_vectors(lambda x: x * 1e30),
    "rates of 0": on_gates(0.0),
    "rates below any number": on_gates(1e-300),
    "rates of 1": on_gates(1.0),
    "rates of 2": on_gates(2.0),
}

HUGE = {"huge vectors": 1}
"""Tokens after which the delta rule's numbers still are numbers."""


@each_spec
@pytest.mark.parametrize("what", VALUES)
def test_extreme_values(name: str, what: str) -> None:
    program = program_named(name)
    drawn = drawn_for(program, HUGE.get(what, 5))
    changed = {stream.name: VALUES[what](stream, drawn.inputs[stream.name]) for stream in program.model.inputs}
    is_finite = assert_right(name, replace(drawn, inputs=changed))
    assert is_finite or what == "huge vectors"


GATES = (0.0, 1e-6, 1.0)


GATED = ("gated_linear_attention", "gated_delta_rule", "mamba2", "kimi_delta_attention", "rwkv7", "comba", "delta_product", "titans_linear")


@pytest.mark.parametrize("name", ["channels", "channels_unread", *GATED])
@pytest.mark.parametrize("closing", [*GATES, "any", "all"])
def test_gates_that_close_and_open(name: str, closing: float | str) -> None:
    """Gates at 0, a millionth and 1, the same everywhere, all at once and at single tokens: finite and right, gradients too."""
    program = program_named(name)
    drawn = drawn_for(program, 9)
    changed = dict(drawn.inputs)
    for stream in program.model.inputs:
        x = drawn.inputs[stream.name]
        if stream.low is not None or not stream.shape or stream.name == "channels":
            choice = torch.randint(3, x.shape if closing == "any" else x.shape[:2], generator=torch.Generator().manual_seed(3))
            picked = torch.tensor(GATES, dtype=x.dtype)[choice]
            changed[stream.name] = (
                torch.full_like(x, closing)
                if isinstance(closing, float)
                else picked
                if closing == "any"
                else picked.reshape(*x.shape[:2], *(1,) * (x.dim() - 2)).expand_as(x).contiguous()
            )
    assert assert_right(name, replace(drawn, inputs=changed), chunks=(1, 2, 4, 16))


# --- layouts, dtypes and modes -----------------------------------------------------------------------------------


def ways_of(name: str, drawn: Drawn) -> tuple[Emitted, tuple[tuple[str, Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]], ...]]:
    emitted = build(class_of(name), program_named(name), drawn)
    return emitted, emitted.ways(drawn.tokens)  # type: ignore[return-value]


def assert_same(left: tuple[dict[str, Tensor], ...], right: tuple[dict[str, Tensor], ...], atol: float = 1e-13) -> None:
    for mine, other in zip(left, right, strict=True):
        assert mine.keys() == other.keys()
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor.detach(), other[key].detach(), rtol=0, atol=atol)


@each_spec
def test_strides_of_zero_and_transposed_inputs(name: str) -> None:
    drawn = drawn_for(program_named(name))
    one = {key: x[:1, :1] for key, x in drawn.inputs.items()}
    expanded = {key: x.expand(2, 5, *x.shape[2:]) for key, x in one.items()}
    written_out = {key: x.contiguous() for key, x in expanded.items()}
    transposed = {key: x.transpose(0, 1).contiguous().transpose(0, 1) for key, x in drawn.inputs.items()}
    _, ways = ways_of(name, drawn)
    for _, run in ways:
        assert_same(run(expanded, drawn.state), run(written_out, drawn.state))
        assert_same(run(transposed, drawn.state), run(drawn.inputs, drawn.state))


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for chosen in product((False, True), repeat=len(names)):
        yield tuple(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen)


@each_spec
def test_gradients_of_any_subset_of_the_inputs(name: str) -> None:
    """Whatever asks for gradients, it gets those that it gets when everything does."""
    program = program_named(name)
    drawn = drawn_for(program)
    emitted = build(class_of(name), program, drawn)
    emitted.module.requires_grad_(False)
    whole: Seen = observe(emitted.forward, drawn)
    for wanted in subsets(tuple(drawn.inputs)):
        inputs = {key: x.clone().requires_grad_(key in wanted) for key, x in drawn.inputs.items()}
        outputs, final = emitted.forward(inputs, drawn.state)
        results = {f"output {key}": x for key, x in outputs.items()} | {f"state {key}": x for key, x in final.items()}
        results = {key: x for key, x in results.items() if x.is_floating_point()}
        directions = evidence.cotangents(results, drawn.seed)
        loss = sum((x * directions[key]).sum() for key, x in results.items())
        assert isinstance(loss, Tensor)
        if not wanted:
            assert not loss.requires_grad
            continue
        found = torch.autograd.grad(loss, [inputs[key] for key in wanted], allow_unused=True, materialize_grads=True)
        for key, gradient in zip(wanted, found, strict=True):
            torch.testing.assert_close(gradient, whole.gradients[key], rtol=0, atol=1e-12)


@each_spec
def test_modes_without_gradients_give_the_same_numbers(name: str) -> None:
    drawn = drawn_for(program_named(name))
    _, ways = ways_of(name, drawn)
    for _, run in ways:
        wanted = run(drawn.inputs, drawn.state)
        with torch.inference_mode():
            assert_same(run(drawn.inputs, drawn.state), wanted, atol=0)
        with torch.no_grad():
            assert_same(run(drawn.inputs, drawn.state), wanted, atol=0)


@each_spec
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_in_and_out(name: str, dtype: torch.dtype) -> None:
    """The state is in float32, and outputs are those of float32 rounded once.

    Kernels may add up in another order where memory is aligned otherwise: states differ by a few units of float32, which is far below
    one of the dtype, and an output by one unit of it when a tie is broken the other way.
    """
    program = program_named(name)
    drawn = drawn_for(program)
    emitted = build(class_of(name), program, drawn, torch.float32)
    half = {key: x.to(dtype) for key, x in drawn.inputs.items()}
    state = {key: x.float() for key, x in (drawn.state or {}).items()}
    for _, run in emitted.ways(drawn.tokens):
        outputs, final = run(half, state)
        wanted, end = run({key: x.float() for key, x in half.items()}, state)
        assert all(x.dtype is dtype for x in outputs.values()) and all(x.dtype is torch.float32 for x in final.values())
        for key, x in wanted.items():
            unit = torch.finfo(dtype).eps * x.abs() + 64 * torch.finfo(torch.float32).eps * x.abs().max()
            assert bool(((outputs[key].float() - x).abs() <= unit).all())
        for key, x in end.items():
            assert bool(((final[key] - x).abs() <= 64 * torch.finfo(torch.float32).eps * x.abs().max()).all())
        assert all(bool(x.isfinite().all()) for x in outputs.values())


def test_the_extreme_values_reach_what_they_are_about() -> None:
    """A form that divides by its decays would be right away from 0 and wrong at it."""
    program = program_named("gated_linear_attention")
    assert moving(program.model) == ()
    text = emit_module(program).replace(", left * right\n", ", left * right / right * right\n")
    broken = getattr(load_source(text), program.model.name)
    drawn = drawn_for(program)
    closed = replace(drawn, inputs={**drawn.inputs, "alpha": torch.zeros_like(drawn.inputs["alpha"])})
    seen = observe(build(broken, program, closed).forward, closed)
    assert not seen.is_finite
