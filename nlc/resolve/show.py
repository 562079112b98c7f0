"""Model -> text, for `nlc show --stage resolve`: the spec with every name bound, every shape and every default written out."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.dims import shape_text
from nlc.ir.model import Claim, ClosedForm, Component, EqualityClaim, GradientDescent, IllTyped, Model, Proximal, Trained
from nlc.ir.show import expression_text


def model_text(model: Model) -> str:
    """The whole model, one fact per line; ends with a newline."""
    return "\n".join(_lines(model)) + "\n"


def _lines(model: Model) -> Iterator[str]:
    yield f"{model.kind} {model.name}"
    if model.axes:
        yield f"  axes {', '.join(model.axes)}"
    for dim in model.dims:
        yield f"  dim {dim.name} = {dim.default}" + (f"  ({dim.definition})" if dim.definition else "")
    for stream in model.inputs:
        bounds = f" in [{stream.low}, {stream.high}]" if stream.low is not None else ""
        axes = f" per {', '.join(stream.axes)}" if stream.axes else ""
        yield f"  input {stream.name}: {shape_text(stream.shape)}{bounds} every {stream.every}{axes}"
    for item in model.hyperparameters:
        yield f"  hyperparameter {item.name} = {item.default}"
    for component in model.components:
        yield from _component(component)
    for output in model.outputs:
        yield f"  output {output.name}: {shape_text(output.value.shape)} = {expression_text(output.value)}"
    for claim in model.claims:
        yield f"  claim {_claim(claim)}"


def _component(component: Component) -> Iterator[str]:
    shapes = ", ".join(f"{state.part or 'state'} {shape_text(state.shape)}" for state in component.states)
    yield f"  component {component.name}: {component.memory}, {shapes}, every {component.every}"
    yield f"    objective   {expression_text(component.objective)}"
    if component.has_inlined_optimizer:
        yield f"    follows     {expression_text(component.follows)}  (inlined optimizer {component.optimizer_name})"
    for retention in component.retention:
        yield f"    retention   {expression_text(retention)}"
    if component.retention:
        yield f"    gradient at {component.gradient_at.value}"
    match component.optimizer:
        case ClosedForm():
            yield "    optimizer   closed_form"
        case Trained():
            yield "    optimizer   the training loop's"
        case GradientDescent(rate):
            yield f"    optimizer   gradient_descent({expression_text(rate)})"
        case Proximal(rate):
            yield f"    optimizer   proximal({expression_text(rate)})"


def _claim(claim: Claim) -> str:
    text = claim.text
    if isinstance(claim, EqualityClaim):
        text = "ill-typed" if isinstance(claim.sides, IllTyped) else " == ".join(expression_text(side) for side in claim.sides)
    return f"{claim.says!r} expects {claim.expect}: {text}"
