"""What users may rely on of a module that recomputes in the backward, or watches for what is not finite: parts of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn
from nlc.verify.observe import OUTPUTS, STATE, Tensors, observe
from nlc.verify.refusal import refusal
from nlc.verify.relation import CARRIED, ModuleClass, Relation, every, pair
from nlc.verify.square import Square

ROW = 1
"""The sequence of the batch into which something is put that is not finite."""


def _checkpoint(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """With pieces of any length computed anew in the backward, results and gradients are the same."""
    if not _is_managed(emitted):
        return
    plain = observe(emitted.forward, drawn)
    lengths = (drawn.chunk, drawn.tokens + 1) if emitted.program.is_in_blocks else (1, drawn.chunk, drawn.tokens + 1)  # a block costs much
    for tokens in lengths:
        module = build(module_class, emitted.program, drawn, checkpoint=tokens)
        again = observe(module.forward, drawn)
        compared = replace(pair("forward recomputed", drawn, left="forward"), case=f"pieces of {tokens} tokens")
        for (what, left, scale), (_, right, _) in zip(plain.quantities, again.quantities, strict=True):
            yield compared.closeness(what, left, right, scale)
    yield refusal(
        pair("module", drawn, left="contract"), "checkpoint=0", partial(build, module_class, emitted.program, drawn, checkpoint=0)
    )


def _nonfinite(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """What is not finite is told by its token, stream and level, or passed over: the sequence is as it is without that token."""
    program, token = emitted.program, drawn.chunk
    if not _is_managed(emitted):
        return
    contract, made = pair("module", drawn, left="contract"), partial(build, module_class, program, drawn)
    yield refusal(contract, "nonfinite='never'", partial(made, nonfinite="never"))
    name = next(stream.name for stream in reversed(program.model.inputs) if stream.name not in drawn.whole)
    broken = {key: x.clone() for key, x in drawn.inputs.items()}
    broken[name][ROW, token] = torch.inf
    strict = made(nonfinite="raise")
    what = f"an infinite {name}, which names the token"
    yield refusal(contract, what, partial(_named, strict, broken, drawn, (f"token {token}", f"row {ROW}", name)), _Named)
    plain, watched = emitted.forward(drawn.inputs, drawn.state), strict.forward(drawn.inputs, drawn.state)
    yield from _compared("forward watched", drawn, plain, watched)
    if any(slot.counts or slot.window is not None for slot in program.slots):
        yield refusal(contract, "nonfinite='skip' where tokens are counted", partial(made, nonfinite="skip"))
        return
    outputs, final = made(nonfinite="skip").forward(broken, drawn.state)
    others = [t for t in range(drawn.tokens) if t != token]
    alone = every({key: x if key in drawn.whole else x[:, others] for key, x in drawn.inputs.items()}, lambda x: x[ROW : ROW + 1])
    begun = None if drawn.state is None else every(drawn.state, lambda x: x[ROW : ROW + 1])
    without = emitted.forward(alone, begun)
    row = every(outputs, lambda y: y[ROW : ROW + 1, others]), every(final, lambda x: x[ROW : ROW + 1])
    yield from _compared("forward that skips", drawn, without, row)
    passed = sum(float(y[ROW, token].detach().abs().sum()) for y in outputs.values())
    yield pair("forward that skips", drawn, left="zeros").square("what it gives at the token", passed, 0.0)
    rest = [row for row in range(drawn.batch) if row != ROW]
    yield from _compared("forward that skips", drawn, _rows(plain, rest), _rows((outputs, final), rest))


def _is_managed(emitted: Emitted) -> bool:
    """Whether there is something to keep and to watch: a state, by whose laws alone the module runs."""
    return bool(emitted.program.slots) and not emitted.program.model.slopes


def _rows(seen: tuple[Tensors, Tensors], rows: list[int]) -> tuple[Tensors, Tensors]:
    return every(seen[0], lambda y: y[rows]), every(seen[1], lambda x: x[rows])


def _compared(right: str, drawn: Drawn, wanted: tuple[Tensors, Tensors], found: tuple[Tensors, Tensors]) -> Iterator[Square]:
    scale = max((float(x.detach().abs().max()) for part in wanted for x in part.values() if x.numel()), default=0.0)
    for what, left, again in zip((OUTPUTS, STATE), wanted, found, strict=True):
        yield pair(right, drawn, left="forward").closeness(what, left, again, scale)


class _Named(Exception):
    """The error that names what it has to."""


def _named(module: Emitted, inputs: Tensors, drawn: Drawn, words: tuple[str, ...]) -> None:
    """Raise _Named when the module raises FloatingPointError with all of the words."""
    try:
        module.forward(inputs, drawn.state)
    except FloatingPointError as error:
        if all(word in str(error) for word in words):
            raise _Named from error
        raise


MANAGED: tuple[tuple[Relation, Case], ...] = ((_checkpoint, CARRIED), (_nonfinite, CARRIED))
"""Each part with the case whose evidence it gets."""
