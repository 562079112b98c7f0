"""The optimizers of a program's slow levels -> the function `optimizers` of its module, and the classes that it needs."""

from __future__ import annotations

from collections.abc import Callable

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.layout import Lines, block, call
from nlc.emit.optimizer import optimizer_class, optimizer_helpers
from nlc.emit.render import render
from nlc.emit.restarts import restart_lines
from nlc.emit.scope import leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.views import SlowLevelsView, TrainingView
from nlc.ir.algebra import Expr
from nlc.ir.contexts import contexts_of
from nlc.ir.model import Training
from nlc.ir.program import Program


def training_parts(program: Program, listed: Callable[[Training], str]) -> tuple[str, ...]:
    """The function, the class that steps every level at its period, and each optimizer's class once; `listed` writes its parameters."""
    programs = {item.model.name: item for item in program.training}
    if not programs:
        return ()
    model = program.model
    for item in model.training:
        if contexts_of(item.optimizer):
            what = "an optimizer of slow levels that takes the data of their layers"
            raise CompileError(codes.not_emitted(contexts_of(item.optimizer)[0].span, what))
        same = [other.optimizer for other in model.training if other.optimizer.name == item.optimizer.name]
        if item.optimizer.name == model.name or any(other.components != item.optimizer.components for other in same):
            raise CompileError(codes.reserved_in_emitted_code(model.span, "two classes", item.optimizer.name))
    levels = SlowLevelsView(model.name, block([_optimizer(item, listed(item)) for item in model.training]), restart_lines(program))
    helper = f"an optimizer of {model.name}" if len(programs) > 1 else next(iter(programs))
    classes = [optimizer_class(item) for item in programs.values()]
    return (render(TrainingView(bool(levels.restarts))), render(levels), *classes, optimizer_helpers(helper, "".join(classes)))


WIDEST_LIST = 100
"""A longer list of parameters has a line for each."""


def _optimizer(training: Training, parameters: str) -> Lines:
    """One entry of `LevelOptimizers`: the optimizer with its parameters and numbers, the period, whether gradients are averaged."""
    numbers = [f"{name}={_number(value)}" for name, value in training.numbers]
    period = int(training.every.period)
    made, rest = f"{training.optimizer.name}({', '.join([parameters, *numbers])})", f"{period}, {training.reduce == 'mean'}"
    if len(made) + len(rest) <= 120:
        return (f"({made}, {rest}),",)
    if len(parameters) > WIDEST_LIST:
        listed = ("    [", *(f"        {item}," for item in parameters[1:-1].split(", ")), "    ],")
        inner: Lines = (f"{training.optimizer.name}(", *listed, *(f"    {number}," for number in numbers), "),")
    else:
        inner = call(training.optimizer.name, [parameters, *numbers], ",", 16)
    return ("(", *(f"    {line}" for line in inner), f"    {period},", f"    {training.reduce == 'mean'},", "),")


def _number(value: Expr) -> str:
    """A number of the spec outside of the module: its attributes are the module's."""
    text = TorchPrinter(lambda node: leaf(node, {}), "like").number(value)
    assert text is not None, value
    return text.replace("self.", "module.")
