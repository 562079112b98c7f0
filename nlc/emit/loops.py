"""The loop over a sequence, token after token: the body of `forward_by_token`."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.emit.feed_forward import is_feed_forward
from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, Sizes, size_text, sizes
from nlc.ir.model import Output


def by_token_body(sequence: Sequence) -> Lines:
    """One call of `step` after the other."""
    names = LocalNames((*sequence.inputs, "state"))
    variables, outputs, t = sizes(sequence, names), names.new("outputs"), names.new("t")
    inputs = sequence.model.inputs
    arguments = [*(item.name + "=" + item.name + ("" if item.is_of_sequence else f"[:, {t}]") for item in inputs), "state=state"]
    head = f"for {t} in range({sequence.like.name}.shape[1]):"
    return _loop(sequence, names, variables, outputs, Calls("step", arguments, (head,), ".unsqueeze(1)"))


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of a method: its name and arguments, the head of the loop, how an output gets its dim of time, and what comes before."""

    method: str
    arguments: list[str]
    head: Lines
    piece: str
    told: Lines = ()


def _loop(sequence: Sequence, names: LocalNames, variables: Sizes, outputs: str, calls: Calls) -> Lines:
    """Outputs of every call joined along time, and the last state."""
    like, model = sequence.like.name, sequence.model
    shapes = {item.name: _empty(sequence, item, variables) for item in model.outputs}
    if len(model.outputs) == 1:
        (output,) = model.outputs
        empty: Lines = (f"{outputs} = [{like}.new_empty({shapes[output.name]})]",)
        value = names.new(output.name)
        appended: Lines = (f"{outputs}.append({value}{calls.piece})",)
        result = f"return torch.cat({outputs}, 1), state"
    else:
        items = [f'    "{name}": [{like}.new_empty({shape})],' for name, shape in shapes.items()]
        empty = (f"{outputs} = {{", *items, "}")
        value, name, one = names.new("now"), names.new("name"), names.new("value")
        appended = (f"for {name}, {one} in {value}.items():", f"    {outputs}[{name}].append({one}{calls.piece})")
        result = f"return {{{name}: torch.cat({one}, 1) for {name}, {one} in {outputs}.items()}}, state"
    body = (*call(f"{value}, state = self.{calls.method}", calls.arguments, "", 12), *appended)
    start = "state = {}" if is_feed_forward(sequence) else f"state = self._start(state, {variables.leading}, {like})"
    return (*block(variables.lines), *calls.told, start, *empty, *calls.head, *indented(body), result)


def _empty(sequence: Sequence, output: Output, variables: Sizes) -> str:
    """The sizes of an output over no tokens."""
    axes = (variable for axis, variable in zip(sequence.model.axes, variables.axes, strict=True) if axis not in output.joined)
    return ", ".join((variables.batch, "0", *axes)) + size_text(sequence, output.value.shape)
