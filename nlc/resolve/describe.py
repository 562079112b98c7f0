"""Model -> its components in the words of Definition 1, for `nlc explain`: what each maps, what it is fitted to, how and when it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as renamed

from nlc.ir.algebra import Expr, Gradient, Named, State, Task, WindowSum, is_number, walk
from nlc.ir.build import replace
from nlc.ir.dims import shape_text
from nlc.ir.model import ClosedForm, Component, Family, GradientDescent, GradientPoint, Model, Proximal
from nlc.ir.show import expression_text, uncounted
from nlc.ir.windows import window_text

WIDTH = 8
"""Of the words that begin a line."""


def memories_text(model: Model) -> str:
    """A paragraph for each component, in the order of the spec; those of whom the same is said share one. Ends without a newline."""
    paragraphs: dict[str, list[str]] = {}
    for component in model.components:
        paragraphs.setdefault(_paragraph(model, component), []).append(component.name)
    return "\n".join(f"{', '.join(names)}: {text}" for text, names in paragraphs.items())


def _paragraph(model: Model, component: Component) -> str:
    facts = {
        "fits": _fits(model, component),
        "keeps": _keeps(model, component),
        "moves": _moves(model, component),
        "starts": _starts(model, component),
    }
    return "\n".join((", ".join(_kind(model, component)), *(f"    {word:<{WIDTH}}{fact}" for word, fact in facts.items() if fact)))


def _text(model: Model, component: Component, node: Expr) -> str:
    """An expression with its abbreviations; a level of an optimizer has it in the words of the optimizer's own spec."""
    host = component.host
    names: dict[Expr, Expr] = {item.value: Named(item.name, item.value.shape) for item in model.abbreviations}

    def change(part: Expr) -> Expr | None:
        match part:
            case Gradient(name) if name == host:
                return Named("gradient", part.shape)
            case State(name) if host is not None and (name == host or name.startswith(f"{host}.")):
                return renamed(part, component="weights" if name == host else name.removeprefix(f"{host}."))
        return names.get(part)

    return expression_text(replace(uncounted(node), change))


def _kind(model: Model, component: Component) -> Iterator[str]:
    """What the memory is, and what it maps to what."""
    parts = [f"{state.part + ' ' if state.part else ''}{shape_text(state.shape)}" for state in component.states]
    yield " and ".join(dict.fromkeys(parts))
    if component.key is not None and component.value is not None:
        yield f"from keys {_text(model, component, component.key)} to values {_text(model, component, component.value)}"
    elif component.key is not None:
        yield f"from keys {_text(model, component, component.key)}"
    elif any(isinstance(node, Gradient) for node in walk(component.objective)):
        yield "a memory of gradients, without values"


def _fits(model: Model, component: Component) -> str:
    if isinstance(component.objective, Task):
        return "the loss that is handed in from outside"
    if model.learns_from_task(component.name):
        return f"the loss that is handed in from outside, {_reduced(component)} over the tokens since its last update"
    text = _text(model, component, component.objective)
    if component.window is not None and isinstance(component.objective, WindowSum):
        text = _text(model, component, component.objective.x)
    if component.window is not None:
        return f"{text}, over {window_text(component.window, component.segment)}"
    if component.every.is_fast and component.every.period > 1:
        return f"{text}, {_reduced(component)} over the data since its last update"
    return text


def _reduced(component: Component) -> str:
    return "summed" if component.reduce == "sum" else "averaged"


def _keeps(model: Model, component: Component) -> str:
    shares = [_text(model, component, share) for share in component.retention if not is_number(share, 1)]
    return f"{' and '.join(dict.fromkeys(shares))} times the old state" if shares else ""


def _moves(model: Model, component: Component) -> str:
    match component.every.family:
        case Family.NEVER:
            return "never"
        case Family.ALWAYS:
            return f"at every query, {_step(model, component)}"
    return f"every {component.every}, {_step(model, component)}".removesuffix(", ")


def _step(model: Model, component: Component) -> str:
    if component.has_inlined_optimizer:
        return f"by its optimizer {component.optimizer_name}{_point(component)}"
    match component.optimizer:
        case GradientDescent(rate):
            return f"by a gradient step of rate {_text(model, component, rate)}{_point(component)}"
        case Proximal(rate):
            return f"by an implicit step of rate {_text(model, component, rate)}"
        case ClosedForm():
            return "to the minimiser itself"
    return ""


def _point(component: Component) -> str:
    match component.gradient_at:
        case GradientPoint.RETAINED if component.retention:
            return ", its gradient taken at what is kept of the old state"
        case GradientPoint.HELD:
            return f", its gradient taken at the state that is held for {component.gradient_period} tokens"
    return ""


def _starts(model: Model, component: Component) -> str:
    """Where a state starts and when it starts again; of the parameters of a module, those that do so by steps."""
    if (model.is_parameter(component.name) and component.reset is None) or component.name == "weights":
        return ""
    values = ["0" if is_number(value, 0) else _text(model, component, value) for value in component.init]
    start = "from zeros" if all(value == "0" for value in values) else f"from {' and '.join(dict.fromkeys(values))}"
    again = f", again every {component.reset}" if component.reset is not None and component.reset.family is not Family.SEQUENCE else ""
    return "" if start == "from zeros" and not again else start + again
