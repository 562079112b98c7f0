"""Where the state of a program starts -> the bodies of `initial_state` and `_start`, and what they say."""

from __future__ import annotations

from nlc.emit.carried import check_lines
from nlc.emit.feed_forward import is_feed_forward
from nlc.emit.held import held_alike, started_held
from nlc.emit.layout import WIDTH, Lines, block, call
from nlc.emit.position import initial_text, is_number_known
from nlc.emit.scope import Sequence, size_text
from nlc.ir.program import StateSlot


def initial_says(sequence: Sequence) -> str:
    """What `initial_state` says that it gives."""
    if is_feed_forward(sequence):
        return "Nothing is carried from token to token."
    start = "The start" if has_start(sequence) else "Zeros"
    return f"{start} on the device of `like`, in its dtype or float32, whichever is wider."


def zeros(sequence: Sequence, leading: str) -> Lines:
    """The body of `initial_state`."""
    slots = sequence.program.slots
    if sequence.is_bare and is_number_known(slots[0].start):
        made, arguments = _filled(sequence, slots[0], "batch" if slots[0].is_whole else leading)
        return call(f"return {made}", [*arguments, "dtype=torch.promote_types(like.dtype, torch.float32)"], "", 8)
    if is_feed_forward(sequence):
        return ("return {}",)
    dtype = "dtype = torch.promote_types(like.dtype, torch.float32)"
    if sequence.is_bare:
        return (dtype, f"return {_begun(sequence, slots[0], leading)}")
    begun = {slot.name: _begun(sequence, slot, "batch" if slot.is_whole else leading) for slot in slots}
    if (alike := held_alike(sequence)) is not None:
        return (dtype, *block(list(started_held(sequence, begun, alike.part, WIDTH - 8))))
    return (dtype, "return {", *(f'    "{name}": {text},' for name, text in begun.items()), "}")


def _begun(sequence: Sequence, slot: StateSlot, leading: str) -> str:
    """What a slot starts from, in `dtype`."""
    if slot.counts:
        return "like.new_zeros((), dtype=torch.int64)"
    if slot.start is not None and not is_number_known(slot.start):
        text = initial_text(slot.start)
        return f"{text if ' ' not in text else f'({text})'}.to(dtype).expand({leading}{size_text(sequence, slot.shape)})"
    made, arguments = _filled(sequence, slot, leading)
    return f"{made}({', '.join(arguments)}, dtype=dtype)"


def has_start(sequence: Sequence) -> bool:
    """Whether something starts from more than zeros."""
    return any(slot.start is not None for slot in sequence.program.slots)


def _filled(sequence: Sequence, slot: StateSlot, leading: str) -> tuple[str, list[str]]:
    """The call that makes what a slot starts from when that is a number, and its arguments but the dtype."""
    size = f"{_with_tokens(slot, leading)}{size_text(sequence, slot.shape)}"
    start = initial_text(slot.start) if slot.start is not None else "0"
    return ("like.new_zeros", [size]) if start == "0" else ("like.new_full", [f"({size})" if ", " in size else f"({size},)", start])


def _with_tokens(slot: StateSlot, leading: str) -> str:
    """The leading sizes of a slot: of a window, with the tokens that are kept before the first."""
    if slot.window is None:
        return leading
    batch, *axes = leading.split(", ")
    return ", ".join((batch, "0" if slot.window == "all" else str(slot.window - 1), *axes))


def started(sequence: Sequence, leading: str) -> Lines:
    """The body of `_start`: the state that was given, or the initial one."""
    zeros = f"zeros = self.initial_state({leading}, like=like)"
    if sequence.is_bare:
        return (zeros, "return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))")
    item = "name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()"
    return (zeros, "if state is None:", "    return zeros", *check_lines(sequence), f"return {{{item}}}")
