"""Where this version derives no delays and convolutions: checks as in `refusals`."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Input, walk
from nlc.ir.endings import at_the_end
from nlc.ir.model import Family, Model
from nlc.ir.recents import Convolve, Recent


def older_values(model: Model) -> Iterator[Diagnostic]:
    """Where delays and convolutions cannot stand."""
    parts = {stream.name for stream in model.inputs if stream.is_parted}
    for item in model.recents:
        if any(isinstance(node, Input) and node.delayed and node.name in parts for node in walk(item.recent.x)):
            what = "`delay` or `convolve` of `prev` of a stream of several values a token"
            yield codes.not_compiled(item.recent.span, model.name, what)
    for component in (component for component in model.fast if component.every.family is Family.SEQUENCE):
        for node in (node for value in at_the_end(component) for node in walk(value)):
            if isinstance(node, Convolve) and isinstance(node.recent, Recent):
                yield codes.not_compiled(node.recent.span, component.name, "`convolve` where a sequence has ended")
