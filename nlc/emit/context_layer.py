"""The program of a layer whose levels learn from a model's loss -> its class: it is handed the slopes, and the model takes them.

The model differentiates its loss by the levels of all its layers at once, so a layer reads a block first, and learns from it later.
"""

from __future__ import annotations

from nlc.emit.context import laws_text, learning, names_lines
from nlc.emit.initial import initial_says, started, zeros
from nlc.emit.layout import Lines, block
from nlc.emit.network_views import LearningLayerView, LearningNetworkHelpersView
from nlc.emit.parameters import made_parameters, reset_parameters
from nlc.emit.prose import class_docstring
from nlc.emit.render import render
from nlc.emit.scope import Sequence, state_dtype
from nlc.emit.sequence import constructor, given_attributes, state_lines, stream_lines
from nlc.emit.views import HelpersView
from nlc.ir.program import Program


def context_layer_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helpers."""
    sequence = Sequence(program, is_alone=False)
    sequence.check_names()
    helpers = render(HelpersView())
    return render(_view(sequence)), helpers, render(LearningNetworkHelpersView())


def _view(sequence: Sequence) -> LearningLayerView:
    (stream,) = sequence.model.given
    return LearningLayerView(
        name=sequence.model.name,
        docstring=_docstring(sequence),
        constructor=constructor(sequence),
        attributes=(*given_attributes(sequence), *block(made_parameters(sequence))),
        reset_parameters=reset_parameters(sequence),
        initial_says=initial_says(sequence),
        zeros=zeros(sequence, "batch"),
        stream=stream.name,
        names=names_lines(sequence),
        begins=bool(sequence.program.laws.resets),
        dtype=state_dtype(sequence),
        constant=_constant(sequence),
        laws=laws_text(sequence),
        started=started(sequence, "batch"),
    )


def _docstring(sequence: Sequence) -> Lines:
    model = sequence.model
    (output,) = model.outputs
    dims = ", ".join(("batch", "time", *map(str, output.value.shape)))
    lines = (
        "Inputs, by keyword, in any float dtype:",
        *stream_lines(sequence),
        "State, kept in float32 or wider (a dict by name):",
        *state_lines(sequence),
        "Returns the outputs of a block of tokens, of which none ends a period but the last, and what it has read:",
        f"    {output.name}  ({dims})",
        "`learned` gives the state after the block, from the slopes of the loss.",
    )
    return class_docstring(model, "levels that learn from the loss of the model", lines)


def _constant(sequence: Sequence) -> Lines:
    """The line that keeps from being learned through what a spec does not have learned through."""
    through = tuple(learning(sequence).values())
    if all(through):
        return ()
    if not any(through):
        return ("told = [slope.detach() for slope in told]",)
    places = ", ".join(str(place) for place, is_learned_through in enumerate(through) if not is_learned_through)
    return (f"told = [slope.detach() if place in ({places},) else slope for place, slope in enumerate(told)]",)
