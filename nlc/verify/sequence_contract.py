"""What users of an emitted sequence module may rely on, whatever its spec: defaults, dtypes, devices, what a chunk is, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nlc.ir.law import POSITION
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn, default_sizes, tokens_before
from nlc.verify.managed_contract import MANAGED
from nlc.verify.observe import Tensors
from nlc.verify.refusal import refusal
from nlc.verify.relation import BY_DEFAULT, CARRIED, FRESH, ModuleClass, Relation, every, in_dtype, pair
from nlc.verify.slow_levels import SLOW_LEVELS
from nlc.verify.square import Square

PRECISIONS: tuple[tuple[torch.dtype, torch.dtype | None], ...] = (
    (torch.bfloat16, None),
    (torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.float64),
    (torch.float64, torch.float32),
)
"""Dtypes of inputs, each with one of the state that is handed in."""


def _default_sizes(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Built without arguments, a module has the spec's own sizes; what it starts from is in float32 where inputs are narrower."""
    program, sizes = emitted.program, default_sizes(emitted.program.model)
    axes = tuple(sizes[axis] for axis in program.model.axes)
    wanted = {
        slot.name: (1, *tokens_before(slot), *(() if slot.is_whole else axes), *(dim.size(sizes) for dim in slot.shape))
        for slot in program.slots
        if slot.component != POSITION
    }
    state = Emitted(module_class(), program, sizes).initial_state(1, torch.empty((), dtype=torch.bfloat16, device="meta"))
    wrong = [f"{name} is {tuple(state[name].shape)}, not {shape}" for name, shape in wanted.items() if state[name].shape != shape]
    wrong += [f"{name} starts in {state[name].dtype}" for name in wanted if state[name].dtype is not torch.float32]
    begun = emitted.initial_state(1, torch.empty(()))
    zero = [slot.name for slot in program.slots if slot.start is None and slot.name in wanted]
    wrong += [f"{name} does not start from zeros" for name in zero if bool(begun[name].any())]
    module = module_class()
    wrong += [f"{dim.name} is not {sizes[dim.name]}" for dim in program.model.dims if getattr(module, dim.name, None) != sizes[dim.name]]
    yield pair("module by default", drawn, left="spec").square("sizes", float(len(wrong)), 0.0, ", ".join(wrong))


def _dtypes(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Outputs come in the dtype of the inputs; a state is never narrower than float32, the inputs or the state given; `step` keeps it.

    Parameters, in float32 or float64, have no say.
    """
    modules = {dtype: build(module_class, emitted.program, drawn, dtype) for dtype in (torch.float32, torch.float64)[: _held(drawn)]}
    for (given, kept), (held, module) in product(PRECISIONS, modules.items()):
        inputs = in_dtype(drawn.inputs, given)
        state = None if kept is None else in_dtype(drawn.state or {}, kept)
        least = torch.promote_types(given, torch.float32)
        for name, run in module.ways(drawn.tokens):
            outputs, final = run(inputs, state)
            widest = least if kept is None else kept if name == "step" else torch.promote_types(least, kept)
            wrong = [*_unlike(outputs, given), *_unlike(final, widest)]
            case = f"{given} inputs, {'no state' if kept is None else f'{kept} state'}{f', {held} parameters' if drawn.parameters else ''}"
            yield replace(pair(name, drawn, left="spec"), case=case).square("dtypes", float(len(wrong)), 0.0, ", ".join(wrong))


def _held(drawn: Drawn) -> int:
    """How many dtypes of parameters there are to try."""
    return 2 if drawn.parameters else 1


def _unlike(tensors: Tensors, dtype: torch.dtype) -> list[str]:
    return [
        f"{name} is {tensor.dtype}, not {dtype}"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and tensor.dtype is not dtype
    ]


def _on_meta(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Nothing fixes a device: with every tensor on the meta device, which computes shapes alone, the results are there too."""
    for name, run in emitted.on("meta").ways(drawn.tokens):
        outputs, final = run(every(drawn.inputs, _on_device_meta), every(drawn.state or {}, _on_device_meta))
        wrong = [f"{key} is on {tensor.device}" for key, tensor in (*outputs.items(), *final.items()) if not tensor.is_meta]
        yield pair(f"{name} on device meta", drawn, left=name).square("device", float(len(wrong)), 0.0, ", ".join(wrong))


def _on_device_meta(tensor: Tensor) -> Tensor:
    return tensor.to("meta")


# --- chunks ------------------------------------------------------------------------------------------------------


def _chunk(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Other chunks take other operations: the argument is heeded, from 1 token to the whole sequence."""
    if emitted.program.has_chunk:
        longest = min(drawn.tokens, emitted.program.blocks.tokens or drawn.tokens)
        lengths = (1, longest - 1, longest) if longest == drawn.tokens else (1, longest)
        asked = [_operations(build(module_class, emitted.program, replace(drawn, chunk=chunk)), drawn.inputs) for chunk in lengths]
        differ = all(one != other for one, other in pairwise(asked))
        says = "" if differ else f"of chunks of {lengths} tokens, two lengths take the same operations"
        yield pair("longer chunks", drawn, left="shorter chunks").square("operations", float(not differ), 0.0, says)


def _default_chunk(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """The default is the chunk that the program chose."""
    if emitted.program.has_chunk:
        chosen = build(module_class, emitted.program, replace(drawn, by_default=False))
        for tokens in (drawn.tokens - 1, drawn.tokens):
            inputs = drawn.at(slice(tokens))
            error = _operations(emitted, inputs) != _operations(chosen, inputs)
            says = f"the default is not the program's chunk of {drawn.chunk} tokens" if error else ""
            yield pair("default chunk", drawn, left="program's chunk").square("operations", float(error), 0.0, says)


Operation = tuple[str, tuple[int, ...]]
"""What was asked of torch, and the shape of what it gave: () unless that is a tensor."""


class Listener(TorchFunctionMode):
    """Remembers what is asked of torch while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Operation] = []

    def __torch_function__(self, operation, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        result = operation(*arguments, **(keywords or {}))
        self.heard.append((operation.__name__, tuple(result.shape) if isinstance(result, Tensor) else ()))
        return result


def _operations(emitted: Emitted, inputs: Tensors) -> list[Operation]:
    listener = Listener()
    with listener:
        emitted.forward(inputs, None)
    return listener.heard


# --- what is refused ---------------------------------------------------------------------------------------------


def _refusals(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """No chunk of 0 tokens is taken, and no sizes of which a dim is no whole number."""
    module, model = pair("module", drawn, left="contract"), emitted.program.model
    free = [dim.name for dim in model.dims if dim.definition is None]
    for name in free:
        sizes = {other: drawn.sizes[other] for other in free} | {name: drawn.sizes[name] + 1}
        made = [(dim.name, dim.definition) for dim in model.dims if dim.definition is not None and dim.definition.names <= sizes.keys()]
        broken = [made_name for made_name, definition in made if definition.value(sizes).denominator > 1]
        if broken:
            yield refusal(module, f"a {broken[0]} that is no whole number", partial(module_class, **sizes))
    if emitted.program.has_chunk:
        yield refusal(module, "a chunk of 0 tokens", partial(build, module_class, emitted.program, replace(drawn, chunk=0)))


CONTRACT: tuple[tuple[Relation, Case], ...] = (
    (_default_sizes, FRESH),
    *((part, FRESH) for part in SLOW_LEVELS),
    *MANAGED,
    (_dtypes, CARRIED),
    (_on_meta, CARRIED),
    (_chunk, FRESH),
    (_default_chunk, BY_DEFAULT),
    (_refusals, FRESH),
)
"""Each part of the contract as a relation, with the case whose evidence it gets."""
