"""A program in blocks -> the body of `forward`: what all tokens get at once, then block after block, then the outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nlc.emit.forward import Tokens, leading_text, output_lines
from nlc.emit.hoisting import Given, Hoisted, index_names, is_split_parameter
from nlc.emit.layout import WIDTH, Lines, assignment, block, call, comprehension, indented, packed
from nlc.emit.names import LocalNames
from nlc.emit.parameters import read_used
from nlc.emit.position import before_name
from nlc.emit.recents import laid_out
from nlc.emit.render import render
from nlc.emit.scope import (
    Sequence,
    Sizes,
    converted,
    indices,
    input_values,
    printer_of,
    size_text,
    sizes,
    used_axes,
)
from nlc.emit.views import BlockHelpersView
from nlc.ir.algebra import Expr, Index, Input, Named, walk
from nlc.ir.law import POSITION, RECENT, used_definitions


def block_loop_body(sequence: Sequence, parts: Hoisted) -> Lines:
    """The body of `forward`."""
    names = LocalNames((*sequence.inputs, "state", *(item.name for item in parts.given)))
    variables = sizes(sequence, names)
    loop = BlockLoop(sequence, parts, names, variables)
    lines = block(list(loop.lines()))
    return (*block(variables.lines), f"with _full_precision({sequence.like.name}):", *indented(lines))


@dataclass(frozen=True, slots=True)
class BlockLoop:
    """The `forward` in the making; `values` are the variables of what is known of all tokens, (batch, time, *axes, *shape)."""

    sequence: Sequence
    parts: Hoisted
    names: LocalNames
    variables: Sizes
    values: dict[Expr, str] = field(default_factory=dict)

    def lines(self) -> Iterator[Lines]:
        """Statement by statement."""
        sequence, names, like = self.sequence, self.names, self.sequence.like.name
        dtype, before, moved = names.new("dtype"), names.new(before_name(sequence)), names.new("moved")
        position = sequence.carried("state", POSITION, "")
        yield (f"{dtype} = {like}.dtype",)
        yield (f"{before} = 0 if state is None or {position}.is_meta else int({position})",)
        yield (f"state = self._start(state, {self.variables.leading}, {like})",)
        kept: dict[str, str] = {}
        yield from self._known(kept)
        yield from self._given()
        yield from self._blocks(before, moved)
        yield from self._outputs()
        yield from self._state(moved, position, kept)
        outputs = {name: f"{self.values[Named(name, value.shape)]}.to({dtype})" for name, value in sequence.program.outputs}
        text = next(iter(outputs.values()))
        if len(outputs) > 1:
            text = "{" + ", ".join(f'"{name}": {value}' for name, value in outputs.items()) + "}"
        yield (f"return {text}, state",)

    def _known(self, kept: dict[str, str]) -> Iterator[Lines]:
        """Inputs, parameters, indices, previous inputs and abbreviations; `kept` learns the last values of inputs."""
        sequence, names, values = self.sequence, self.names, self.values
        first = next(slot for slot in sequence.program.slots if not slot.counts)
        carried = sequence.carried("state", first.component, first.part)
        expressions = self._expressions
        yield from converted(sequence, f"{carried}.dtype", time=True)
        values.update(input_values(sequence))
        yield from read_used(sequence, expressions, f"{carried}.dtype", names, values)
        in_block = tuple(Index(axis) for axis in used_axes(sequence))
        yield from indices(sequence, names, carried, values, (*expressions, *in_block))
        yield from laid_out(sequence, names, values, "state", leading_text(sequence, self.variables), kept)
        yield from define_used(sequence, names, values, expressions, {item.value: item.name for item in self.parts.given})

    @property
    def _expressions(self) -> tuple[Expr, ...]:
        """What is computed outside of blocks."""
        return (*(item.value for item in self.parts.given), *(value for _, value in self.parts.outputs))

    def _given(self) -> Iterator[Lines]:
        """The values that a block gets as streams, a line each."""
        for item in self.parts.given:
            if not isinstance(item.value, Input) and item.value not in self.values:
                terms = printer_of(self.sequence, self.values, is_bare=self.sequence.is_whole(item.value)).terms(item.value)
                self.values[item.value] = item.name
                yield assignment(item.name, terms, 12)

    # --- block after block ---------------------------------------------------------------------------------------------

    def _blocks(self, before: str, moved: str) -> Iterator[Lines]:
        """All copies in one dim, cut where a period may end."""
        names, like, blocks_ = self.names, self.sequence.like.name, self.sequence.program.blocks
        timed = [self._copies(item) for item in self.parts.given if item.timed]
        steady = [f"{item.name}={self._copies(item)}{self._together}" for item in self.parts.given if not item.timed]
        streams, lengths, blocks, given = (names.new(word) for word in ("streams", "lengths", "blocks", "given"))
        yield call(f"{streams} = ", timed if len(timed) > 1 else [f"{timed[0]},"], "", 12)
        cut = f"{blocks_.tokens}, {blocks_.alone}" if blocks_.alone else f"{blocks_.tokens}"
        yield (f"{lengths} = _block_lengths({before}, {cut}, {like}.shape[1])",)
        yield (f"{blocks} = zip(*(torch.split(x{self._together}, {lengths}, 1) for x in {streams}), strict=True)",)
        if self._windows:
            windows = names.new("windows")
            yield packed(windows, [f'"{name}"' for name in self._windows], 12)
            yield (f"{moved} = state | {self._with_tokens('state', f'1, {1 + len(self.sequence.model.axes)}')}",)
        yield self._moved(moved)
        columns = [names.new(f"{name}_in_blocks") for name, _ in self.parts.results]
        copies = " * ".join((self.variables.batch, *self.variables.axes))
        for column, (_, value) in zip(columns, self.parts.results, strict=True):
            yield (f"{column} = [{like}.new_empty({copies}, 0{size_text(self.sequence, value.shape)})]",)
        values = [names.new(name) for name, _ in self.parts.results]
        arguments = [f"*{given}", *steady, *self._indices(), f"state={moved}", f"{before_name(self.sequence)}={before}"]
        inside: list[Lines] = [
            call(f"{', '.join((*values, moved))} = self._block", arguments, "", 16),
            (f"{before} = {before} + {given}[0].shape[1]",),
            *((f"{column}.append({value})",) for column, value in zip(columns, values, strict=True)),
        ]
        yield (f"for {given} in {blocks}:", *indented(block(inside)))
        for column, local, (name, of) in zip(columns, values, self.parts.results, strict=True):
            self.values[Named(name, of.shape)] = local
            yield (f"{local} = {self._apart(f'torch.cat({column}, 1)', time=True)}",)

    def _copies(self, item: Given) -> str:
        """A value with all axes: (batch, time, *axes, *shape)."""
        text = printer_of(self.sequence, self.values).atom(item.value)
        if is_split_parameter(item.value):
            return f"{text}.expand({', '.join((self.variables.batch, '1', *self.variables.axes, *['-1'] * len(item.value.shape)))})"
        if not self.sequence.model.axes or self.sequence.spans_axes(item.value):
            return text
        return f"{text}.expand({', '.join((self.variables.batch, '-1', *self.variables.axes, *['-1'] * len(item.value.shape)))})"

    @property
    def _together(self) -> str:
        """What makes one dim of copies out of batch and axes, before that of time."""
        count = len(self.sequence.model.axes)
        return f".movedim(1, {1 + count}).flatten(0, {count})" if count else ""

    def _indices(self) -> Iterator[str]:
        """The indices of all copies."""
        for axis, name in zip(used_axes(self.sequence), index_names(self.sequence), strict=True):
            yield f"{name}={self.values[Index(axis)]}.expand({self.variables.leading}).flatten()"

    def _moved(self, moved: str) -> Lines:
        """The states as a block takes them: all copies in one dim."""
        count = len(self.sequence.model.axes)
        if not count:
            return (f"{moved} = state",)
        outside = [item.name for item in self.sequence.program.laws.kept if item.component in (POSITION, RECENT) or item.is_whole]
        known = ", ".join(f'"{name}"' for name in outside)
        others = f"!= {known}" if len(outside) == 1 else f"not in {{{known}}}"
        of = moved if self._windows else "state"
        return comprehension(f"{moved} = ", [f"name: x.flatten(0, {count})", f"for name, x in {of}.items()", f"if name {others}"], 12)

    @staticmethod
    def _with_tokens(states: str, dims: str) -> str:
        """The data of windows, their dim for tokens moved."""
        return f"{{name: {states}[name].movedim({dims}) for name in windows}}"

    @property
    def _windows(self) -> tuple[str, ...]:
        """The carried data of windows, which have a dim for tokens before those of axes."""
        return tuple(slot.name for slot in self.sequence.program.slots if slot.window is not None and self.sequence.model.axes)

    def _apart(self, text: str, *, time: bool) -> str:
        """What has one dim for all copies, with a dim for each axis again."""
        count = len(self.sequence.model.axes)
        if not count:
            return text
        return f"torch.unflatten({text}, 0, ({self.variables.leading}))" + (f".movedim({1 + count}, 1)" if time else "")

    # --- after the last block ------------------------------------------------------------------------------------------

    def _outputs(self) -> Iterator[Lines]:
        """What the outputs make of the results."""
        outputs = {name: self.values.get(Named(name, value.shape)) or self.names.new(name) for name, value in self.parts.outputs}
        printer = printer_of(self.sequence, self.values)
        leading = leading_text(self.sequence, self.variables)
        tokens = Tokens(self.names, self.values, leading, printer, printer, self.sequence.spans_axes)
        yield from output_lines(self.sequence, tokens, self.parts.outputs, outputs)
        self.values.update({Named(name, value.shape): outputs[name] for name, value in self.sequence.program.outputs})

    def _state(self, moved: str, position: str, kept: dict[str, str]) -> Iterator[Lines]:
        """The state after the last token."""
        like = self.sequence.like.name
        items = [f'"{name}": {text}' for name, text in {POSITION: f"{position} + {like}.shape[1]", **kept}.items()]
        last = self.names.new("last")
        line = f"{last} = {{{', '.join(items)}}}"
        yield (line,) if len(line) <= WIDTH - 12 else (f"{last} = {{", *(f"    {item}," for item in items), "}")
        whole = f"{{name: {self._apart('x', time=False)} for name, x in {moved}.items()}}" if self.sequence.model.axes else moved
        if self._windows:
            yield (f"state = {whole}",)
            whole = f"state | {self._with_tokens('state', f'{1 + len(self.sequence.model.axes)}, 1')}"
        yield (f"state = {whole} | {last}",)


def define_used(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], expressions: Iterable[Expr], named: Mapping[Expr, str]
) -> Iterator[Lines]:
    """The abbreviations that some expressions use, a line each; those in `named` have their variables already."""
    used = {part for value in expressions for part in walk(value)}
    for equation in used_definitions(sequence.program.laws):
        if equation.value in used:
            printer = printer_of(sequence, values, is_bare=sequence.is_whole(equation.value))
            number = printer.number(equation.value)
            terms = printer.terms(equation.value) if number is None else (number,)
            values[equation.value] = named.get(equation.value) or names.new(equation.name)
            yield assignment(values[equation.value], terms, 12)


def block_helpers(method: str, *, is_first_alone: bool = False) -> str:
    """The functions that a sequence in blocks calls."""
    return render(BlockHelpersView("_moved_at_end(" in method, is_first_alone))
