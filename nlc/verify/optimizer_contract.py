"""What users of an emitted optimizer may rely on, whatever its spec: defaults, groups, closures, what is left alone and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from inspect import signature
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nlc.ir.contexts import free_dims
from nlc.ir.dims import COLUMNS, ENTRIES, MATRIX, ROWS
from nlc.ir.program import Program
from nlc.ir.ranges import below_one, never_negative
from nlc.verify.layer_data import record_ones
from nlc.verify.observe import OUTPUTS, Failure, Pair, attempt
from nlc.verify.refusal import refusal
from nlc.verify.square import Square

RATE = "learning_rate"
RATE_KEY = "lr"
"""What torch's schedulers call `learning_rate`; an emitted optimizer keeps it in its groups under this key."""

MEANINGLESS: tuple[object, ...] = (float("nan"), float("inf"), "0.1", True)
"""No hyperparameter may be one of these."""

POLICIES: tuple[str | None, ...] = (None, "skip", "raise")
"""What may happen to a step with a gradient that is not finite."""

LONGEST_PERIOD = 64
"""Steps that are taken to see what the slowest level does; where they do not suffice nothing is said."""

OptimizerClass = Callable[..., torch.optim.Optimizer]
Part = Callable[[Program, OptimizerClass], Iterator[Square]]


def optimizer_contract(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Every part of the contract as squares; a class that raises opens the part at hand."""
    for part in CONTRACT:
        found = attempt(partial(_squares, part, program, optimizer_class))
        yield from _pair(part.__name__.strip("_").replace("_", " ")).failed(found, OUTPUTS) if isinstance(found, Failure) else found


def _squares(part: Part, program: Program, optimizer_class: OptimizerClass) -> list[Square]:
    return list(part(program, optimizer_class))


def key_of(name: str, settings: Collection[str]) -> str:
    """The key of a hyperparameter in a parameter group; raises KeyError when there is none."""
    key = RATE_KEY if name == RATE and RATE_KEY in settings else name
    if key not in settings:
        raise KeyError(f"the optimizer's groups have no {name}")
    return key


def _defaults(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Without arguments, hyperparameters have the values of the spec."""
    (settings,) = optimizer_class([_weight(program)]).param_groups
    for item in program.hyperparameters:
        error = abs(settings[key_of(item.name, settings)] - float(item.default))
        yield _pair("default").square(item.name, error, 0.0)


def _groups(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A group takes hyperparameters of its own by the spec's names: any finite number, rates in their range."""
    for item in program.hyperparameters:
        is_below_one, is_rate = item.name in below_one(program.model), item.name in never_negative(program.model)
        for value in (0, 0.25 if is_below_one else 2, 0.5 if is_rate else -0.5):
            (settings,) = optimizer_class([_group(program, item.name, value)]).param_groups
            error = abs(settings[key_of(item.name, settings)] - value)
            yield _pair("group", f"{item.name} = {value}").square(item.name, error, 0.0)


def _refused_numbers(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Hyperparameters that make no sense are refused, by the constructor and in a group."""
    for item in program.hyperparameters:
        below = (-1.0,) if item.name in never_negative(program.model) else ()
        above = (1.0, 2.0) if item.name in below_one(program.model) else ()
        for value in (*MEANINGLESS, *below, *above):
            what = f"{item.name} = {value!r}"
            yield refusal(_pair("constructor"), what, partial(optimizer_class, [_weight(program)], **{item.name: value}))
            yield refusal(_pair("group"), what, partial(optimizer_class, [_group(program, item.name, value)]))


def _sizes(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Dims are chosen where the optimizer is made, for each group too: states have those sizes, and what is no size is refused."""
    free = free_dims(program.model)
    for item in free:
        for wrong in (0, -1, 1.5, *MEANINGLESS):
            yield refusal(
                _pair("constructor"), f"{item.name} = {wrong!r}", partial(optimizer_class, [_weight(program)], **{item.name: wrong})
            )
        for chosen in ({}, {item.name: item.default + 1}):
            weight = _weight(program, _ones(program))
            optimizer = optimizer_class([{"params": [weight], **chosen}])
            _step(program, optimizer)
            sizes = {str(ROWS): 3, str(COLUMNS): 1, **{other.name: other.default for other in free}, **chosen}
            states = {slot.name: slot.shape for slot in program.slots if not slot.counts and slot.shape not in (ENTRIES, MATRIX)}
            wrong_ones = [
                name
                for name, shape in states.items()
                if tuple(optimizer.state[weight][name].shape) != tuple(dim.value(sizes) for dim in shape)
            ]
            case = f"{item.name} = {sizes[item.name]}"
            yield _pair("sizes", case).square("states of other sizes", float(len(wrong_ones)), 0.0, ", ".join(wrong_ones))


def _refused_gradients(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Sparse and complex gradients are refused rather than misread, whatever is to happen to those that are not finite."""
    dense = _ones(program)
    for what, gradient in (("a sparse gradient", dense.to_sparse()), ("a complex gradient", dense.to(torch.complex64))):
        for policy in POLICIES:
            optimizer = optimizer_class([_weight(program, gradient)], nonfinite=policy)
            yield refusal(_pair("step", f"nonfinite={policy!r}"), what, partial(_step, program, optimizer))


def _refused_shapes(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """An optimizer of matrices refuses parameters that are none, by name if they have names, and is then as it was."""
    for shape in ((3,), (2, 2, 2), ()) if program.model.moves_matrices else ():
        what, wrong = f"a parameter of shape {shape}", nn.Parameter(torch.ones(shape))
        yield refusal(_pair("constructor"), what, partial(optimizer_class, [wrong]))
        optimizer = optimizer_class([("first", _weight(program))])
        try:
            optimizer.add_param_group({"params": [("second", _weight(program)), ("third", wrong)]})
            said = ""
        except ValueError as error:
            said = str(error)
        yield Pair("a refusal", "add_param_group", what, 1, 1).square("the name", float("third" not in said), 0.0, said)
        yield Pair("groups before", "afterwards", what, 1, 1).square("number", abs(len(optimizer.param_groups) - 1.0), 0.0)


def _products(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Where the dtype of products can be chosen, it is that of the state without a choice, and another one is computed in.

    Seen until the slowest level has moved, and one step more, at which it is used.
    """
    if "matmul_dtype" not in signature(optimizer_class).parameters:
        return
    period = max(int(item.every.period) for item in program.model.components)
    if period > LONGEST_PERIOD:
        yield _pair("products").inapplicable("weights", f"a level moves every {period} steps alone")
        return
    moved, dtypes = [], []
    for chosen in ({}, {"matmul_dtype": torch.float32}, {"matmul_dtype": torch.bfloat16}):
        weight = nn.Parameter(torch.ones(3, 2))
        optimizer = optimizer_class([weight], **chosen)
        with _DtypesComputedIn() as computed_in:
            for _ in range(period + 1):
                weight.grad = torch.arange(6.0).reshape(3, 2).sin()
                _step(program, optimizer)
        moved.append(weight.detach())
        dtypes.append(computed_in.seen)
    default, same, _ = moved
    yield _pair("products", "float32").square("weights", _distance(default, same), 0.0)
    is_chosen = [torch.bfloat16 in seen for seen in dtypes] == [False, False, True]
    yield _pair("products", "bfloat16").square("dtype of products", float(not is_chosen), 0.0)


class _DtypesComputedIn(TorchFunctionMode):
    """The dtypes of what goes into torch's functions while it is entered, under `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.update(value.dtype for value in args if isinstance(value, Tensor))
        return function(*args, **(kwargs or {}))


def _left_alone(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A parameter without a gradient stays as it is, in a group with others or without."""
    moved, still, apart = _weight(program, _ones(program)), _weight(program), _weight(program)
    _step(program, optimizer_class([{"params": [moved, still]}, {"params": [apart]}]))
    for case, weight in (("beside one with a gradient", still), ("in a group without gradients", apart)):
        yield Pair("parameter without a gradient before", "afterwards", case, 1, 1).square(
            "weights", _distance(weight, _ones(program)), 0.0
        )


def _dtypes(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A bfloat16 parameter stays one and has float32 state."""
    weight = _weight(program, _ones(program).to(torch.bfloat16))
    optimizer = optimizer_class([weight])
    _step(program, optimizer)
    narrow = [str(optimizer.state[weight][slot.name].dtype) for slot in program.slots if not slot.counts]
    wrong = [dtype for dtype in narrow if dtype != str(torch.float32)]
    yield Pair("float32", "state of a bfloat16 parameter", "one step", 1, 1).square("dtype", float(len(wrong)), 0.0, ", ".join(wrong))


def _closures(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """`step(closure)` calls it once, with gradients enabled, and returns what it returns; the update is that of its gradient."""
    weight, plain = _weight(program), _weight(program, 2 * _ones(program))
    optimizer = optimizer_class([weight])
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        record_ones(program.model, optimizer)
        losses.append(float(loss.detach()))
        return losses[-1]

    returned = optimizer.step(closure)
    nothing = _step(program, optimizer_class([plain]))
    yield _pair("step with a closure").square("calls", abs(len(losses) - 1.0), 0.0)
    yield _pair("step with a closure").square("value returned", float([returned] != losses), 0.0)
    yield _pair("step with a closure").square("weights", _distance(weight, plain), 0.0)
    yield _pair("step without a closure").square("value returned", float(nothing is not None), 0.0)


def _not_finite(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A gradient that is not finite changes nothing where it is to be skipped or raised, and is used where neither is said."""
    for policy, place in product(POLICIES, range(3)):
        weights = [_weight(program, _ones(program)) for _ in range(3)]
        optimizer = optimizer_class([{"params": weights[:2]}, {"params": [*weights[2:], _weight(program)]}], nonfinite=policy)
        _step(program, optimizer)
        before = [tensor.clone() for tensor in _held(optimizer, weights)]
        weights[place].grad = torch.full_like(weights[place], float("nan"))
        case = f"nonfinite={policy!r}, parameter {place}"
        if policy == "raise":
            yield refusal(_pair("step", case), "a gradient that is not a number", partial(_step, program, optimizer), FloatingPointError)
        else:
            _step(program, optimizer)
        moved = sum(not torch.equal(now, old) for now, old in zip(_held(optimizer, weights), before, strict=True))
        wrong = moved == 0 if policy is None else moved > 0
        yield Pair("weights and states before", "afterwards", case, 1, 1).square("weights and states", float(wrong), 0.0)
    yield refusal(_pair("constructor"), "nonfinite='never'", partial(optimizer_class, [_weight(program)], nonfinite="never"))


def _skipped_closure(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A step that is skipped returns what its closure returned all the same."""
    weight = _weight(program, torch.full_like(_ones(program), float("inf")))
    optimizer = optimizer_class([weight], nonfinite="skip")
    record_ones(program.model, optimizer)
    returned = optimizer.step(lambda: 1.5)
    yield _pair("step with a closure", "nonfinite='skip'").square("value returned", float(returned != 1.5), 0.0)


def _no_parameters(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Nothing to move is a mistake."""
    yield refusal(_pair("constructor", "no parameter"), "an empty list of parameters", partial(optimizer_class, []))


CONTRACT: tuple[Part, ...] = (
    _defaults,
    _groups,
    _refused_numbers,
    _sizes,
    _refused_gradients,
    _refused_shapes,
    _products,
    _left_alone,
    _dtypes,
    _closures,
    _not_finite,
    _skipped_closure,
    _no_parameters,
)


def _step(program: Program, optimizer: torch.optim.Optimizer) -> float | None:
    """A step, with data where the optimizer takes them."""
    record_ones(program.model, optimizer)
    return optimizer.step()


def _held(optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]) -> list[Tensor]:
    """All that a step may change."""
    states = [value for weight in weights for value in optimizer.state[weight].values()]
    return [weight.detach() for weight in weights] + [value for value in states if isinstance(value, Tensor)]


def _ones(program: Program) -> Tensor:
    """Three ones, in one column for an optimizer of matrices."""
    return torch.ones(3, 1) if program.model.moves_matrices else torch.ones(3)


def _weight(program: Program, gradient: Tensor | None = None) -> nn.Parameter:
    """Three ones, in the dtype of the gradient that they get."""
    weight = nn.Parameter(_ones(program).to(torch.float32 if gradient is None else gradient.dtype))
    weight.grad = gradient
    return weight


def _group(program: Program, name: str, value: Any) -> dict[str, Any]:
    return {"params": [_weight(program)], name: value}


def _distance(left: Tensor, right: Tensor) -> float:
    return float((left.detach() - right.detach()).abs().max())


def _pair(right: str, case: str = "one parameter") -> Pair:
    return Pair("contract", right, case, 1, 1)
