"""The squares of a model: the oracle of its network and the module's three ways, its loss, its pieces, and steps of its optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.model import Component, Layer
from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.conditioning import Conditioning, Results, nudged, nudged_slopes
from nlc.verify.inputs import DIM_SIZES
from nlc.verify.network_contract import contract_squares
from nlc.verify.network_levels import copies_of, moved_paths
from nlc.verify.observe import Failure, Pair, attempt
from nlc.verify.oracle_network import Carried, layer_sizes, run_oracle_network
from nlc.verify.oracle_network_context import block_of, learns_from_loss, run_oracle_learning
from nlc.verify.oracle_training import Change, Optimizer, slopes_of, started_again, starting_again
from nlc.verify.square import Square

LOGITS, STATE, GRADIENTS, LOSS, PARAMETERS = "logits", "final state", "gradients", "loss", "parameters"
CASES = (("one token", 3, 0, 1), ("several tokens", 2, 0, 7), ("state carried", 2, 3, 6), ("no tokens", 2, 3, 0), ("batch 0", 0, 2, 3))
"""Each case by name, with its batch, the tokens that came before, and those that are compared."""

TRIES, COPIES = 5_000, 2
STEPS, MOST_STEPS = 6, 34
"""Outer steps of training; more when some level is slower, so that it moves, and what it did is seen."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Small sizes, a module of them with drawn parameters, by path, and tokens."""

    program: Program
    sizes: Mapping[str, int]
    module: Any
    parameters: Tensors
    numbers: Mapping[str, float]

    @property
    def stream(self) -> str:
        return self.program.model.inputs[0].name

    def tokens(self, batch: int, time: int, seed: int) -> Tensor:
        rows = self.program.model.inputs[0].integers
        assert rows is not None
        return torch.randint(rows.size(self.sizes), (batch, time), generator=torch.Generator().manual_seed(seed))

    def pair(self, right: str, case: str, tokens: int) -> Pair:
        """A comparison in which every part of the network rounds at every token."""
        assert self.program.model.network is not None
        depth = COPIES * len(self.program.model.network.placed)
        return Pair("oracle", right, case, tokens * depth, max(self.sizes.values()))

    @property
    def length(self) -> int:
        """The tokens of a loss: where layers learn from it, more than a block of them."""
        model = self.program.model
        return block_of(model) + 2 if learns_from_loss(model) else 5

    def oracle(
        self, tokens: Tensor, parameters: Tensors, state: Carried | None = None, targets: Tensor | None = None
    ) -> tuple[Tensor, Carried]:
        """The logits and what is carried; where layers learn, from the loss with the targets, if there are any."""
        model = self.program.model
        if learns_from_loss(model):
            return run_oracle_learning(model, tokens, targets, self.sizes, self.numbers, parameters, state)
        return run_oracle_network(model, tokens, self.sizes, self.numbers, parameters, state)


def network_squares(program: Program, module: ModuleType) -> Iterator[Square]:
    """Every square of every case; what raises opens those of its case."""
    evidence = attempt(partial(draw_evidence, program, module))
    if isinstance(evidence, Failure):
        yield Pair("text", "module", "importing it", 0, 0).failed(evidence, "import")[0]
        return
    for seed, (name, batch, before, time) in enumerate(CASES):
        tokens = evidence.tokens(batch, before + time, seed)
        yield from _case_squares(evidence, name, tokens, before)
    pair = evidence.pair("loss", "several tokens", evidence.length)
    found = attempt(partial(_loss, evidence, pair))
    yield from pair.failed(found, LOSS) if isinstance(found, Failure) else found
    pair = evidence.pair("later tokens", "causality", 6)
    found = attempt(partial(_causality, evidence, pair))
    yield from pair.failed(found, LOGITS) if isinstance(found, Failure) else found
    yield from contract_squares(program, module, evidence.sizes)
    if program.training:
        pair = evidence.pair("optimizers", "training", evidence.length * _steps(program))
        found = attempt(partial(_training, evidence, pair, module))
        yield from pair.failed(found, PARAMETERS) if isinstance(found, Failure) else found


def draw_evidence(program: Program, module: ModuleType, seed: int = 0) -> Evidence:
    """Small sizes, all different where the parts allow it, and parameters of norm about 1 per row."""
    model = program.model
    sizes = small_network_sizes(program, seed)
    numbers = {item.name: float(item.default) for item in model.hyperparameters}
    dims = {item.name: sizes[item.name] for item in model.dims if item.definition is None}
    made = getattr(module, model.name)(**dims).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            parameter.copy_(noise / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else noise)
    parameters = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    return Evidence(program, sizes, made, parameters, numbers)


def small_network_sizes(program: Program, seed: int = 0) -> dict[str, int]:
    """Sizes of the model's dims for which every size of every layer is whole; what counts repeats is 2."""
    model = program.model
    assert model.network is not None
    counts = {name for _, repeats in model.network.placed for repeat in repeats for name in repeat.count.names}
    free = [item.name for item in model.dims if item.definition is None]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(TRIES):
        order = torch.randperm(len(DIM_SIZES), generator=generator).tolist()
        drawn = [DIM_SIZES[place % len(DIM_SIZES)] for place in (order * (1 + len(free) // len(order)))[: len(free)]]
        sizes = {name: COPIES if name in counts else size for name, size in zip(free, drawn, strict=True)}
        if _fits(program, sizes):
            return sizes | {item.name: item.definition.size(sizes) for item in model.dims if item.definition is not None}
    return {item.name: COPIES if item.name in counts else item.default for item in model.dims}


def _fits(program: Program, sizes: Mapping[str, int]) -> bool:
    assert program.model.network is not None
    try:
        for part, _ in program.model.network.placed:
            if isinstance(part, Layer):
                inner = layer_sizes(program.model, part, sizes)
                layer = program.layers[part.place]
                for slot in (*layer.slots, *layer.parameters):
                    [dim.size(inner) for dim in slot.shape]
        all(item.definition is None or item.definition.size(sizes) for item in program.model.dims)
    except ValueError:
        return False
    return True


# --- one case ----------------------------------------------------------------------------------------------------


def _case_squares(evidence: Evidence, name: str, tokens: Tensor, before: int) -> Iterator[Square]:
    """Every way to run the module on some tokens; how far the oracle moves with the parameters is looked at where a square is open."""
    time = tokens.shape[1]
    wanted = attempt(partial(_by_oracle, evidence, tokens, before, evidence.parameters))
    if isinstance(wanted, Failure):
        yield from evidence.pair("oracle", name, time).failed(wanted, LOGITS, STATE, GRADIENTS)
        return

    def again(seed: int) -> Results:
        return _by_oracle(evidence, tokens, before, nudged(evidence.parameters, torch.Generator().manual_seed(seed)))

    conditioning = Conditioning(wanted, again)
    for way in ("forward", "forward_by_token", "step") if time > before else ("forward", "forward_by_token"):
        pair = evidence.pair(way, name, time)
        found = attempt(partial(_squares, evidence, pair, wanted, tokens, before))
        squares = pair.failed(found, LOGITS, STATE, GRADIENTS) if isinstance(found, Failure) else found
        yield from conditioning.widened(squares, pair.ticks + pair.width)


def _squares(evidence: Evidence, pair: Pair, wanted: Results, tokens: Tensor, before: int) -> list[Square]:
    """Logits, final state and gradients of the parameters, of a sequence that goes on from another."""
    start = evidence.module(**{evidence.stream: tokens[:, :before]})[1] if before else None
    found, final = _ways(evidence, pair.right)(tokens[:, before:], start)
    states, kept, slopes = flat(final, evidence.program), wanted[STATE], wanted[GRADIENTS]
    own = dict(evidence.module.named_parameters())
    gradients = _slopes(found, states, tuple(own[name] for name in slopes))
    scale = magnitude((*wanted[LOGITS].values(), *evidence.parameters.values(), *(x for x in kept.values() if x.is_floating_point())))
    return [
        pair.closeness(LOGITS, wanted[LOGITS], {LOGITS: found}, scale),
        pair.closeness(STATE, kept, states, scale),
        pair.closeness(GRADIENTS, slopes, dict(zip(slopes, gradients, strict=True)), magnitude(slopes.values())),
    ]


def _by_oracle(evidence: Evidence, tokens: Tensor, before: int, parameters: Tensors) -> Results:
    """Logits, final state as far as the module carries it, and gradients of the parameters, as the oracle finds them."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in parameters.items()}
    state = evidence.oracle(tokens[:, :before], leaves)[1] if before else None
    logits, carried = evidence.oracle(tokens[:, before:], leaves, state)
    every = every_slot(carried)
    kept = {name: every[name] for name in flat(evidence.module.initial_state(len(tokens)), evidence.program)}
    slopes = _slopes(logits, kept, tuple(leaves.values()))
    return {LOGITS: {LOGITS: logits}, STATE: kept, GRADIENTS: dict(zip(leaves, slopes, strict=True))}


def _slopes(logits: Tensor, state: Tensors, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients of the logits in a random direction, and of the sum of what is carried."""
    direction = torch.randn(logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(1))
    total = (logits * direction).sum() + sum(x.sum() for x in state.values() if x.is_floating_point())
    if not total.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def _ways(evidence: Evidence, way: str) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    module = evidence.module

    def steps(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = module.initial_state(tokens.shape[0]) if state is None else state
        logits = []
        for t in range(tokens.shape[1]):
            one, state = module.step(**{evidence.stream: tokens[:, t]}, state=state)
            logits.append(one)
        return torch.stack(logits, 1), state

    def whole(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        found: tuple[Tensor, Any] = getattr(module, way)(**{evidence.stream: tokens}, state=state)
        return found

    return steps if way == "step" else whole


def flat(state: Any, program: Program) -> dict[str, Tensor]:
    """The tensors of a module's state, by path and slot."""
    assert program.model.network is not None
    bare = {part.name: program.layers[part.place].slots for part, _ in program.model.network.placed if isinstance(part, Layer)}
    found: dict[str, Tensor] = {}

    def visit(value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            last = path.rpartition(".")[2]
            found[f"{path}.{bare[last][0].name}" if last in bare else path] = value
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            visit(item, f"{path}.{key}" if path else str(key))

    visit(state, "")
    return found


def every_slot(carried: Carried) -> dict[str, Tensor]:
    """What the layers carry, by path and slot."""
    return {f"{path}.{name}": tensor for path, tensors in carried.items() for name, tensor in tensors.items()}


# --- the loss, causality, training -------------------------------------------------------------------------------


def _loss(evidence: Evidence, pair: Pair) -> list[Square]:
    """The mean of minus the logarithm of the share that each target has."""
    tokens = evidence.tokens(2, evidence.length + 1, 7)
    logits, carried = evidence.oracle(tokens[:, :-1], evidence.parameters, targets=tokens[:, 1:])
    shares = logits.exp() / logits.exp().sum(-1, keepdim=True)
    wanted = -shares.gather(-1, tokens[:, 1:, None]).log().mean()
    found, final = evidence.module.loss(**{evidence.stream: tokens[:, :-1]}, targets=tokens[:, 1:])
    states, every = flat(final, evidence.program), every_slot(carried)
    kept = {name: every[name] for name in states}
    scale = magnitude((logits, *evidence.parameters.values(), *(x for x in kept.values() if x.is_floating_point())))
    return [pair.closeness(LOSS, {LOSS: wanted}, {LOSS: found}, magnitude((logits,))), pair.closeness(STATE, kept, states, scale)]


def _causality(evidence: Evidence, pair: Pair) -> list[Square]:
    """What comes later changes nothing before it."""
    tokens, others = evidence.tokens(2, 6, 8), evidence.tokens(2, 6, 9)
    others[:, :3] = tokens[:, :3]
    one, two = (evidence.module(**{evidence.stream: x})[0][:, :3] for x in (tokens, others))
    return [pair.closeness(LOGITS, {LOGITS: one}, {LOGITS: two}, magnitude((one,)))]


def _steps(program: Program) -> int:
    slowest = max(int(item.every.period) for item in program.model.training)
    return min(max(STEPS, slowest + 2), MOST_STEPS)


def _training(evidence: Evidence, pair: Pair, module: ModuleType) -> list[Square]:
    """Outer steps: every parameter after each, by the optimizer specs as the oracle runs them, and by the module's own."""
    wanted = _trained_by_oracle(evidence)
    levels = module.optimizers(evidence.module)
    found: dict[str, Tensor] = {}
    for step in range(_steps(evidence.program)):
        tokens = evidence.tokens(2, evidence.length + 1, 20 + step)
        levels.zero_grad()
        evidence.module.loss(**{evidence.stream: tokens[:, :-1]}, targets=tokens[:, 1:])[0].backward()
        levels.step()
        found |= {f"{name} after step {step}": tensor.detach().clone() for name, tensor in evidence.module.named_parameters()}

    def again(seed: int) -> Results:
        generator = torch.Generator().manual_seed(seed)
        return {PARAMETERS: _trained_by_oracle(evidence, lambda slopes: nudged_slopes(slopes, generator))}

    compared = pair.closeness(PARAMETERS, wanted, found, magnitude(wanted.values()))
    return [*Conditioning({PARAMETERS: wanted}, again, of_each=True).widened([compared], pair.ticks + pair.width)]


def _trained_by_oracle(evidence: Evidence, change: Change = dict) -> dict[str, Tensor]:
    """Every parameter after each outer step; a parameter on which a loss does not depend has no gradient there."""
    program = evidence.program
    optimizers = [Optimizer(program.model, item, evidence.sizes, evidence.numbers) for item in program.model.training]
    for optimizer in optimizers:
        optimizer.names = moved_paths(program, optimizer.training, evidence.parameters)
    now, after = dict(evidence.parameters), dict[str, Tensor]()
    for step in range(_steps(program)):
        tokens = evidence.tokens(2, evidence.length + 1, 20 + step)
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in now.items()}
        logits, _ = evidence.oracle(tokens[:, :-1], leaves, targets=tokens[:, 1:])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        slopes = change(slopes_of(loss, leaves))
        for optimizer in optimizers:
            now = now | optimizer.step(now, slopes)
        for component in starting_again(program.model, step + 1):
            begun = dict(_begun(evidence, component, now))
            now = now | begun
            for optimizer in optimizers:
                optimizer.forget(begun)
        after |= {f"{name} after step {step}": tensor for name, tensor in now.items()}
    return after


def _begun(evidence: Evidence, component: Component, parameters: Tensors) -> Iterator[tuple[str, Tensor]]:
    """What each copy of a level starts again from, by path."""
    for paths in copies_of(evidence.program.model, component, parameters):
        own = {slot: parameters[path] for slot, path in paths.items()}
        for slot, tensor in started_again(evidence.program.model, component, evidence.sizes, evidence.numbers, own).items():
            yield paths[slot], tensor
