"""Older values of streams -> the lines that lay them before the stream, over a sequence or at one token, and what reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from nlc.emit.layout import Lines, assignment
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, define, printer_of
from nlc.ir.algebra import Expr, Input, walk
from nlc.ir.law import POSITION, PREVIOUS, Kept, used_definitions
from nlc.ir.program import Program
from nlc.ir.recents import Convolve, Delay, Recent, Shift

Ago = Callable[[str, Delay], str]
Convolved = Callable[[str, str], str]
"""How a delay and a convolution read the values that are laid out under a variable."""


def convolves(program: Program) -> bool:
    """Whether anything is convolved."""
    return any(isinstance(node, Convolve) for value in program.laws.values for node in walk(value))


def laid_out(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], start: str, leading: str, state: dict[str, str]
) -> Iterator[Lines]:
    """Every stream whose older values are read, with those before its first token in front; `values` learns who reads what of it.

    `state` learns what is carried on.
    """
    yield from _previous(sequence, names, values, start, leading, state)
    for item, recent in _recents(sequence):
        yield from define(sequence, names, values, within=recent.x)
        axes = 0 if item.is_whole else len(sequence.model.axes)
        whole = names.new(f"recent_{item.part}")
        before = sequence.carried(start, item.component, item.part)
        x = _value(sequence, item, recent, values, f".expand({leading}{', -1' * len(recent.x.shape)})")
        yield assignment(whole, [f"torch.cat(({before}{f'.movedim({1 + axes}, 1)' if axes else ''}, {x}), 1)"], 12)
        state[item.name] = f"{whole}[:, {sequence.like.name}.shape[1] :]{f'.movedim(1, {1 + axes})' if axes else ''}"
        yield from _readers(sequence, names, values, item, whole, _ago, lambda x, kernel: f"_convolved({x}, {kernel})")


def laid_out_at_a_token(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The same at one token: recent values and the newest one, in the dim before those of a value."""
    for item, recent in _recents(sequence):
        yield from define(sequence, names, values, parted=False, within=recent.x)
        rank = len(recent.x.shape)
        whole, own = names.new(f"recent_{item.part}"), ", :" * rank
        before = sequence.carried("state", item.component, item.part)
        x = _value(sequence, item, recent, values, f".expand_as({before}[..., 0{own}])", f".unsqueeze({-1 - rank})")
        yield assignment(whole, [f"torch.cat(({before}, {x}), {-1 - rank})"], 12)
        values[item.value] = f"{whole}[..., 1:{own}]"
        yield from _readers(sequence, names, values, item, whole, _ago_at_a_token, lambda x, kernel: f"({x} * {kernel}.flip(0)).sum(-2)")


def _ago(whole: str, node: Delay) -> str:
    (length, *_) = node.recent.shape
    first = length.size({}) - node.tokens
    return f"{whole}[:, {first or ''}:-{node.tokens}]"


def _ago_at_a_token(whole: str, node: Delay) -> str:
    return f"{whole}[..., -{node.tokens + 1}{', :' * len(node.shape)}]"


def _recents(sequence: Sequence) -> Iterator[tuple[Kept, Recent]]:
    for item in sequence.program.laws.kept:
        if isinstance(item.value, Shift):
            assert isinstance(item.value.recent, Recent)
            yield item, item.value.recent


def _value(sequence: Sequence, item: Kept, recent: Recent, values: dict[Expr, str], expanded: str, last: str = "") -> str:
    """The newest value, with the dims of what is carried, and what is called of it last."""
    printer = printer_of(sequence, values, is_bare=item.is_whole)
    expanded = "" if item.is_whole or sequence.spans_axes(recent.x) else expanded
    return f"{printer.atom(recent.x)}{expanded}{last}" if expanded or last else printer.text(recent.x)


def _readers(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], item: Kept, whole: str, ago: Ago, convolved: Convolved
) -> Iterator[Lines]:
    """How delays and convolutions read the values; a convolution that no abbreviation holds gets a variable of its own."""
    laws = sequence.program.laws
    said = [definition.value for definition in used_definitions(laws)]
    assert isinstance(item.value, Shift)
    for node in Counter(node for value in laws.values for node in walk(value)):
        match node:
            case Delay(recent) if recent == item.value.recent:
                values[node] = ago(whole, node)
            case Convolve(_, kernel, recent) if recent == item.value.recent:
                text = convolved(whole, printer_of(sequence, values).atom(kernel))
                if any(part == node for value in said for part in walk(value)):
                    values[node] = text
                else:
                    values[node] = names.new(f"convolved_{item.part}")
                    yield assignment(values[node], [text], 12)


def _previous(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], start: str, leading: str, state: dict[str, str]
) -> Iterator[Lines]:
    """The streams whose previous values are read, each with the value before its first token in front."""
    for item in sequence.program.laws.kept:
        if item.component == POSITION and not sequence.program.is_in_blocks:
            state[item.name] = f"{sequence.carried(start, POSITION, '')} + {sequence.like.name}.shape[1]"
        if item.component == PREVIOUS:
            shape = item.value.shape
            earlier, stream = names.new(f"earlier_{item.part}"), _whole(sequence, item.part, leading, len(shape))
            values[Input(item.part, shape, delayed=True)] = f"{earlier}[:, :-1]"
            first = f"{sequence.carried(start, PREVIOUS, item.part)}.unsqueeze(1)"
            state[item.name] = f"{earlier}[:, -1]"
            yield assignment(earlier, [f"torch.cat(({first}, {stream}), 1)"], 12)


def _whole(sequence: Sequence, name: str, leading: str, rank: int) -> str:
    """An input stream at every axis of the system."""
    own = next(stream.axes for stream in sequence.model.inputs if stream.name == name)
    return name if own == sequence.model.axes else f"{name}.expand({leading}{', -1' * rank})"
