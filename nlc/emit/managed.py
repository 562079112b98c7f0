"""What a sequence module does beside its laws, where it was made so: recomputing in the backward, and watching for what is not finite."""

from __future__ import annotations

from nlc.emit.layout import WIDTH, Lines, call, indented
from nlc.emit.render import render
from nlc.emit.scope import Sequence
from nlc.emit.views import ManagedView


def is_managed(sequence: Sequence) -> bool:
    """Whether its `forward` may be: of a module by itself that has a state, and is told no slopes of a loss."""
    return sequence.is_alone and bool(sequence.program.slots) and not sequence.model.slopes


def skips(sequence: Sequence) -> bool:
    """Whether a token can be as though it had not been: where nothing counts tokens, and no window of data goes on."""
    return not any(slot.counts or slot.window is not None for slot in sequence.program.slots)


def managed_arguments(sequence: Sequence) -> tuple[str, ...]:
    """The arguments of the constructor."""
    return ('nonfinite: str = "propagate"', "checkpoint: int | None = None") if is_managed(sequence) else ()


def managed_attributes(sequence: Sequence) -> Lines:
    """The lines of the constructor that keep them."""
    if not is_managed(sequence):
        return ()
    words = [f'"{word}"' for word in ("raise", "skip", "propagate") if word != "skip" or skips(sequence)]
    return (
        f"if nonfinite not in ({', '.join(words)}):",
        f"    raise ValueError(f'nonfinite must be {', '.join(words[:-1])} or {words[-1]}, not {{nonfinite!r}}')",
        "if checkpoint is not None and checkpoint < 1:",
        '    raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")',
        "self.nonfinite = nonfinite",
        "self.checkpoint = checkpoint",
    )


def managed_says(sequence: Sequence) -> Lines:
    """What the module's docstring says of them."""
    if not is_managed(sequence):
        return ()
    words = (
        '"raise", "skip" (its row of the batch) or "propagate"'
        if skips(sequence)
        else '"raise" or "propagate" (no "skip": tokens are counted or kept)'
    )
    return (
        f"`nonfinite` says what to do at a token with numbers that are not finite: {words}.",
        "`checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.",
    )


def managed_forward(sequence: Sequence) -> Lines:
    """The lines with which `forward` hands over to them."""
    if not is_managed(sequence):
        return ()
    pairs = [f'"{name}": {name}' for name in sequence.inputs]
    handed = call("return _managed", ["self", f"{{{', '.join(pairs)}}}", "state"], "", 12)
    if any(12 + len(line) > WIDTH for line in handed):
        streams = ("    {", *(f"        {pair}," for pair in pairs), "    },")
        handed = ("return _managed(", "    self,", *streams, "    state,", ")")
    return ('if self.checkpoint is not None or self.nonfinite != "propagate":', *indented(handed))


def managed_helpers(sequence: Sequence) -> tuple[str, ...]:
    """The functions that do so."""
    if not is_managed(sequence):
        return ()
    outputs, level = sequence.model.outputs, sequence.program.slots[0].name
    is_one = len(outputs) == 1
    view = ManagedView(
        managed=_signature(sequence, "_managed"),
        in_pieces=_signature(sequence, "_in_pieces", "tokens: int"),
        watched=_signature(sequence, "_watched", "policy: str"),
        made=", ".join(("outputs" if is_one else "*outputs.values()", "last" if sequence.is_bare else "*last.values()")),
        seen=", ".join(
            (f'"{outputs[0].name}": outputs' if is_one else "**outputs", f'"{level}": after' if sequence.is_bare else "**after")
        ),
        like=_like(sequence),
        piece=_split(sequence),
        token=_cut(sequence, "t : t + 1"),
        nothing=_cut(sequence, ":0"),
        joined="torch.cat(pieces, 1)" if is_one else "{name: torch.cat([piece[name] for piece in pieces], 1) for name in pieces[0]}",
        without="_chosen(lost, outputs)" if is_one else "{name: _chosen(lost, x) for name, x in outputs.items()}",
        kept=("_chosen(lost, after, last)" if sequence.is_bare else "{name: _chosen(lost, x, last[name]) for name, x in after.items()}"),
        skips=skips(sequence),
    )
    return (render(view),)


def _signature(sequence: Sequence, name: str, *further: str) -> Lines:
    arguments = ["module: Any", "streams: dict[str, Tensor]", f"state: {sequence.state_type} | None", *further]
    return call(f"def {name}", arguments, f" -> tuple[{sequence.output_type}, {sequence.state_type}]:", 0)


def _split(sequence: Sequence) -> str:
    """Every stream in pieces of so many tokens, all at once: its gradient is put together once."""
    whole = _whole(sequence)
    split = "torch.split(x, tokens, 1)"
    if not whole:
        return f"{split} for x in streams.values()"
    count = f"-(-{_like(sequence)}.shape[1] // tokens) or 1"
    return f"[x] * ({count}) if {whole} else {split} for name, x in streams.items()"


def _whole(sequence: Sequence) -> str:
    """Whether a stream has one value for a whole sequence, as code; empty where none has."""
    names = [f'"{stream.name}"' for stream in sequence.model.inputs if stream.is_of_sequence]
    if len(names) < 2:
        return f"name == {names[0]}" if names else ""
    return f"name in ({', '.join(names)})"


def _like(sequence: Sequence) -> str:
    return f'streams["{sequence.like.name}"]'


def _cut(sequence: Sequence, tokens: str) -> str:
    """The streams at some tokens; those of one value for each sequence are whole."""
    whole, cut = _whole(sequence), f"x[:, {tokens}]"
    return f"{{name: {f'x if {whole} else {cut}' if whole else cut} for name, x in streams.items()}}"
