"""What users of an emitted model may rely on, whatever its network: its sizes and numbers, its parameters and their starts, its dtypes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.algebra import Expr, Hyperparameter, Parameter
from nlc.ir.model import Embed, Family, Head, Layer, Normalise
from nlc.ir.network import Part, Repeat
from nlc.ir.program import Program
from nlc.verify.emitted import attribute
from nlc.verify.evaluate import Evaluator
from nlc.verify.inputs import default_sizes
from nlc.verify.observe import Failure, Pair, attempt
from nlc.verify.oracle import number_of
from nlc.verify.oracle_network import layer_sizes
from nlc.verify.slow_levels import draw_bound, unlike_uniform
from nlc.verify.square import Square

SEED, TOKENS = 5, 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A parameter as the spec has it: its shape, what it starts from (None: drawn below `bound`), and whether anything moves it.

    `start` is given all parameters by path, among which there may be the one that it starts from.
    """

    shape: tuple[int, ...]
    start: Callable[[Mapping[str, Tensor]], Tensor] | None
    bound: float
    moves: bool


def contract_squares(program: Program, module: ModuleType, small: Mapping[str, int]) -> Iterator[Square]:
    """One square for each promise; what raises opens it."""
    made: Callable[..., Any] = getattr(module, program.model.name)
    free = {item.name: small[item.name] for item in program.model.dims if item.definition is None}
    checks: tuple[tuple[str, Callable[[], Iterable[str]]], ...] = (
        ("sizes and numbers", lambda: _numbers(program, made())),
        ("slow levels", lambda: [*_levels(program, made(), default_sizes(program.model)), *_levels(program, made(**free), small)]),
        ("start of slow levels", lambda: _starts(program, made(**free), small)),
        ("dtypes", lambda: _dtypes(program, made(**free))),
        ("device", lambda: _on_meta(program, made(**free).to("meta"))),
        ("refusals", lambda: _refusals(program, made, free)),
    )
    for name, check in checks:
        pair, wrong = Pair("spec", "module", "contract", 0, 0), attempt(partial(_listed, check))
        if isinstance(wrong, Failure):
            yield from pair.failed(wrong, name)
        else:
            yield pair.square(name, float(len(wrong)), 0.0, ", ".join(wrong[:3]))


def _listed(check: Callable[[], Iterable[str]]) -> list[str]:
    return list(check())


def _numbers(program: Program, made: Any) -> Iterator[str]:
    """Made without arguments, a model has the spec's own sizes and numbers, under their names."""
    sizes = default_sizes(program.model)
    wanted = {item.name: float(sizes[item.name]) for item in program.model.dims if item.definition is None}
    wanted |= {item.name: float(item.default) for item in program.hyperparameters}
    yield from (f"{name} is not {value:g}" for name, value in wanted.items() if getattr(made, name, None) != value)


def _levels(program: Program, made: nn.Module, sizes: Mapping[str, int]) -> Iterator[str]:
    """Slow levels, and nothing else, are parameters: of their shapes, in the state_dict, and frozen ones without gradients."""
    wanted, found = wanted_parameters(program, sizes), dict(made.named_parameters())
    for what, names in (("parameter", found.keys()), ("tensor of the state_dict", made.state_dict().keys())):
        yield from (f"{name} is no {what}" for name in sorted(wanted.keys() - names))
        yield from (f"the {what} {name} is no slow level" for name in sorted(names - wanted.keys()))
    for name in wanted.keys() & found.keys():
        if found[name].shape != wanted[name].shape:
            yield f"{name} is {tuple(found[name].shape)}, not {wanted[name].shape}"
        if found[name].requires_grad is not wanted[name].moves:
            yield f"{name} has requires_grad = {found[name].requires_grad}"


def _starts(program: Program, made: nn.Module, sizes: Mapping[str, int]) -> Iterator[str]:
    """Slow levels start where the spec says, else drawn as layers of torch draw; `reset_parameters` of all modules does it again."""
    wanted = wanted_parameters(program, sizes)
    yield from _unlike_starts(made, wanted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for parameter in made.parameters():
            nn.init.constant_(parameter, float("nan"))
        for module in made.modules():
            getattr(module, "reset_parameters", tuple)()
    yield from _unlike_starts(made, wanted)


def _unlike_starts(made: nn.Module, wanted: Mapping[str, Wanted]) -> Iterator[str]:
    found = {name: parameter.detach().double() for name, parameter in made.named_parameters()}
    for name, tensor in found.items():
        one = wanted[name]
        if one.start is None:
            if wrong := unlike_uniform(tensor, one.bound):
                yield f"{name} {wrong}"
        elif not torch.allclose(tensor, one.start(found).expand(one.shape), rtol=1e-6, atol=0.0):
            yield f"{name} does not start from what the spec says"


def _dtypes(program: Program, made: Any) -> Iterator[str]:
    """Logits come in the dtype of the parameters; a state, and the loss, is never narrower than float32."""
    tokens = _tokens(program)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        logits, state = made.to(dtype)(**tokens)
        loss, _ = made.loss(**tokens, targets=next(iter(tokens.values())))
        least = torch.promote_types(dtype, torch.float32)
        yield from (
            f"{name} of parameters in {dtype} is {tensor.dtype}, not {wanted}"
            for name, tensor, wanted in (("logits", logits, dtype), ("loss", loss, least), *(("state", x, least) for x in _tensors(state)))
            if tensor.is_floating_point() and tensor.dtype is not wanted
        )


def _on_meta(program: Program, made: Any) -> Iterator[str]:
    """Nothing fixes a device: on the meta device, which computes shapes alone, the results are there too."""
    tokens = {name: tensor.to("meta") for name, tensor in _tokens(program).items()}
    logits, state = made(**tokens)
    loss, _ = made.loss(**tokens, targets=next(iter(tokens.values())))
    results = (("logits", logits), ("loss", loss), *(("state", x) for x in _tensors(state)))
    yield from (f"{name} is on {tensor.device}" for name, tensor in results if not tensor.is_meta)


def _refusals(program: Program, made: Any, free: Mapping[str, int]) -> Iterator[str]:
    """Sizes of which one that is made of others would be no whole number are not taken."""
    for name in free:
        sizes = {**free, name: free[name] + 1}
        if not _are_whole(program, sizes) and not isinstance(attempt(partial(made, **sizes)), Failure):
            yield f"a model of {name} = {sizes[name]} is made"


def _are_whole(program: Program, sizes: Mapping[str, int]) -> bool:
    try:
        wanted_parameters(program, sizes)
    except ValueError:
        return False
    return True


def _tokens(program: Program) -> dict[str, Tensor]:
    return {program.model.inputs[0].name: torch.zeros(2, TOKENS, dtype=torch.int64)}


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    else:
        for item in state.values() if isinstance(state, dict) else state:
            yield from _tensors(item)


# --- the parameters of a model, by path --------------------------------------------------------------------------


def wanted_parameters(program: Program, sizes: Mapping[str, int]) -> dict[str, Wanted]:
    """Every parameter by its path; raises ValueError where a size is not whole."""
    assert program.model.network is not None
    found: dict[str, Wanted] = {}
    for part, repeats in program.model.network.placed:
        for place in _places(repeats, sizes):
            found |= _of_part(program, part, sizes, place)
    return found


def _places(repeats: tuple[Repeat, ...], sizes: Mapping[str, int]) -> Iterator[str]:
    """The prefixes of the paths of what is repeated."""
    if not repeats:
        yield ""
        return
    first, *inner = repeats
    for number in range(first.count.size(sizes)):
        yield from (f"{first.name}.{number}.{rest}" for rest in _places(tuple(inner), sizes))


def _of_part(program: Program, part: Part, sizes: Mapping[str, int], place: str) -> dict[str, Wanted]:
    match part:
        case Normalise(level, width):
            return {place + level: Wanted((width.size(sizes),), lambda _: torch.ones(1, dtype=torch.float64), 0.0, moves=True)}
        case Embed(level, rows, width) | Head(level, False, rows, width):
            return {place + level: Wanted((rows.size(sizes), width.size(sizes)), None, width.size(sizes) ** -0.5, moves=True)}
        case Layer():
            return _of_layer(program, part, sizes, f"{place}{part.name}.")
    return {}


def _of_layer(program: Program, part: Layer, sizes: Mapping[str, int], place: str) -> dict[str, Wanted]:
    layer, inner = program.layers[part.place], layer_sizes(program.model, part, sizes)
    defaults = {item.name: float(item.default) for item in program.model.hyperparameters}
    numbers = {item.name: float(item.default) for item in layer.model.hyperparameters}
    bound = ((name, value) for name, value in part.arguments if name in numbers)
    numbers |= {name: number_of(program.model, value, sizes, defaults) for name, value in bound}
    still = {item.name for item in layer.model.parameters if item.every.family is Family.NEVER}
    paths = {(slot.component, slot.part): place + attribute(slot.name) for slot in layer.parameters}

    def start(value: Expr, parameters: Mapping[str, Tensor]) -> Tensor:
        def leaf(node: Expr) -> Tensor:
            match node:
                case Hyperparameter(name):
                    return torch.tensor(numbers[name], dtype=torch.float64)
                case Parameter(component, piece):
                    return parameters[paths[component, piece]]
            raise ValueError(f"a slow level of a layer cannot start from {node}")

        return Evaluator(inner, torch.zeros((), dtype=torch.float64), leaf)(value)

    return {
        place + attribute(slot.name): Wanted(
            tuple(dim.size(inner) for dim in slot.shape),
            None if slot.start is None else partial(start, slot.start),
            draw_bound(layer, slot, inner),
            slot.component not in still,
        )
        for slot in layer.parameters
    }
