"""A layer of a network, by the path of its spec -> its model with dims and numbers bound, and its levels as levels of the whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from nlc.codes import network as codes, resolve as resolve_codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import LEAVES, Constant, Expr, Gradient, Hyperparameter, Parameter, Size, State, Tick, walk
from nlc.ir.build import replace as replaced
from nlc.ir.dims import Dim
from nlc.ir.model import TOKEN, Abbreviation, Component, GradientDescent, InputStream, Model, Output, Proximal, Training
from nlc.ir.parts import LayerField
from nlc.ir.spec import Binary, Call, DimField, Duration, LevelField, Name, NamedSyntax, Number, OuterField, Spec, SpecFile, Syntax
from nlc.resolve.scope import Scope
from nlc.resolve.sizes import declare_dims, dim_of, number_of, unfit_sizes
from nlc.resolve.training import NUMBERS, is_task
from nlc.resolve.typing import Typing

Resolve = Callable[[SpecFile], Model]


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What the layers of a model share: its dims, its numbers at their defaults, its optimizer, the specs of its layers."""

    dims: Mapping[str, Dim]
    sizes: Mapping[str, int]
    numbers: Mapping[str, Fraction]
    outer: OuterField | None
    file: SpecFile
    resolve: Resolve

    @property
    def counts(self) -> Mapping[str, Fraction]:
        """All numbers at their defaults, sizes among them."""
        return {**{name: Fraction(size) for name, size in self.sizes.items()}, **self.numbers}


def surrounding(file: SpecFile, outer: OuterField | None, resolve: Resolve) -> Surrounding:
    """What the layers of a model's spec share."""
    declared = declare_dims(file.spec.dims)
    sizes = {item.name: item.default for item in declared}
    numbers: dict[str, Fraction] = {}
    for item in file.spec.hyperparameters:
        known = {**{name: Fraction(size) for name, size in sizes.items()}, **numbers}
        numbers[item.name.text] = number_of(item.value, known, f"the hyperparameter `{item.name.text}`")
    dims = {item.name: item.definition or Dim.named(item.name) for item in declared}
    return Surrounding(dims, sizes, numbers, outer, file, resolve)


@dataclass(frozen=True, slots=True)
class LayerInNetwork:
    """A layer under its name: its own model, its levels as the whole model's, what moves them, and what its numbers are bound to.

    `own_optimizers` are the levels whose optimizer the layer's spec gives; `trained` is what moves the slow ones in the layer's words.
    """

    name: str
    model: Model
    components: tuple[Component, ...]
    bindings: Mapping[str, Expr]
    own_optimizers: frozenset[str]
    trained: tuple[Training, ...]

    def arguments(self, shared: Model) -> tuple[tuple[str, Expr], ...]:
        """What the class of a model that has the same laws is called with; a number that is not bound is named where defaults differ."""
        defaults = {item.name: Fraction(item.default) for item in shared.dims} | {
            item.name: item.default for item in shared.hyperparameters
        }
        numbers = self._numbers().items()
        return tuple((name, value) for name, value in numbers if name in self.bindings or value != _number(defaults[name], value))

    def training(self, outer: Mapping[str, Expr]) -> Iterator[Training]:
        """What moves the slow levels, with numbers in the words of the whole model, of which `outer` are those of its optimizer."""
        for item in self.trained:
            is_outer = self.own_optimizers.isdisjoint(item.levels)
            numbers = tuple((key, outer[key] if is_outer and key in outer else self._said(value)) for key, value in item.numbers)
            yield replace(item, numbers=numbers, levels=tuple(f"{self.name}.{level}" for level in item.levels))

    def _numbers(self) -> dict[str, Expr]:
        """All that can be bound, as what it is bound to or as its default."""
        free: dict[str, Expr] = {item.name: Size(Dim.number(item.default)) for item in self.model.dims if item.definition is None}
        free |= {item.name: Constant(item.default) for item in self.model.hyperparameters}
        return {name: self.bindings.get(name, value) for name, value in free.items()}

    def _said(self, value: Expr) -> Expr:
        """An expression over the layer's numbers, over those of the whole model."""
        known = self._numbers()
        dims = {name: size.dim for name, size in known.items() if isinstance(size, Size)}

        def change(node: Expr) -> Expr | None:
            match node:
                case Hyperparameter(name):
                    return known[name]
                case Size(dim):
                    return Size(dim.substitute(dims))
            return None

        return replaced(value, change)


def _number(default: Fraction, like: Expr) -> Expr:
    return Size(Dim.number(default)) if isinstance(like, Size) else Constant(default)


def resolve_layer(part: LayerField, name: str, width: Dim, around: Surrounding) -> LayerInNetwork:
    """The layer under a name that is its own; raises CompileError when the spec is no layer, or does not fit."""
    file = dict(around.file.layers)[part.path.text]
    bindings = _bindings(part, file.spec, around)
    defaults = {key: _default(value, key, part, around) for key, value in bindings.items()}
    spec = replace(
        file.spec,
        dims=tuple(_bound_dim(item, defaults) for item in file.spec.dims),
        hyperparameters=tuple(_bound_number(item, defaults) for item in file.spec.hyperparameters),
        claims=(),
    )
    known = (*file.optimizers, *around.file.optimizers)
    whole = around.resolve(replace(file, spec=replace(spec, outer=_outer(around)), optimizers=tuple(dict(known).items())))
    slow = {item.name for item in whole.parameters}
    optimizers = {item.name.text for item in spec.levels if item.name.text in slow and item.optimizer is not None}
    levels = tuple(_untrained(item) if item.name.text in slow and _is_trained(item) else item for item in spec.levels)
    alone = around.resolve(replace(file, spec=replace(spec, levels=levels, outer=None)))
    _check_layer(part, alone, width, {key: value.dim for key, value in bindings.items() if isinstance(value, Size)})
    return LayerInNetwork(
        name,
        replace(alone, hyperparameters=tuple(item for item in alone.hyperparameters if item.name in _read(alone))),
        tuple(_renamed(item, name) for item in whole.components),
        bindings,
        frozenset(optimizers),
        whole.training,
    )


def _is_trained(level: LevelField) -> bool:
    return level.objective is None or is_task(level.objective)


def _untrained(level: LevelField) -> LevelField:
    """A slow level as its layer computes with it: what moves it, and what it goes back to, is the whole model's."""
    return replace(level, optimizer=None, reset=None)


def _bindings(part: LayerField, spec: Spec, around: Surrounding) -> dict[str, Expr]:
    """What the layer's free dims and hyperparameters are bound to: what the model says, else what has the same name there."""
    free = {item.name.text for item in spec.dims if isinstance(item.value, Number)}
    numbers = {item.name.text for item in spec.hyperparameters}
    bound: dict[str, Expr] = {}
    values: dict[str, Expr] = {name: Hyperparameter(name) for name in around.numbers}
    typing = Typing(Scope(dims=around.dims, values=values), around.counts)
    for key, syntax in part.bindings:
        if key.text in free:
            bound[key.text] = Size(dim_of(syntax, around.dims))
        elif key.text in numbers:
            value = typing.expression(syntax)
            if value.shape or any(isinstance(node, LEAVES) and not isinstance(node, NUMBERS) for node in walk(value)):
                raise CompileError(resolve_codes.not_constant(syntax.span, f"`{key.text}`"))
            bound[key.text] = value
        else:
            raise CompileError(codes.unknown_binding_of_layer(key.span, part.path.text, free | numbers))
    bound |= {name: Size(around.dims[name]) for name in sorted(free & around.dims.keys() - bound.keys())}
    return bound | {name: Hyperparameter(name) for name in sorted(numbers & around.numbers.keys() - bound.keys())}


def _default(value: Expr, key: str, part: LayerField, around: Surrounding) -> Fraction:
    """What a binding is at the model's defaults."""
    span = next((syntax.span for name, syntax in part.bindings if name.text == key), part.path.span)
    if isinstance(value, Size):
        if unfit := list(unfit_sizes((value.dim,), around.sizes, span)):
            raise CompileError(*unfit)
        return value.dim.value(around.sizes)
    syntax = next((syntax for name, syntax in part.bindings if name.text == key), Name(key, span))
    return number_of(syntax, around.counts, f"`{key}`")


def _bound_dim(item: DimField, defaults: Mapping[str, Fraction]) -> DimField:
    name = item.name.text
    return replace(item, value=Number(defaults[name], item.value.span)) if name in defaults else item


def _bound_number(item: NamedSyntax, defaults: Mapping[str, Fraction]) -> NamedSyntax:
    name = item.name.text
    return replace(item, value=Number(defaults[name], item.value.span)) if name in defaults else item


def _outer(around: Surrounding) -> OuterField | None:
    """The model's `outer`, with its numbers at their defaults: a layer knows no names of the model."""
    outer = around.outer
    if outer is None:
        return None
    optimizer, every = (None if item is None else _with_numbers(item, around) for item in (outer.optimizer, outer.every))
    return replace(outer, optimizer=optimizer, every=every)


def _with_numbers(syntax: Syntax, around: Surrounding) -> Syntax:
    match syntax:
        case Binary("/", _, right):
            return replace(syntax, right=_with_numbers(right, around))
        case Duration(count):
            return replace(syntax, count=Number(number_of(count, around.counts, "a period"), count.span))
        case Call(_, arguments, keywords):

            def number(value: Syntax) -> Syntax:
                return Number(number_of(value, around.counts, "a number of `outer`"), value.span)

            return replace(
                syntax,
                arguments=tuple(number(value) for value in arguments),
                keywords=tuple((name, number(value)) for name, value in keywords),
            )
    return syntax


def _check_layer(part: LayerField, model: Model, width: Dim, bound: Mapping[str, Dim]) -> None:
    """Raise CompileError unless the model turns one stream of vectors of the network's size into another."""
    path, place = part.path.text, part.path.span
    if len(model.given) != 1 or len(model.outputs) != 1:
        raise CompileError(codes.not_a_layer(place, path, f"it takes {_names(model.given)} and gives {_names(model.outputs)}"))
    (stream,), (output,) = model.given, model.outputs
    if stream.every != TOKEN or stream.axes or len(stream.shape) != 1:
        raise CompileError(codes.not_a_layer(place, path, f"its input `{stream.name}` is no vector without axes at every token"))
    if output.value.shape != stream.shape or model.axes_of(output):
        raise CompileError(codes.not_a_layer(place, path, f"its output `{output.name}` has not the shape of its input"))
    if without := [axis for axis in model.axes if axis not in {item.name for item in model.dims}]:
        raise CompileError(codes.not_a_layer(place, path, f"nothing gives the size of its axis `{without[0]}`"))
    free = {item.name: bound.get(item.name, Dim.number(item.default)) for item in model.dims if item.definition is None}
    size = stream.shape[0].substitute(free)
    if size != width:
        raise CompileError(codes.width_differs(place, path, str(size), str(width)))


def _names(items: Iterable[InputStream | Output]) -> str:
    return ", ".join(item.name for item in items) or "nothing"


def _read(model: Model) -> frozenset[str]:
    """The hyperparameters that something evaluates: not those that are counts, nor those of optimizers of slow levels."""
    values = [*(value for item in model.components for value in _expressions(item)), *(item.value for item in model.outputs)]
    values += [item.value for item in model.abbreviations]
    return frozenset(node.name for value in values for node in walk(value) if isinstance(node, Hyperparameter))


def _expressions(component: Component) -> tuple[Expr, ...]:
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    return (component.objective, component.follows, *component.retention, *component.init, *(item.value for item in component.data), *rate)


def _renamed(component: Component, layer: str) -> Component:
    """A level of a layer as one of the whole model."""

    def change(node: Expr) -> Expr | None:
        if isinstance(node, State | Gradient | Parameter | Tick):
            return replace(node, component=f"{layer}.{node.component}")
        return None

    def said(value: Expr | None) -> Expr | None:
        return None if value is None else replaced(value, change)

    optimizer = component.optimizer
    if isinstance(optimizer, GradientDescent | Proximal):
        optimizer = replace(optimizer, rate=replaced(optimizer.rate, change))
    return replace(
        component,
        name=f"{layer}.{component.name}",
        host=f"{layer}.{component.host}" if component.host else None,
        block=layer,
        objective=replaced(component.objective, change),
        follows=replaced(component.follows, change),
        retention=tuple(replaced(value, change) for value in component.retention),
        init=tuple(replaced(value, change) for value in component.init),
        data=tuple(Abbreviation(item.name, replaced(item.value, change)) for item in component.data),
        key=said(component.key),
        value=said(component.value),
        prediction=said(component.prediction),
        optimizer=optimizer,
    )
