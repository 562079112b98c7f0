"""The squares of a module whose levels learn from the task loss inside the context: its three ways beside the oracle of such levels.

The loss of the evidence is no quadratic, so that slopes of slopes matter, and every token has targets of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.conditioning import Conditioning, Results, nudged, nudged_slopes
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import SHAPE_CASES, Case, Drawn, draw, moving
from nlc.verify.observe import GRADIENTS, OUTPUTS, STATE, Failure, Pair, Seen, System, Tensors, attempt, distance, leaves_of, observe
from nlc.verify.oracle_context import Loss, run_oracle_context
from nlc.verify.oracle_training import Change, Optimizer, slopes_of, started_again, starting_again
from nlc.verify.refusal import refusal
from nlc.verify.relation import relation_squares
from nlc.verify.slow_levels import SLOW_LEVELS
from nlc.verify.square import Square
from nlc.verify.training_squares import made_optimizers

QUANTITIES = (OUTPUTS, STATE, GRADIENTS)
FRESH = Case(name="two chunks and one", chunks=2, extra=1)
CARRIED = Case(name="two chunks and one, state carried", chunks=2, extra=1, carried=True)
SEED, STEPS, PARAMETERS = 3_000, 4, "parameters"
TURNS = 3
"""How often a number is rounded where something is read, differentiated and moved."""


def task(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each token, (batch, time)."""
    distances = outputs - targets
    return (distances.square() / 2 + torch.sin(distances)).flatten(2).sum(2)


def context_squares(program: Program, module_class: Callable[..., nn.Module], module: ModuleType) -> Iterator[Square]:
    """Every square of every case, and what must hold of the module by itself."""
    for seed, case in enumerate(SHAPE_CASES):
        yield from _case_squares(program, module_class, case, seed)
    for relation in (_pieces, _untaught, _untold, _later_tokens):
        found = attempt(partial(_of, relation, program, module_class))
        name = relation.__name__.strip("_").replace("_", " ")
        yield from Pair("contract", name, CARRIED.name, 1, 1).failed(found, OUTPUTS) if isinstance(found, Failure) else found
    yield from relation_squares([(relation, FRESH) for relation in SLOW_LEVELS], program, module_class)
    if program.model.training:
        found = attempt(partial(_training, program, module, module_class))
        yield from Pair("oracle", "optimizers", FRESH.name, 1, 1).failed(found, PARAMETERS) if isinstance(found, Failure) else found
        yield from made_optimizers(program, module, module_class)


def drawn_of(program: Program, case: Case, seed: int) -> Drawn:
    """The evidence of a case: streams, and targets of the shape of the output, in place of slopes."""
    drawn = draw(program.model, case, program.chunk, seed=seed, edges=False, slots=program.slots)
    (output,) = program.model.outputs
    shape = (drawn.batch, drawn.tokens, *(dim.size(drawn.sizes) for dim in output.value.shape))
    targets = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    streams = {stream.name: drawn.inputs[stream.name] for stream in program.model.given}
    return replace(drawn, inputs={**streams, "targets": targets}, state=drawn.state and _scaled(drawn.state))


def _scaled(state: Tensors) -> Tensors:
    """A state that a spec might come to: what is gathered or squared is positive, so that its root is a number."""
    return {name: x.abs() if x.is_floating_point() and "moment" in name else x for name, x in state.items()}


def _case_squares(program: Program, module_class: Callable[..., nn.Module], case: Case, seed: int) -> Iterator[Square]:
    """Oracle = each way to run the module."""
    drawn = drawn_of(program, case, seed)
    pair = _pair("oracle", case, drawn)
    wanted = attempt(partial(_by_oracle, program, drawn))
    if isinstance(wanted, Failure):
        yield from replace(pair, left="spec").failed(wanted, OUTPUTS)
        return

    def again(number: int) -> Results:
        moved = replace(drawn, inputs=nudged(drawn.inputs, torch.Generator().manual_seed(number)))
        return _results(_by_oracle(program, moved))

    conditioning = Conditioning(_results(wanted), again)
    emitted = attempt(partial(build, module_class, program, drawn))
    if isinstance(emitted, Failure):
        yield from replace(pair, right="forward").failed(emitted, *QUANTITIES)
        return
    for name in ("forward", "forward_by_token", "step") if drawn.tokens else ("forward", "forward_by_token"):
        found = attempt(partial(observe, way(emitted, name), drawn, emitted.leaves))
        yield from conditioning.widened(replace(pair, right=name).compare(wanted, found), pair.ticks + pair.width)


def _by_oracle(program: Program, drawn: Drawn) -> Seen:
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))

    def run(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        outputs, final = run_oracle_context(program.model, inputs, task, drawn.sizes, drawn.hyperparameters, state, parameters)
        return outputs, {slot.name: final[slot.name] for slot in program.slots}

    return observe(run, drawn, leaves)


def _results(seen: Seen) -> Results:
    return {quantity: dict(tensors) for quantity, tensors, _ in seen.quantities}


def _pair(right: str, case: Case, drawn: Drawn) -> Pair:
    return Pair("oracle", right, case.name, TURNS * drawn.updates, max(drawn.sizes.values(), default=1))


def way(emitted: Emitted, name: str, loss: Loss | None = task) -> System:
    """One of a module's ways to run a sequence that comes with targets."""
    (output,) = emitted.program.model.outputs

    def whole(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        found, final = getattr(emitted.module, name)(**inputs, loss=loss, state=state)
        return {output.name: found}, final

    def steps(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        first = next(iter(inputs.values()))
        now: Any = emitted.initial_state(first.shape[0], first) if state is None else state
        found = []
        for t in range(first.shape[1]):
            one, now = emitted.module.step(**{word: x[:, t] for word, x in inputs.items()}, loss=loss, state=now)  # type: ignore[operator]
            found.append(one)
        return {output.name: torch.stack(found, 1)}, now

    return steps if name == "step" else whole


# --- training around it ----------------------------------------------------------------------------------------------


def _training(program: Program, module: ModuleType, module_class: Callable[..., nn.Module]) -> list[Square]:
    """Outer steps on the mean loss of sequences whose levels learn on the way: all parameters after the last."""
    batches = [drawn_of(program, FRESH, SEED + step) for step in range(STEPS)]
    emitted = build(module_class, program, batches[0])
    levels = module.optimizers(emitted.module)
    for drawn in batches:
        levels.zero_grad()
        outputs, _ = way(emitted, "forward")(drawn.inputs, None)
        mean_loss(outputs, drawn.inputs).backward()  # type: ignore[no-untyped-call]
        levels.step()
    wanted, slopes = _trained_by_oracle(program, batches)
    drawn = batches[0]
    pair = Pair("oracle", "optimizers", f"{STEPS} steps", TURNS * STEPS * drawn.updates, max(drawn.sizes.values()))

    def again(seed: int) -> Results:
        generator = torch.Generator().manual_seed(seed)
        return {PARAMETERS: _trained_by_oracle(program, batches, lambda found: nudged_slopes(found, generator))[0]}

    compared = pair.closeness(PARAMETERS, wanted, emitted.parameters, magnitude((*wanted.values(), *slopes)))
    return [*Conditioning({PARAMETERS: wanted}, again, of_each=True).widened([compared], pair.ticks + pair.width)]


def _trained_by_oracle(program: Program, batches: Sequence[Drawn], change: Change = dict) -> tuple[Tensors, list[Tensor]]:
    """All parameters after the last step, and every slope of the mean loss on the way."""
    model, first = program.model, batches[0]
    optimizers = [Optimizer(model, item, first.sizes, first.hyperparameters) for item in model.training]
    now, slopes = dict(first.parameters), list[Tensor]()
    for step, drawn in enumerate(batches, 1):
        leaves = {name: x.clone().requires_grad_(name in moving(model)) for name, x in now.items()}
        outputs, _ = run_oracle_context(model, drawn.inputs, task, drawn.sizes, drawn.hyperparameters, None, leaves)
        moved = {name: x for name, x in leaves.items() if x.requires_grad}
        found = change(slopes_of(mean_loss(outputs, drawn.inputs), moved))
        slopes.extend(found.values())
        for optimizer in optimizers:
            now |= optimizer.step(now, found)
        for component in starting_again(model, step):
            begun = started_again(model, component, first.sizes, first.hyperparameters, now)
            now |= begun
            for optimizer in optimizers:
                optimizer.forget(begun)
    return now, slopes


def mean_loss(outputs: Tensors, inputs: Tensors) -> Tensor:
    """What training goes down: the mean loss of all tokens."""
    return torch.stack([task(x, inputs["targets"]).mean() for x in outputs.values()]).sum()


# --- what must hold of the module by itself --------------------------------------------------------------------------


def _of(relation: Callable[[Emitted, Drawn], Iterator[Square]], program: Program, module_class: Callable[..., nn.Module]) -> list[Square]:
    drawn = drawn_of(program, CARRIED, len(SHAPE_CASES))
    return list(relation(build(module_class, program, drawn), drawn))


def _pieces(emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A sequence in pieces, cut anywhere, is the sequence: periods that have not ended go on."""
    run = way(emitted, "forward")
    wanted = observe(run, drawn, emitted.leaves)
    for cut in range(drawn.tokens + 1):

        def pieces(inputs: Tensors, state: Tensors | None, cut: int = cut) -> tuple[Tensors, Tensors]:
            first, middle = run({name: x[:, :cut] for name, x in inputs.items()}, state)
            second, final = run({name: x[:, cut:] for name, x in inputs.items()}, middle)
            return {name: torch.cat((first[name], second[name]), 1) for name in first}, final

        found = observe(pieces, drawn, emitted.leaves)
        yield from _pair(f"pieces of {cut} and {drawn.tokens - cut}", CARRIED, drawn).compare(wanted, found)


def _untaught(emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Without a loss nothing is told: as with the loss 0 everywhere, and targets are asked for by nobody."""
    pair = _pair("no loss", CARRIED, drawn)
    wanted = observe(way(emitted, "forward", lambda outputs, _: 0 * outputs.flatten(2).sum(2)), drawn, emitted.leaves)
    yield from pair.compare(wanted, observe(way(emitted, "forward", None), drawn, emitted.leaves))
    alone = {name: x for name, x in drawn.inputs.items() if name != "targets"}
    outputs, state = way(emitted, "forward", None)(alone, drawn.state)
    yield pair.equality(OUTPUTS, wanted.outputs, outputs)
    yield pair.equality(STATE, wanted.state, state)


def _untold(emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Where gradients are off the module learns all the same, and gives tensors without a graph; a loss of another shape is refused."""
    run = way(emitted, "forward")
    wanted, kept = run(drawn.inputs, drawn.state)
    with torch.no_grad():
        outputs, state = run(drawn.inputs, drawn.state)
    pair = _pair("without gradients", CARRIED, drawn)
    yield pair.equality(OUTPUTS, _bare(wanted), outputs)
    yield pair.equality(STATE, _bare(kept), state)
    graph = [name for name, x in {**outputs, **state}.items() if x.requires_grad]
    yield pair.square("graph", float(bool(graph)), 0.0, f"{', '.join(graph)} requires gradients")
    yield refusal(pair, "a loss of the whole sequence", partial(way(emitted, "forward", _total), drawn.inputs, drawn.state))


def _total(outputs: Tensor, targets: Tensor) -> Tensor:
    return task(outputs, targets).sum()


def _bare(tensors: Tensors) -> Tensors:
    return {name: x.detach() for name, x in tensors.items()}


def _later_tokens(emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """No output sees the targets of its own token or of later ones."""
    run = way(emitted, "forward")
    wanted, _ = run(drawn.inputs, drawn.state)
    for t in range(drawn.tokens):
        changed = drawn.inputs["targets"].clone()
        changed[:, t:] += 1
        found, _ = run({**drawn.inputs, "targets": changed}, drawn.state)
        error = max(distance(wanted[name][:, : t + 1], found[name][:, : t + 1]) for name in wanted)
        yield _pair("targets of later tokens", CARRIED, drawn).square(OUTPUTS, error, 0.0, f"token {t} or one before sees its targets")
