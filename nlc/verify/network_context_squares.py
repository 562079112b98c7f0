"""The squares of a model whose layers learn from its loss inside the context: the oracle and `loss`, whole, in pieces, without gradients.

A slow level moves after many tokens, so the layers that learn are said to have read more than they did: their clocks are set a block before
the end of each period in turn, and what they have gathered is what the blocks before left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import lcm
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.conditioning import Conditioning, Results, nudged
from nlc.verify.network_squares import GRADIENTS, LOSS, STATE, Evidence, Tensors, draw_evidence, every_slot, flat
from nlc.verify.observe import Failure, Pair, attempt
from nlc.verify.oracle_network import Carried
from nlc.verify.oracle_network_context import block_of, learning_layers, periods_of, resets_of
from nlc.verify.square import Square

SEED, BATCH = 40, 2
CASE = "the ends of all periods"


def network_context_squares(program: Program, module: ModuleType) -> Iterator[Square]:
    """Every square of every relation; what raises opens those of its relation."""
    evidence = attempt(partial(draw_evidence, program, module))
    if isinstance(evidence, Failure):
        yield Pair("text", "module", "importing it", 0, 0).failed(evidence, "import")[0]
        return
    for name, relation in (
        ("learning", _learned),
        ("learning in pieces", _in_pieces),
        ("learning without gradients", _without_gradients),
    ):
        pair = evidence.pair(name, CASE, _stretches(evidence)[-1].end)
        found = attempt(partial(_listed, relation, evidence, pair))
        yield from pair.failed(found, LOSS) if isinstance(found, Failure) else found


def _listed(relation: Callable[[Evidence, Pair], Iterator[Square]], evidence: Evidence, pair: Pair) -> list[Square]:
    return list(relation(evidence, pair))


@dataclass(frozen=True, slots=True)
class Stretch:
    """The tokens from `start` to `end` of the evidence, and the position that all layers that learn are said to be at when they begin."""

    position: int
    start: int
    end: int


def _stretches(evidence: Evidence) -> tuple[Stretch, ...]:
    """A block at the end of every period and one after every reset; last the block in which all periods end, one more, and a token."""
    model = evidence.program.model
    block = block_of(model)
    last = lcm(*periods_of(model), *resets_of(model)) - block
    places = sorted(place for place in {*(period - block for period in periods_of(model)), *resets_of(model)} if place < last)
    before = tuple(Stretch(place, number * block, (number + 1) * block) for number, place in enumerate(places))
    return (*before, Stretch(last, len(before) * block, (len(before) + 2) * block + 1))


def _tokens(evidence: Evidence) -> Tensor:
    """The tokens of all stretches, and the last target."""
    return evidence.tokens(BATCH, _stretches(evidence)[-1].end + 1, SEED)


# --- the two sides -----------------------------------------------------------------------------------------------


def _learning(evidence: Evidence) -> frozenset[str]:
    """The paths of the layers that learn."""
    return frozenset(path for path, _, _ in learning_layers(evidence.program.model, evidence.sizes))


def _moved(state: Any, paths: frozenset[str], position: int, path: str = "") -> Any:
    """A nested state in which the layers at some paths have another position."""
    if path in paths:
        return {**state, "position": torch.tensor(position)}
    if isinstance(state, dict):
        return {name: _moved(item, paths, position, f"{path}.{name}" if path else name) for name, item in state.items()}
    return [_moved(item, paths, position, f"{path}.{place}") for place, item in enumerate(state)] if isinstance(state, list) else state


def _by_module(evidence: Evidence, cuts: tuple[int, ...] = ()) -> tuple[Tensor, Tensors]:
    """The sum of the losses of all tokens, and the state after them; in the last stretch a call ends at each of the cuts."""
    tokens, stretches, paths = _tokens(evidence), _stretches(evidence), _learning(evidence)
    state, total = evidence.module.initial_state(BATCH), torch.zeros((), dtype=torch.float64)
    for item in stretches:
        state = _moved(state, paths, item.position)
        for start, end in pairwise((item.start, *(item.start + cut for cut in cuts if item is stretches[-1]), item.end)):
            streams = {evidence.stream: tokens[:, start:end], "targets": tokens[:, start + 1 : end + 1]}
            loss, state = evidence.module.loss(**streams, state=state)
            total = total + loss * (end - start)
    return total, flat(state, evidence.program)


def _by_oracle(evidence: Evidence, leaves: Tensors) -> tuple[Tensor, Carried]:
    """The same, as the oracle finds it."""
    tokens, paths = _tokens(evidence), _learning(evidence)
    logits, state = evidence.oracle(tokens[:, :0], leaves)
    found = [logits]
    for item in _stretches(evidence):
        moved = {path: {**own, "position": torch.tensor(item.position)} if path in paths else own for path, own in state.items()}
        targets = tokens[:, item.start + 1 : item.end + 1]
        logits, state = evidence.oracle(tokens[:, item.start : item.end], leaves, moved, targets)
        found.append(logits)
    logits = torch.cat(found, 1)
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum") / BATCH, state


def _results(loss: Tensor, state: Tensors, leaves: Tensors) -> Results:
    """The loss, the state, and the gradients of both together."""
    total = loss + sum(x.sum() for x in state.values() if x.is_floating_point())
    slopes = torch.autograd.grad(total, tuple(leaves.values()), allow_unused=True, materialize_grads=True)
    return {LOSS: {LOSS: loss.detach()}, STATE: state, GRADIENTS: dict(zip(leaves, slopes, strict=True))}


def _compared(pair: Pair, wanted: Results, found: Results) -> list[Square]:
    scale = magnitude((*wanted[LOSS].values(), *(x for x in wanted[STATE].values() if x.is_floating_point())))
    scales = {LOSS: scale, STATE: scale, GRADIENTS: magnitude(wanted[GRADIENTS].values())}
    return [pair.closeness(quantity, wanted[quantity], found[quantity], scales[quantity]) for quantity in scales]


# --- the relations -----------------------------------------------------------------------------------------------


def _learned(evidence: Evidence, pair: Pair) -> Iterator[Square]:
    """What the module learns from is what the oracle finds, gradients through all that was learned included."""
    own = dict(evidence.module.named_parameters())
    found = _results(*_by_module(evidence), own)

    def oracle(parameters: Tensors) -> Results:
        leaves = {name: parameters[name].clone().requires_grad_() for name in own}
        loss, carried = _by_oracle(evidence, leaves)
        every = every_slot(carried)
        return _results(loss, {name: every[name] for name in found[STATE]}, leaves)

    wanted = oracle(evidence.parameters)
    conditioning = Conditioning(wanted, lambda seed: oracle(nudged(evidence.parameters, torch.Generator().manual_seed(seed))))
    yield from conditioning.widened(_compared(pair, wanted, found), pair.ticks + pair.width)


def _in_pieces(evidence: Evidence, pair: Pair) -> Iterator[Square]:
    """Calls in pieces, cut anywhere, are one call."""
    own, last = dict(evidence.module.named_parameters()), _stretches(evidence)[-1]
    wanted = _results(*_by_module(evidence), own)
    for cut in range(1, last.end - last.start):
        yield from _compared(pair, wanted, _results(*_by_module(evidence, (cut,)), own))


def _without_gradients(evidence: Evidence, pair: Pair) -> Iterator[Square]:
    """Where gradients are off the model learns all the same, and gives tensors without a graph."""
    loss, state = _by_module(evidence)
    with torch.no_grad():
        bare, kept = _by_module(evidence)
    yield pair.equality(LOSS, {LOSS: loss}, {LOSS: bare})
    yield pair.equality(STATE, state, kept)
    graph = [name for name, x in {LOSS: bare, **kept}.items() if x.requires_grad]
    yield pair.square("graph", float(bool(graph)), 0.0, f"{', '.join(graph)} requires gradients")
