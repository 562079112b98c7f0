"""Spec -> Model: every name bound, every shape known, every default filled in.

`resolve_model` reads like a spec: sizes, streams, levels, outputs, claims. Expressions are typed in typing.py under the
bindings of scope.py; levels become components in components.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

from nlc.codes import resolve as codes
from nlc.codes.network import integers_outside_model
from nlc.diagnostics import Collector, CompileError
from nlc.ir.algebra import Constant, Expr, Hyperparameter, Input, Named
from nlc.ir.dims import ENTRIES, MATRIX, Dim, Shape
from nlc.ir.model import (
    STEP,
    TOKEN,
    Abbreviation,
    Component,
    DimDeclaration,
    HyperparameterDeclaration,
    InputStream,
    Model,
    Output,
)  # fmt: skip
from nlc.ir.spec import Call, DefinitionField, InputField, LevelField, Name, Spec, SpecFile
from nlc.resolve.axes import check_axes, joined_axes, whole_streams
from nlc.resolve.claim_words import CLAIM
from nlc.resolve.claims import ClaimSurroundings, Peers, Variants, resolve_claim
from nlc.resolve.clocks import clock_of, counted_names
from nlc.resolve.components import resolve_level
from nlc.resolve.held import with_plain_reads
from nlc.resolve.levels import Surroundings
from nlc.resolve.matrices import is_of_matrices, sides_of
from nlc.resolve.memories import is_like_weights, memory_type
from nlc.resolve.network import resolve_network
from nlc.resolve.recents import check_recents, recent_values
from nlc.resolve.scope import LevelType, MemoryType, Scope
from nlc.resolve.sizes import declare_dims, dim_of, number_of, unfit_sizes
from nlc.resolve.slopes import slopes
from nlc.resolve.training import check_outer, start_name, trainings, with_learned_starts, with_outer
from nlc.resolve.typing import Typing
from nlc.resolve.windows import with_data

__all__ = ["resolve_model"]

_LIKE_WEIGHTS = Call(Name("like"), (Name("weights"),))
"""What an optimizer's `weights` level is when it does not say."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a spec declares before its levels: everything that their expressions can name."""

    dims: tuple[DimDeclaration, ...]
    inputs: tuple[InputStream, ...]
    hyperparameters: tuple[HyperparameterDeclaration, ...]
    macros: Mapping[str, DefinitionField]
    like: Shape | None = None

    @property
    def counts(self) -> dict[str, Fraction]:
        """The numbers that named periods may use."""
        return {
            **{item.name: Fraction(item.default) for item in self.dims},
            **{item.name: item.default for item in self.hyperparameters},
        }

    def meanings(self) -> dict[str, Dim]:
        return {item.name: item.definition or Dim.named(item.name) for item in self.dims}


def resolve_model(file: SpecFile) -> Model:
    """The model of a parsed spec; raises CompileError with every mistake found."""
    model = resolve_network(file, _resolve) if file.spec.kind == "model" else _resolve(file)
    peers = {(name, options): _resolve(peer) for name, options, peer in file.peers}
    variants = {(name, value): _resolve(variant) for name, value, variant in file.variants}
    return _with_claims(model, file, peers, variants)


def _resolve(file: SpecFile) -> Model:
    """The model without its claims."""
    spec, collector = file.spec, Collector()
    declared = _declare(file)
    scope = _scope(spec, declared, {}, collector)
    collector.raise_if_any()
    library = {item.name.text: item for item in file.library}
    around = Surroundings(scope, declared.counts, dict(file.optimizers), library)
    components: list[Component] = []
    outputs: list[Output] = []
    fields: list[LevelField] = []
    if spec.outer is not None:
        check_outer(spec.outer, around)
    for field in spec.levels if spec.kind == "optimizer" else with_learned_starts(spec.levels):
        with collector.collecting():
            slow = with_outer(field, spec.outer, around.clock(field.every)) if spec.kind != "optimizer" and field.every else field
            components.extend(resolve_level(slow, around))
            fields.append(slow)
    for item in spec.outputs:
        with collector.collecting():
            value = Typing(replace(_with_inlined(scope, components), where="output"), declared.counts).expression(item.value)
            outputs.append(Output(name=item.name.text, value=value, span=item.value.span))
    if spec.outer is not None and all(item.every.is_fast for item in components):
        collector.add(codes.trains_nothing(spec.outer.span))
    collector.raise_if_any()
    _check_sizes(declared.dims, declared.inputs, components)
    abbreviations = tuple(_abbreviations(spec, scope, declared.counts))
    is_moving = {item.name: spec.kind == "optimizer" or item.every.is_fast for item in components}
    model = Model(
        name=spec.name.text,
        kind=spec.kind,
        says=" ".join(spec.says.text.split()) if spec.says else "",
        cites=tuple(item.text for item in spec.cites),
        strict=spec.strict,
        dims=declared.dims,
        axes=tuple(item.text for item in spec.axes),
        inputs=(*declared.inputs, *slopes(fields, components)),
        hyperparameters=declared.hyperparameters,
        components=tuple(with_data(components, abbreviations, is_moving.__getitem__)),
        outputs=tuple(outputs),
        abbreviations=abbreviations,
        training=() if spec.kind == "optimizer" else trainings(fields, components, around, lambda name, used: _optimizer(file, name, used)),
        path=file.path,
        overrides=file.overrides,
        digest=digest(file),
        span=spec.name.span,
    )
    model = with_plain_reads(model)
    check_recents(model)
    check_axes(model)
    joined = tuple(replace(item, joined=joined_axes(model, item.value)) for item in model.outputs)
    return replace(model, inputs=whole_streams(model), recents=recent_values(model), outputs=joined)


def _abbreviations(spec: Spec, scope: Scope, counts: Mapping[str, Fraction]) -> Iterator[Abbreviation]:
    """The `let` entries that have a value outside of any level; whether they are right is found out where they are used."""
    for item in spec.let:
        with suppress(CompileError):
            typing = Typing(replace(scope, where="let", own="", counted=""), counts)
            yield Abbreviation(item.name.text, typing.expression(Name(item.name.text, item.name.span)))


def _optimizer(file: SpecFile, name: str, spec: Spec) -> Model:
    """An optimizer spec that serves slow levels, as a model of its own."""
    return _resolve(replace(file, spec=spec, path=name, files=(), overrides=()))


def _check_sizes(dims: tuple[DimDeclaration, ...], inputs: tuple[InputStream, ...], components: list[Component]) -> None:
    """Raise CompileError when a size is not whole, or out of bounds, at the default sizes."""
    sizes = {dim.name: dim.default for dim in dims if dim.definition is None}
    shapes = [(stream.shape, stream.span) for stream in inputs]
    shapes.extend((state.shape, component.place("memory")) for component in components for state in component.states)
    if unfit := [problem for shape, span in shapes for problem in unfit_sizes(shape, sizes, span)]:
        raise CompileError(*dict.fromkeys(unfit))


def digest(file: SpecFile) -> str:
    """sha256 of every file that the spec is made of and of what overrides it, in order, whatever the machine's line ends."""
    total = hashlib.sha256()
    for text in (*(text for _, text in file.files), *file.overrides):
        total.update(text.replace("\r\n", "\n").encode())
        total.update(b"\0")
    return total.hexdigest()


def _declare(file: SpecFile) -> Declarations:
    spec, collector = file.spec, Collector()
    dims: tuple[DimDeclaration, ...] = ()
    inputs: list[InputStream] = []
    hyperparameters: list[HyperparameterDeclaration] = []
    with collector.collecting():
        dims = declare_dims(spec.dims)
    collector.raise_if_any()
    counts = {item.name: Fraction(item.default) for item in dims}
    for item in spec.hyperparameters:
        with collector.collecting():
            default = number_of(item.value, counts, f"the hyperparameter `{item.name.text}`")
            hyperparameters.append(HyperparameterDeclaration(name=item.name.text, default=default, span=item.name.span))
    counts |= {item.name: item.default for item in hyperparameters}
    meanings = {item.name: item.definition or Dim.named(item.name) for item in dims}
    macros = {item.name.text: item for item in (*file.library, *spec.define)}
    like = _like(spec, macros)
    for field in spec.inputs:
        with collector.collecting():
            inputs.append(_input(field, spec, meanings, counts, like))
    collector.raise_if_any()
    return Declarations(dims, tuple(inputs), tuple(hyperparameters), macros, like)


def _like(spec: Spec, macros: Mapping[str, DefinitionField]) -> Shape | None:
    """What `like(weights)` is; None in an architecture, which has none."""
    if spec.kind != "optimizer":
        return None
    return MATRIX if is_of_matrices(spec, macros) else ENTRIES


def _input(field: InputField, spec: Spec, dims: Mapping[str, Dim], counts: Mapping[str, Fraction], like: Shape | None) -> InputStream:
    optimizer = spec.kind == "optimizer"
    low = high = None
    if field.range is not None:
        low, high = (number_of(bound, counts, "a bound") for bound in field.range)
        if low >= high:
            raise CompileError(codes.bad_range(field.range[0].span.to(field.range[1].span)))
    axes = spec.axes if field.axes is None else field.axes
    for axis in axes:
        if axis not in spec.axes:
            raise CompileError(codes.no_such_stream(axis.span, axis.text, "an axis of this spec", (item.text for item in spec.axes)))
    integers = _integers(field, spec, dims)
    return InputStream(
        name=field.name.text,
        shape=() if integers else _input_shape(field, dims, like),
        integers=integers,
        every=clock_of(field.every, counts) if field.every else (STEP if optimizer else TOKEN),
        axes=tuple(axis.text for axis in axes),
        low=low,
        high=high,
        span=field.name.span,
    )


def _integers(field: InputField, spec: Spec, dims: Mapping[str, Dim]) -> Dim | None:
    """How many values the tokens of a model can have; None for what is no stream of integers."""
    match field.shape:
        case Call(Name("integer"), (rows,), ()):
            if spec.kind != "model":
                raise CompileError(integers_outside_model(field.shape.span))
            return dim_of(rows, dims)
    return None


def _input_shape(field: InputField, dims: Mapping[str, Dim], like: Shape | None) -> Shape:
    if isinstance(field.shape, tuple):
        if len(field.shape) > 2:
            raise CompileError(codes.not_a_size(field.shape[2].span, "a datum has at most two sizes: [rows, columns]; `axes` adds copies"))
        return tuple(dim_of(item, {**dims, **sides_of(like or ())}) for item in field.shape)
    if not is_like_weights(field.shape):
        raise CompileError(codes.not_a_size(field.shape.span, "a stream's shape is a list of sizes: [d_k], or [] for a scalar"))
    if like is None:
        raise CompileError(codes.like_outside_optimizer(field.shape.span))
    return like


def _scope(spec: Spec, declared: Declarations, identified: Mapping[str, Dim], collector: Collector) -> Scope:
    """The names of a spec; with `identified`, some dims are taken to be others (for ill-typed claims)."""
    dims = {name: dim.substitute(identified) for name, dim in declared.meanings().items()}
    like = None if declared.like is None else tuple(dim.substitute(identified) for dim in declared.like)
    dims |= sides_of(like or ())
    counted = counted_names(spec)
    values: dict[str, Expr] = {
        item.name: Constant(item.default) if item.name in counted else Hyperparameter(item.name) for item in declared.hyperparameters
    }
    for stream in declared.inputs:
        values[stream.name] = Input(stream.name, tuple(dim.substitute(identified) for dim in stream.shape))
    levels: dict[str, LevelType] = {}
    for field in spec.levels:
        name = field.name.text
        with collector.collecting():
            memory = field.memory
            if memory is None and (spec.kind != "optimizer" or name != "weights"):
                raise CompileError(
                    codes.missing_field(field.name.span, name, "memory", "write `memory: matrix(rows, columns)` or `vector(size)`")
                )
            syntax = memory if memory is not None else _LIKE_WEIGHTS
            levels[name] = LevelType(name, memory_type(syntax, dims, declared.macros, like))
            if isinstance(field.init, Name) and field.init.text == "learned" and spec.kind != "optimizer":
                levels[start_name(name)] = LevelType(start_name(name), levels[name].memory)
    lets, axes = {item.name.text: item.value for item in spec.let}, tuple(item.text for item in spec.axes)
    return Scope(dims=dims, values=values, levels=levels, lets=lets, macros=declared.macros, like=like, axes=axes)


def _with_inlined(scope: Scope, components: list[Component]) -> Scope:
    """The scope with the levels under their full names that the spec does not write out: of inlined optimizers, and of a network."""
    inlined = {
        item.name: LevelType(item.name, MemoryType(item.memory, item.states, tuple(state.part or "weights" for state in item.states)))
        for item in components
        if item.host is not None or item.name not in scope.levels
    }
    return replace(scope, levels={**scope.levels, **inlined})


def _with_claims(model: Model, file: SpecFile, peers: Peers, variants: Variants) -> Model:
    macros = {item.name.text: item for item in (*file.library, *file.spec.define)}
    declared = Declarations(model.dims, model.inputs, model.hyperparameters, macros, _like(file.spec, macros))

    def scope_with(identified: Mapping[str, Dim]) -> Scope:
        components = [_identified(item, identified) for item in model.components]
        scope = _with_inlined(_scope(file.spec, declared, identified, Collector()), components)
        shown = {item.name: Named(item.name, tuple(dim.substitute(identified) for dim in item.value.shape)) for item in model.outputs}
        in_window = any(item.window is not None for item in components)
        values = {**{name: shown[name] for name in shown if name not in scope.names}, **scope.values}
        return replace(scope, where=CLAIM, in_window=in_window, values=values)

    around, collector, claims = ClaimSurroundings(scope_with, declared.counts, peers, variants, model), Collector(), []
    for field in file.spec.claims:
        with collector.collecting():
            claims.append(resolve_claim(field, around))
    collector.raise_if_any()
    return replace(model, claims=tuple(claims))


def _identified(component: Component, identified: Mapping[str, Dim]) -> Component:
    states = tuple(replace(state, shape=tuple(dim.substitute(identified) for dim in state.shape)) for state in component.states)
    return replace(component, states=states)
