"""Loops over a sequence: the bodies of `forward_by_token`, token after token, and of a `forward` in blocks."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, Sizes, size_text, sizes
from nlc.ir.model import Output


def by_token_body(sequence: Sequence) -> Lines:
    """One call of `step` after the other."""
    names = LocalNames((*sequence.inputs, "state"))
    variables, outputs, t = sizes(sequence, names), names.new("outputs"), names.new("t")
    arguments = [*(f"{name}={name}[:, {t}]" for name in sequence.inputs), "state=state"]
    head = f"for {t} in range({sequence.like.name}.shape[1]):"
    return _loop(sequence, names, variables, outputs, Calls("step", arguments, (head,), ".unsqueeze(1)"))


def by_block_body(sequence: Sequence) -> Lines:
    """One call of `_block` after the other; a block ends where a period may."""
    names = LocalNames((*sequence.inputs, "state"))
    variables, outputs, lengths = sizes(sequence, names), names.new("outputs"), names.new("lengths")
    arguments = [*(f"{name}={name}" for name in sequence.inputs), "state=state"]
    told = (f"{lengths} = _block_lengths(state, {sequence.program.blocks.tokens}, {sequence.like.name}.shape[1])",)
    streams = ", ".join(sequence.inputs)
    is_alone = len(sequence.inputs) == 1
    targets, of = (f"({streams},)", f"({streams},)") if is_alone else (streams, f"({streams})")
    head = call(f"for {targets} in zip", [f"*(torch.split(x, {lengths}, 1) for x in {of})", "strict=True"], ":", 8)
    return _loop(sequence, names, variables, outputs, Calls("_block", arguments, head, "", told))


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
    start = f"state = self._start(state, {variables.leading}, {like})"
    return (*block(variables.lines), *calls.told, start, *empty, *calls.head, *indented(body), result)


def _empty(sequence: Sequence, output: Output, variables: Sizes) -> str:
    """The sizes of an output over no tokens."""
    axes = (variable for axis, variable in zip(sequence.model.axes, variables.axes, strict=True) if axis not in output.joined)
    return ", ".join((variables.batch, "0", *axes)) + size_text(output.value.shape)
