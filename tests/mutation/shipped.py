"""The shipped specs -> the modules that are mutated, and whether two modules give the same numbers, bit for bit."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.ir.program import Program
from nlc.verify import context_squares, level_optimizers
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import SHAPE_CASES, Case, Drawn, draw, draw_steps
from nlc.verify.layer_data import record
from nlc.verify.load import load_source
from nlc.verify.network_squares import Evidence, draw_evidence
from nlc.verify.observe import Failure, System, attempt, observe
from nlc.verify.squares import Square, all_squares
from tests.mutation.equivalent import equivalence
from tests.mutation.mutator import Mutant, mutants

SPECS = Path(__file__).resolve().parents[2] / "specs"
SEEDS = (11, 12)
STEPS = 5


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped spec: its file, the path of its module below generated/, its program, its module's text and all mutants of it."""

    spec: Path
    file: str
    program: Program
    text: str
    mutants: tuple[Mutant, ...]


ONE_MODEL = "transformer"
FILES = tuple(
    path.relative_to(SPECS).with_suffix(".py").as_posix()
    for path in sorted(SPECS.rglob("*.yaml"))
    if path.parent.name != "models" or path.stem == ONE_MODEL
)
"""The modules of the shipped specs, by their paths below generated/. Models differ in the classes of their layers: one stands for all."""

FEW = (
    "architectures/delta_rule.py",
    "architectures/gated_delta_rule.py",
    "architectures/gated_linear_attention.py",
    "architectures/hebbian_mlp.py",
    "architectures/linear_attention_layer.py",
    "architectures/sliding_window_attention.py",
    "architectures/titans_linear.py",
    "architectures/ttt_linear.py",
    "optimizers/adam.py",
    "optimizers/dgd.py",
    "optimizers/heavy_ball.py",
    "optimizers/momentum.py",
    "optimizers/muon.py",
)
"""One module for each kind of text that is emitted, where time is short."""


@cache
def shipped(file: str) -> Shipped:
    """A spec compiled anew and its module's mutants."""
    spec = (SPECS / file).with_suffix(".yaml")
    program = pipeline.compile_program(spec)
    text = pipeline.emit(program)
    return Shipped(spec, file, program, text, tuple(mutant for mutant in mutants(text) if _is_seen(file, mutant, text)))


def _is_seen(file: str, mutant: Mutant, text: str) -> bool:
    """Whether `nlc verify` runs what a mutant changes.

    Of a model, what is its own: the classes of its layers and optimizers are those of their specs, and are mutated there.

    Optimizers move their weights under `no_grad`, where there is no graph to detach from, and gather data of layers only among several
    processes, which tests/emit/test_layer_data.py starts.
    """
    if file.startswith("models/"):
        first, *later = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
        own = [first, *(node for node in later if node.name.startswith(f"{first.name}Block"))]
        return any(node.lineno <= mutant.line <= (node.end_lineno or 0) for node in own)
    if not file.startswith("optimizers/"):
        return True
    return mutant.where not in ("_everywhere", "_gather") and (mutant.operator != "detached" or mutant.where in ("attach", "record"))


def first_open(item: Shipped, text: str) -> Square | None:
    """The square by which `nlc verify` first sees that a text is not the spec's module; None when all close."""
    return next((square for square in all_squares(item.program, text) if not square.closed), None)


def wrongly_judged(file: str, chosen: Iterable[Mutant]) -> list[str]:
    """The mutants that are neither caught nor known to be equivalent, or both, as differences; the module itself has to pass."""
    item = shipped(file)
    if first_open(item, item.text) is not None:
        raise ValueError(f"{file} does not pass as it is")
    caught = {mutant: first_open(item, mutant.text) is not None for mutant in chosen}
    return [mutant.diff for mutant, is_caught in caught.items() if is_caught is (equivalence(file, mutant) is not None)]


def same_numbers(item: Shipped, text: str) -> bool:
    """Whether a text gives what the module gives, bit for bit: results, final states and gradients, or the very same errors."""
    wanted, found = _numbers_of_module(item.file), _numbers(item, text)
    return len(wanted) == len(found) and all(map(_same, wanted, found))


@cache
def _numbers_of_module(file: str) -> tuple[Tensor | Failure, ...]:
    return _numbers(shipped(file), shipped(file).text)


def _numbers(item: Shipped, text: str) -> tuple[Tensor | Failure, ...]:
    module = load_source(text)
    if item.program.model.kind == "model":
        return tuple(_networks(item.program, module))
    run = _steps if item.program.model.kind == "optimizer" else _sequences
    return (*run(item.program, getattr(module, item.program.model.name)), *_trained(item.program, module))


def _same(left: Tensor | Failure, right: Tensor | Failure) -> bool:
    if not (isinstance(left, Tensor) and isinstance(right, Tensor)):  # an error, or the number of a step
        return left == right
    return left.dtype is right.dtype and left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=0, equal_nan=True)


def _sequences(program: Program, module_class: Callable[..., nn.Module]) -> Iterator[Tensor | Failure]:
    """Everything seen of every way to run a module, on every shape of evidence."""
    for seed in SEEDS:
        for case in SHAPE_CASES:
            _, drawn, ways = _drawn_ways(program, module_class, case, seed)
            for system in ways:
                seen = attempt(partial(observe, system, drawn))
                if isinstance(seen, Failure):
                    yield seen
                else:
                    yield from (tensor for _, tensors, _ in seen.quantities for tensor in tensors.values())


def _drawn_ways(
    program: Program, module_class: Callable[..., nn.Module], case: Case, seed: int
) -> tuple[Emitted, Drawn, tuple[System, ...]]:
    """A module, the evidence of a case, every carried slot in it, and the ways to run it; slopes are those of a task loss."""
    if program.model.slopes:
        drawn = context_squares.drawn_of(program, case, seed)
        emitted = build(module_class, program, drawn)
        names = ("forward", "forward_by_token", "step") if drawn.tokens else ("forward", "forward_by_token")
        return emitted, drawn, tuple(context_squares.way(emitted, name) for name in names)
    drawn = draw(program.model, case, program.chunk, seed=seed, slots=program.slots)
    emitted = build(module_class, program, drawn)
    return emitted, drawn, tuple(system for _, system in emitted.ways(drawn.tokens))


def _networks(program: Program, module: ModuleType) -> Iterator[Tensor | Failure]:
    """The logits of a model, all at once and in pieces, its gradients and its loss."""
    for seed in SEEDS:
        evidence = attempt(partial(draw_evidence, program, module, seed))
        if isinstance(evidence, Failure):
            yield evidence
            continue
        tokens = evidence.tokens(2, 9, seed)

        def run(evidence: Evidence = evidence, tokens: Tensor = tokens) -> Iterator[Tensor]:
            model, made = evidence.module, []
            for way in (model, model.forward_by_token):
                first, state = way(tokens=tokens[:, :4])
                made += [first, way(tokens=tokens[:, 4:], state=state)[0]]
            made.append(model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])[0])
            torch.cat([x.flatten() for x in made]).square().sum().backward()
            return iter([*made, *(torch.zeros(()) if x.grad is None else x.grad for x in model.parameters())])

        seen = attempt(run)
        yield from (seen,) if isinstance(seen, Failure) else seen


def _trained(program: Program, module: ModuleType) -> Iterator[Tensor | Failure]:
    """The slow levels of a module after a few steps of training, and weights that its `LevelOptimizers` moves at made-up periods."""
    if program.training:
        case = Case(name="training", chunks=1, extra=1, batch=2)
        emitted, drawn, (forward, *_) = _drawn_ways(program, getattr(module, program.model.name), case, SEEDS[0])
        optimizer = module.optimizers(emitted.module)
        for _ in range(STEPS):
            optimizer.zero_grad()
            outputs, _ = forward(drawn.inputs, None)
            torch.stack([x.square().sum() for x in outputs.values()]).sum().backward()
            optimizer.step()
        yield from emitted.parameters.values()
        for after, dtype in level_optimizers.RESTORED:
            yield from level_optimizers.run_levels(module.LevelOptimizers, after, dtype).values()


def _steps(program: Program, optimizer_class: Callable[..., torch.optim.Optimizer]) -> Iterator[Tensor | Failure]:
    """The weights and states of an optimizer after some steps."""
    for seed in SEEDS:
        drawn = draw_steps(program.model, STEPS, seed=seed, schedule=False)
        weights = [nn.Parameter(weight.clone()) for weight in drawn.weights]
        numbers = {item.name: drawn.hyperparameters[0][item.name] for item in program.hyperparameters}
        optimizer = optimizer_class(weights, **numbers)
        for step, gradients in enumerate(drawn.gradients):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()
            for weight, data in zip(weights, drawn.contexts[step], strict=True) if drawn.contexts else ():
                record(optimizer, weight, data)
            optimizer.step()
        yield from (weight.detach() for weight in weights)
        yield from (optimizer.state[weight][slot.name] for weight in weights for slot in program.slots)
