"""Levels that learn from the task loss inside the context: a model in, a diagnostic out for each thing beside them that is not compiled."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Input, walk
from nlc.ir.model import Model

BESIDE = "beside levels that learn from the task loss inside the context"


def beside_told_levels(model: Model) -> Iterator[Diagnostic]:
    """What has a past of its own would bring the slope of a loss to tokens before the block: blocks alone are differentiated."""
    if not model.slopes:
        return
    for component in model.fast:
        if not model.learns_from_task(component.host or component.name):
            yield codes.not_compiled(component.span, component.name, f"a memory of its own {BESIDE}")
    for stream in model.given:
        if stream.is_of_sequence or stream.is_parted:
            yield codes.not_compiled(stream.span, stream.name, f"a clock other than `token` {BESIDE}")
    for output in model.outputs:
        if any(isinstance(node, Input) and node.delayed for node in walk(output.value)) or model.recents:
            yield codes.not_compiled(output.span, output.name, f"streams of earlier tokens {BESIDE}")
    if len(model.outputs) > 1:
        yield codes.not_compiled(model.outputs[1].span, model.outputs[1].name, f"a second output {BESIDE}")
