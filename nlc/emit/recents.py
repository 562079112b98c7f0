"""Older values of streams -> the lines that lay them before the stream, over a sequence or at one token, and what reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from nlc.emit.layout import Lines, assignment
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, define, input_values, printer_of
from nlc.ir.algebra import Expr, Input, walk
from nlc.ir.law import POSITION, PREVIOUS, Kept, used_definitions
from nlc.ir.program import Program
from nlc.ir.recents import Convolve, Delay, Recent, Shift


def convolves(program: Program) -> bool:
    """Whether anything is convolved."""
    return any(isinstance(node, Convolve) for value in program.laws.values for node in walk(value))


def laid_out(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], start: str, leading: str, state: dict[str, str]
) -> Iterator[Lines]:
    """Every stream whose older values are read, with those before its first token in front; `values` learns who reads what of it.

    `state` learns what is carried on. In a system of several updates a token there is a value for each update.
    """
    yield from _previous(sequence, names, values, start, leading, state)
    for item, recent in _recents(sequence):
        yield from define(sequence, names, values, within=recent.x)
        axes = 0 if item.is_whole else len(sequence.model.axes)
        whole, repeats = names.new(f"recent_{item.part}"), _repeats(sequence, recent.x)
        before = sequence.carried(start, item.component, item.part)
        before += f".movedim({1 + axes}, 1)" if axes else ""
        before += f".repeat_interleave({repeats}, 1)" if repeats > 1 else ""
        x = _value(sequence, item, recent, values, f".expand({leading}{', -1' * len(recent.x.shape)})")
        yield assignment(whole, [f"torch.cat(({before}, {x}), 1)"], 12)
        kept = f"{sequence.like.name}.shape[1] :{f': {repeats}' if repeats > 1 else ''}"
        state[item.name] = f"{whole}[:, {kept}]{f'.movedim(1, {1 + axes})' if axes else ''}"
        readers = Readers(_ago, _convolved, sequence.model.updates_per_tick)
        yield from readers.lines(sequence, names, values, item, whole, sequence.program.laws.values)


def laid_out_at_a_token(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The same at one token: recent values and the newest one, in the dim before those of a value.

    Of a stream of several values a token the newest ones are those of its parts, and what is read is that of the last.
    """
    for item, recent in _recents(sequence):
        yield from define(sequence, names, values, parted=False, within=recent.x)
        rank, parts = len(recent.x.shape), sequence.model.values_per_tick(recent.x)
        whole, own = names.new(f"recent_{item.part}"), ", :" * rank
        before = sequence.carried("state", item.component, item.part)
        if parts > 1:
            x = _parts(sequence, item, recent, values, f".expand_as({before}[..., 0{own}])")
        else:
            x = _value(sequence, item, recent, values, f".expand_as({before}[..., 0{own}])", f".unsqueeze({-1 - rank})")
        yield assignment(whole, [f"torch.cat(({before}, {x}), {-1 - rank})"], 12)
        values[item.value], values[recent] = f"{whole}[..., {parts}:{own}]", whole
        readers = Readers(_ago_at_a_token, _convolved_at_a_token, parts, str(parts - 1))
        read = _read_once(sequence) if parts > 1 else sequence.program.laws.values
        yield from readers.lines(sequence, names, values, item, whole, read)


def read_at_a_part(sequence: Sequence, names: LocalNames, values: dict[Expr, str], part: str, read: Collection[Expr]) -> Iterator[Lines]:
    """What expressions read of older values at one part of a token, of streams that have a value for each; `values` learns it."""
    for item, recent in _recents(sequence):
        if (parts := sequence.model.values_per_tick(recent.x)) > 1:
            readers = Readers(_ago_at_a_token, _convolved_at_a_token, parts, part)
            yield from readers.lines(sequence, names, values, item, values[recent], read)


def older_at_the_end(sequence: Sequence, variable: str) -> dict[Expr, str]:
    """What is read of older values where a sequence has ended, in the state `variable`: the newest of them are those of its last token."""
    values: dict[Expr, str] = {}
    for item, recent in _recents(sequence):
        before, parts = sequence.carried(variable, item.component, item.part), sequence.model.values_per_tick(recent.x)
        for node in (node for value in sequence.program.laws.values_between for node in walk(value)):
            if isinstance(node, Delay) and node.recent == recent:
                values[node] = f"{before}[..., {-1 - (node.tokens - 1) * parts}{', :' * len(node.shape)}]"
    return values


@dataclass(frozen=True, slots=True)
class Readers:
    """How delays and convolutions read values that are laid out, `parts` for each token, at one `part` of it or at all."""

    ago: Callable[[str, Delay, int, str], str]
    convolved: Callable[[str, str, int, str], str]
    parts: int
    part: str = ""

    def lines(
        self, sequence: Sequence, names: LocalNames, values: dict[Expr, str], item: Kept, whole: str, read: Iterable[Expr]
    ) -> Iterator[Lines]:
        """`values` learns what expressions read; a convolution that no abbreviation holds gets a variable of its own."""
        said = [definition.value for definition in used_definitions(sequence.program.laws)]
        assert isinstance(item.value, Shift)
        for node in Counter(node for value in read for node in walk(value)):
            match node:
                case Delay(recent) if recent == item.value.recent:
                    values[node] = self.ago(whole, node, self.parts, self.part)
                case Convolve(_, kernel, recent) if recent == item.value.recent:
                    text = self.convolved(whole, printer_of(sequence, values).atom(kernel), self.parts, self.part)
                    if any(part == node for value in said for part in walk(value)):
                        values[node] = text
                    else:
                        values[node] = names.new(f"convolved_{item.part}")
                        yield assignment(values[node], [text], 12)


def _ago(whole: str, node: Delay, parts: int, part: str) -> str:
    (length, *_) = node.recent.shape
    first = (length.size({}) - node.tokens) * parts
    return f"{whole}[:, {first or ''}:-{node.tokens * parts}]"


def _ago_at_a_token(whole: str, node: Delay, parts: int, part: str) -> str:
    back = (node.tokens + 1) * parts
    place = str(int(part) - back) if part.isdigit() else f"{part} - {back}"
    return f"{whole}[..., {place}{', :' * len(node.shape)}]"


def _convolved(whole: str, kernel: str, parts: int, part: str) -> str:
    return f"_convolved({whole}.unflatten(1, (-1, {parts})), {kernel}).flatten(1, 2)" if parts > 1 else f"_convolved({whole}, {kernel})"


def _convolved_at_a_token(whole: str, kernel: str, parts: int, part: str) -> str:
    x = f"{whole}[..., {part}::{parts}, :]" if parts > 1 else whole
    return f"({x} * {kernel}.flip(0)).sum(-2)"


def _recents(sequence: Sequence) -> Iterator[tuple[Kept, Recent]]:
    for item in sequence.program.laws.kept:
        if isinstance(item.value, Shift):
            assert isinstance(item.value.recent, Recent)
            yield item, item.value.recent


def _read_once(sequence: Sequence) -> Iterator[Expr]:
    """The expressions that are evaluated once a token, in a system of several updates a token."""
    laws = sequence.program.laws
    yield from (equation.value for law in laws.laws if not sequence.is_parted(law) for equation in law.equations)
    yield from (equation.value for equation in laws.outputs)
    yield from (item.value for item in laws.kept)
    yield from (item.value for item in laws.resets if not sequence.model.is_parted(item.state.component))


def _repeats(sequence: Sequence, x: Expr) -> int:
    """For how many updates a value stays the same."""
    return sequence.model.updates_per_tick // sequence.model.values_per_tick(x)


def _value(sequence: Sequence, item: Kept, recent: Recent, values: dict[Expr, str], expanded: str, last: str = "") -> str:
    """The newest value, with the dims of what is carried, and what is called of it last."""
    printer = printer_of(sequence, values, is_bare=item.is_whole)
    expanded = "" if item.is_whole or sequence.spans_axes(recent.x) else expanded
    return f"{printer.atom(recent.x)}{expanded}{last}" if expanded or last else printer.text(recent.x)


def _parts(sequence: Sequence, item: Kept, recent: Recent, values: dict[Expr, str], expanded: str) -> str:
    """The newest values, one for each part of the token, in the dim before those of a value."""
    rank = len(recent.x.shape)
    if isinstance(recent.x, Input) and (item.is_whole or sequence.spans_axes(recent.x)):
        return f"{recent.x.name}.movedim(1, {-1 - rank})"
    part = LocalNames((*sequence.inputs, "state")).new("part")
    inside = {node: text for node, text in values.items() if sequence.model.values_per_tick(node) == 1} | input_values(sequence, part=part)
    text = _value(sequence, item, recent, inside, expanded)
    return f"torch.stack([{text} for {part} in range({sequence.model.updates_per_tick})], {-1 - rank})"


def _previous(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], start: str, leading: str, state: dict[str, str]
) -> Iterator[Lines]:
    """The streams whose previous values are read, each with the value before its first token in front."""
    for item in sequence.program.laws.kept:
        if item.component == POSITION and not sequence.program.is_in_blocks:
            state[item.name] = f"{sequence.carried(start, POSITION, '')} + {sequence.like.name}.shape[1]"
        if item.component == PREVIOUS:
            shape, repeats = item.value.shape, _repeats(sequence, item.value)
            earlier = names.new(f"earlier_{item.part}")
            stream = item.part if item.is_whole else _along_axes(sequence, item.part, leading, len(shape))
            values[Input(item.part, shape, delayed=True)] = f"{earlier}[:, :-{repeats}]"
            first = f"{sequence.carried(start, PREVIOUS, item.part)}.unsqueeze(1)"
            first += f".repeat_interleave({repeats}, 1)" if repeats > 1 else ""
            state[item.name] = f"{earlier}[:, -1]"
            yield assignment(earlier, [f"torch.cat(({first}, {stream}), 1)"], 12)


def _along_axes(sequence: Sequence, name: str, leading: str, rank: int) -> str:
    """An input stream at every axis of the system."""
    own = next(stream.axes for stream in sequence.model.inputs if stream.name == name)
    return name if own == sequence.model.axes else f"{name}.expand({leading}{', -1' * rank})"
