"""Loops over a sequence: the bodies of `forward_by_token`, token after token, and of a `forward` in blocks."""

from __future__ import annotations

from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, Sizes, size_text, sizes
from nlc.ir.model import Output


def by_token_body(sequence: Sequence) -> Lines:
    """One call of `step` after the other."""
    return _loop(sequence, "step", "t", f"range({sequence.like.name}.shape[1])", ".unsqueeze(1)")


def by_block_body(sequence: Sequence) -> Lines:
    """One call of `_block` after the other; a block ends where a period may."""
    blocks = f"_blocks(state, {sequence.program.blocks.tokens}, {sequence.like.name}.shape[1])"
    return _loop(sequence, "_block", "tokens", blocks, "")


def _loop(sequence: Sequence, method: str, index: str, over: str, piece: str) -> Lines:
    """Outputs of every call of the method, `piece` what makes a stretch of time of one, joined along time."""
    names = LocalNames((*sequence.inputs, "state"))
    like, model, variables = sequence.like.name, sequence.model, sizes(sequence, names)
    outputs, t = names.new("outputs"), names.new(index)
    first: Lines = ()
    if " " in over and "state" in over:  # which is told by the state that was handed in
        blocks = names.new("blocks")
        first, over = (f"{blocks} = {over}",), blocks
    arguments = [*(f"{name}={name}[:, {t}]" for name in sequence.inputs), "state=state"]
    shapes = {item.name: _empty(sequence, item, variables) for item in model.outputs}
    if len(model.outputs) == 1:
        (output,) = model.outputs
        empty: Lines = (f"{outputs} = [{like}.new_empty({shapes[output.name]})]",)
        value = names.new(output.name)
        body: Lines = (*call(f"{value}, state = self.{method}", arguments, "", 12), f"{outputs}.append({value}{piece})")
        result = f"return torch.cat({outputs}, 1), state"
    else:
        items = [f'    "{name}": [{like}.new_empty({shape})],' for name, shape in shapes.items()]
        empty = (f"{outputs} = {{", *items, "}")
        now, name, value = names.new("now"), names.new("name"), names.new("value")
        appended = (f"for {name}, {value} in {now}.items():", f"    {outputs}[{name}].append({value}{piece})")
        body = (*call(f"{now}, state = self.{method}", arguments, "", 12), *appended)
        result = f"return {{{name}: torch.cat({value}, 1) for {name}, {value} in {outputs}.items()}}, state"
    start = f"state = self._start(state, {variables.leading}, {like})"
    return (*block(variables.lines), *first, start, *empty, f"for {t} in {over}:", *indented(body), result)


def _empty(sequence: Sequence, output: Output, variables: Sizes) -> str:
    """The sizes of an output over no tokens."""
    axes = (variable for axis, variable in zip(sequence.model.axes, variables.axes, strict=True) if axis not in output.joined)
    return ", ".join((variables.batch, "0", *axes)) + size_text(output.value.shape)
