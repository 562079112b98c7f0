"""What outlasts a sequence -> the body of `next_sequence`: levels moved, and what is reset with the sequence back at its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes

from nlc.emit.layout import Lines, assignment, block, call, indented
from nlc.emit.names import LocalNames
from nlc.emit.parameters import read_used
from nlc.emit.recents import older_at_the_end
from nlc.emit.scope import Sequence, indices, previous, printer_of
from nlc.emit.steps import law_lines
from nlc.ir.algebra import Expr, State, When
from nlc.ir.law import POSITION, Beginning


def next_sequence_method(sequence: Sequence) -> Lines:
    """The whole method, without the indentation of its class; nothing when every sequence begins with the initial state."""
    if not sequence.program.laws.beginnings:
        return ()
    kind = sequence.state_type
    return (
        *call("def next_sequence", ["self", f"state: {kind}"], f" -> {kind}:", 4),
        '    """The state with which the next sequence begins: levels that outlast a sequence moved or kept, the rest at its start."""',
        *indented(_body(sequence)),
    )


def _body(sequence: Sequence) -> Lines:
    laws, names = sequence.program.laws, LocalNames(("self", "state"))
    first = next(slot for slot in sequence.program.slots if not slot.counts)
    carried = sequence.carried("state", first.component, first.part)
    sequence = with_changes(sequence, like_text=carried)
    ended = previous(sequence, "state")
    values = ended | older_at_the_end(sequence, "state")
    evaluated = laws.values_between
    lines = read_used(sequence, evaluated, f"{carried}.dtype", names, values)
    lines += indices(sequence, names, carried, values, evaluated)
    given = dict(values)
    for law in laws.endings:
        lines += law_lines(sequence, law, names, values)
    begun: dict[Expr, str] = {node: text for node, text in given.items() if not isinstance(node, State)}
    for node, text in (*ended.items(), *((node, text) for node, text in values.items() if node not in ended)):
        if isinstance(node, State):
            begun[with_changes(node, when=When.CURRENT)] = text
    lines += _begin(sequence, names, begun, ended)
    return (f"with _full_precision({carried}):", *indented(block(lines)))


def _begin(sequence: Sequence, names: LocalNames, begun: dict[Expr, str], ended: dict[Expr, str]) -> Iterator[Lines]:
    """A line for each start that takes more than a word, then the state; `begun` learns with what each level begins."""
    texts: dict[str, str] = {}
    for item in sequence.program.laws.beginnings:
        state = item.state
        slot = next(slot for slot in sequence.program.slots if (slot.component, slot.part) == (state.component, state.part))
        carried = sequence.carried("state", slot.component, slot.part)
        text = _start(sequence, item, begun, carried)
        if state.component != POSITION and not text.replace("_", "").isalnum() and not text.startswith(("torch.", "state")):
            local = names.new(".".join(filter(None, (state.component, state.part, "start"))))
            yield assignment(local, [text], 12)
            text = local
        begun[state] = texts[slot.name] = text
    if sequence.is_bare:
        yield (f"return {next(iter(texts.values()))}",)
        return
    yield ("return {", *(f'    "{slot.name}": {texts[slot.name]},' for slot in sequence.program.slots), "}")


def _start(sequence: Sequence, item: Beginning, begun: dict[Expr, str], carried: str) -> str:
    """What a tensor begins with, as large as what was carried."""
    printer = printer_of(sequence, begun)
    number = printer.number(item.value)
    if number == "0":
        return f"torch.zeros_like({carried})"
    if number is not None:
        return f"torch.full_like({carried}, {number})"
    if isinstance(item.value, State) or sequence.spans_axes(item.value):
        return printer.text(item.value)
    return f"({printer.text(item.value)}).expand_as({carried})"
