"""What users of an emitted optimizer may rely on that takes data of layers: which passes it follows, and when it forgets what it saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.contexts import contexts_of
from nlc.ir.program import Program
from nlc.verify.observe import Pair
from nlc.verify.refusal import refusal
from nlc.verify.square import Square

SIDE, DATA, PASSES = 3, 2, 2


def layer_contract(program: Program, optimizer_class: Callable[..., Any]) -> Iterator[Square]:
    """Squares about data of layers, for an optimizer that takes any."""
    for part in (_followed, _forgotten, _emptied, _kept) if contexts_of(program.model) else ():
        yield from part(program, optimizer_class)


def _followed(program: Program, optimizer_class: Callable[..., Any]) -> Iterator[Square]:
    """A layer that is used twice, at two passes: what is recorded is what one would record by hand, however often it was attached."""
    wanted = _layer()
    optimizer = optimizer_class([wanted.weight])
    for number in range(PASSES):
        for given, slope in _passed(wanted, number):
            data = {"layer_input": given, "output_gradient": slope}
            optimizer.record(wanted.weight, **{stream.name: data[stream.name] for stream in contexts_of(program.model)})
    optimizer.step()
    for times in (1, 2):
        layer = _layer()
        optimizer = optimizer_class([layer.weight])
        for _ in range(times):
            optimizer.attach(nn.Sequential(nn.Tanh(), layer, nn.Linear(SIDE, SIDE)))
        for number in range(PASSES):
            with torch.no_grad():
                layer(torch.ones(DATA, SIDE, dtype=torch.float64))
            _passed(layer, number)
        optimizer.step()
        error = float((layer.weight - wanted.weight).detach().abs().max())
        yield Pair("data recorded by hand", "attach", f"attached {times} times", 1, 1).square("weights", error, 0.0)


def _forgotten(program: Program, optimizer_class: Callable[..., Any]) -> Iterator[Square]:
    """Without data a step is refused: before the first pass, and after a step, a skipped one, `zero_grad` and `detach`."""
    nothing = Pair("contract", "attach", "a module without its weights", 1, 1)
    yield refusal(nothing, "a module of other layers", partial(optimizer_class([_layer().weight]).attach, _layer()))
    for case in ("nothing", "step", "skipped step", "zero_grad", "detach", "pass after detach"):
        layer = _layer()
        optimizer = optimizer_class([layer.weight], nonfinite="skip")
        optimizer.attach(layer)
        if case == "pass after detach":
            optimizer.detach()
        if case != "nothing":
            _passed(layer, 0)
        _forget(optimizer, layer, case)
        layer.weight.grad = torch.ones_like(layer.weight)
        yield refusal(Pair("contract", "step", f"after: {case}", 1, 1), "a gradient without data", optimizer.step, RuntimeError)


def _emptied(program: Program, optimizer_class: Callable[..., Any]) -> Iterator[Square]:
    """`zero_grad` does what torch's does, and what was detached may be attached again."""
    layer = _layer()
    optimizer = optimizer_class([layer.weight])
    for arguments, left in (((False,), 1), ((True,), 0), ((), 0)):
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.zero_grad(*arguments)
        found = _gradient(layer.weight)
        wrong = (found is not None) != bool(left) or (found is not None and bool(found.any()))
        yield Pair("contract", "zero_grad", f"with {arguments}", 1, 1).square("gradient", float(wrong), 0.0)
    for _ in range(2):
        optimizer.attach(layer)
        optimizer.detach()
    optimizer.attach(layer)
    _passed(layer, 0)
    yield Pair("contract", "attach", "after detach", 1, 1).square("data", float(layer.weight not in optimizer.contexts), 0.0)


def _kept(program: Program, optimizer_class: Callable[..., Any]) -> Iterator[Square]:
    """Data are kept in the dtype of a weight or in float32, whichever is wider, a datum a row, and without their graph."""
    for own, given, kept in ((torch.bfloat16, torch.float32, torch.float32), (torch.float64, torch.float32, torch.float64)):
        weight = nn.Parameter(torch.ones(SIDE, SIDE, dtype=own))
        optimizer = optimizer_class([weight])
        datum = torch.arange(SIDE, dtype=given).sin().requires_grad_()
        optimizer.record(weight, **{stream.name: datum for stream in contexts_of(program.model)})
        found = optimizer.contexts[weight].values()
        wrong = [x for x in found if x.dtype != kept or x.requires_grad or not torch.equal(x, datum.detach().to(kept)[None])]
        yield Pair("a datum", "record", f"{given} for {own}", 1, 1).square("data", float(len(wrong)), 0.0)


def _forget(optimizer: Any, layer: nn.Linear, case: str) -> None:
    if case == "skipped step":
        layer.weight.grad = torch.full_like(layer.weight, float("nan"))
    if case in ("step", "skipped step"):
        optimizer.step()
    if case in ("zero_grad", "detach"):
        getattr(optimizer, case)()


def _layer() -> nn.Linear:
    layer = nn.Linear(SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(SIDE * SIDE).reshape(SIDE, SIDE).double().sin())
        layer.bias.zero_()
    return layer


def _gradient(weight: Tensor) -> Tensor | None:
    return weight.grad


def _passed(layer: nn.Linear, number: int) -> list[tuple[Tensor, Tensor]]:
    """A pass that uses a layer twice, once by keyword; its inputs and the gradients of what it gave, in the order in which those come."""
    first = torch.arange(DATA * SIDE).reshape(1, DATA, SIDE).double().cos() + number
    middle = layer(first)
    second = middle.tanh()
    last = layer(input=second)
    middle.retain_grad()
    last.retain_grad()
    last.square().sum().backward()
    assert last.grad is not None and middle.grad is not None
    return [(second.detach(), last.grad), (first, middle.grad)]
