"""What users of an emitted optimizer may rely on, whatever its spec: defaults, groups, closures, what is left alone and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nlc.ir.program import Program
from nlc.verify.observe import OUTPUTS, Failure, Pair, attempt
from nlc.verify.refusal import refusal
from nlc.verify.square import Square

RATE = "learning_rate"
RATE_KEY = "lr"
"""What torch's schedulers call `learning_rate`; an emitted optimizer keeps it in its groups under this key."""

MEANINGLESS: tuple[object, ...] = (float("nan"), float("inf"), "0.1", True)
"""No hyperparameter may be one of these."""

MULTIPLICATIONS = frozenset({"addmm", "baddbmm", "bmm", "matmul", "mm"})
"""What torch calls products of matrices."""

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
    """A group takes hyperparameters of its own by the spec's names: any finite number, a learning rate from 0 on."""
    for item in program.hyperparameters:
        for value in (0, 2, 0.5 if item.name == RATE else -0.5):
            (settings,) = optimizer_class([_group(program, item.name, value)]).param_groups
            error = abs(settings[key_of(item.name, settings)] - value)
            yield _pair("group", f"{item.name} = {value}").square(item.name, error, 0.0)


def _refused_numbers(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Hyperparameters that make no sense are refused, by the constructor and in a group."""
    for item in program.hyperparameters:
        for value in (*MEANINGLESS, -1.0) if item.name == RATE else MEANINGLESS:
            what = f"{item.name} = {value!r}"
            yield refusal(_pair("constructor"), what, partial(optimizer_class, [_weight(program)], **{item.name: value}))
            yield refusal(_pair("group"), what, partial(optimizer_class, [_group(program, item.name, value)]))


def _refused_gradients(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Sparse and complex gradients are refused rather than misread."""
    dense = _ones(program)
    for what, gradient in (("a sparse gradient", dense.to_sparse()), ("a complex gradient", dense.to(torch.complex64))):
        optimizer = optimizer_class([_weight(program, gradient)])
        yield refusal(_pair("step"), what, optimizer.step)


def _refused_shapes(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """An optimizer of matrices refuses parameters that are none."""
    for shape in ((3,), (2, 2, 2), ()) if program.model.moves_matrices else ():
        yield refusal(_pair("constructor"), f"a parameter of shape {shape}", partial(optimizer_class, [nn.Parameter(torch.ones(shape))]))


def _left_alone(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A parameter without a gradient stays as it is, in a group with others or without."""
    moved, still, apart = _weight(program, _ones(program)), _weight(program), _weight(program)
    optimizer_class([{"params": [moved, still]}, {"params": [apart]}]).step()
    for case, weight in (("beside one with a gradient", still), ("in a group without gradients", apart)):
        yield Pair("parameter without a gradient before", "afterwards", case, 1, 1).square(
            "weights", _distance(weight, _ones(program)), 0.0
        )


def _dtypes(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """A bfloat16 parameter stays one and has float32 state."""
    weight = _weight(program, _ones(program).to(torch.bfloat16))
    optimizer = optimizer_class([weight])
    optimizer.step()
    narrow = [str(optimizer.state[weight][slot.name].dtype) for slot in program.slots if not slot.counts]
    wrong = [dtype for dtype in narrow if dtype != str(torch.float32)]
    yield Pair("float32", "state of a bfloat16 parameter", "one step", 1, 1).square("dtype", float(len(wrong)), 0.0, ", ".join(wrong))


def _products(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """The products of an optimizer of matrices are in the dtype that is asked for."""
    for asked in (torch.float64, torch.bfloat16) if program.model.moves_matrices else ():
        optimizer = optimizer_class([_weight(program, _ones(program))], matmul_dtype=asked)
        with _Products() as products:
            optimizer.step()
        others = sorted(str(dtype) for dtype in products.dtypes - {asked})
        yield _pair("products of matrices", f"matmul_dtype = {asked}").square("dtype", float(len(others)), 0.0, ", ".join(others))


class _Products(TorchFunctionMode):
    """Remembers the dtypes of what is multiplied as matrices while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(self, operation, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        if operation.__name__ in MULTIPLICATIONS:
            self.dtypes |= {x.dtype for x in arguments if isinstance(x, Tensor)}
        return operation(*arguments, **(keywords or {}))


def _closures(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """`step(closure)` calls it once, with gradients enabled, and returns what it returns; the update is that of its gradient."""
    weight, plain = _weight(program), _weight(program, 2 * _ones(program))
    optimizer = optimizer_class([weight])
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        return losses[-1]

    returned = optimizer.step(closure)
    nothing = optimizer_class([plain]).step()
    yield _pair("step with a closure").square("calls", abs(len(losses) - 1.0), 0.0)
    yield _pair("step with a closure").square("value returned", float([returned] != losses), 0.0)
    yield _pair("step with a closure").square("weights", _distance(weight, plain), 0.0)
    yield _pair("step without a closure").square("value returned", float(nothing is not None), 0.0)


CONTRACT: tuple[Part, ...] = (
    _defaults,
    _groups,
    _refused_numbers,
    _refused_gradients,
    _refused_shapes,
    _left_alone,
    _dtypes,
    _products,
    _closures,
)


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
