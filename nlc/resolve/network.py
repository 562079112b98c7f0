"""A spec of kind model -> its Model: the network's own levels and those of its layers, each layer a resolved architecture.

The network's matrices and scales become slow levels like any others. A layer is resolved with its dims and hyperparameters bound;
`outer` of the model takes the place of the layer's own, and moves every slow level that has no optimizer of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count

from nlc.codes import network as codes, resolve as resolve_codes
from nlc.diagnostics import CompileError
from nlc.ir.dims import Dim
from nlc.ir.model import Model, Training
from nlc.ir.network import Embed, Head, Layer, Network, Normalise, Part, Repeat, Residual
from nlc.ir.parts import EmbedField, HeadField, LayerField, NormField, PartField, RepeatField, ResidualField
from nlc.ir.spec import Call, LevelField, Name, Number, OuterField, Spec, SpecFile, Syntax, Text
from nlc.resolve.layers import LayerInNetwork, Resolve, Surrounding, resolve_layer, surrounding
from nlc.resolve.sizes import dim_of

OBJECTIVE = "cross_entropy"


def resolve_network(file: SpecFile, resolve: Resolve) -> Model:
    """The model without its claims; raises CompileError with the mistakes found."""
    embed, outer = _check_ends(file.spec), _outer(file.spec)
    around = surrounding(file, outer, resolve)
    draft = Draft(around, embed, dim_of(embed.rows, around.dims), dim_of(embed.width, around.dims), _declared(file.spec))
    parts = draft.parts(file.spec.network)
    own = resolve(replace(file, spec=replace(file.spec, levels=tuple(draft.levels), network=(), outer=outer, claims=())))
    _check_tokens(own, draft)
    return replace(
        own,
        uneven_chunks=True,
        network=Network(parts, tuple(draft.models)),
        components=(*own.components, *(item for layer in draft.layers for item in layer.components)),
        training=_trainings(own.training, draft.layers),
    )


def _trainings(own: tuple[Training, ...], layers: Iterable[LayerInNetwork]) -> tuple[Training, ...]:
    """One entry for every optimizer, numbers and period, of all levels that share them; the numbers of `outer` are the model's own."""
    outer = dict(own[0].numbers) if own else {}
    found = list(own)
    for item in (item for layer in layers for item in layer.training(outer)):
        same = next((place for place, other in enumerate(found) if replace(other, levels=item.levels) == item), None)
        if same is None:
            found.append(item)
        else:
            found[same] = replace(item, levels=(*found[same].levels, *item.levels))
    return tuple(found)


def _check_ends(spec: Spec) -> EmbedField:
    """The embedding; raises CompileError unless it comes first, a head last, and neither is anywhere else."""
    first, *middle, last = (*spec.network, None) if len(spec.network) < 2 else spec.network
    if not isinstance(first, EmbedField):
        raise CompileError(codes.misplaced_end(spec.network[0].span, "embed", "is not the first part of this network"))
    if not isinstance(last, HeadField):
        raise CompileError(codes.misplaced_end(spec.network[-1].span, "head", "is not the last part of this network"))
    for part in _inside(tuple(part for part in middle if part is not None)):
        if isinstance(part, EmbedField | HeadField):
            word = "embed" if isinstance(part, EmbedField) else "head"
            raise CompileError(codes.misplaced_end(part.span, word, "stands inside the network"))
    return first


def _inside(parts: tuple[PartField, ...]) -> tuple[PartField, ...]:
    """The parts and all that is in them."""
    found: list[PartField] = []
    for part in parts:
        found.append(part)
        match part:
            case ResidualField(branches):
                found.extend(item for branch in branches for item in _inside(branch))
            case RepeatField(_, inner):
                found.extend(_inside(inner))
    return tuple(found)


def _declared(spec: Spec) -> set[str]:
    """The names that the spec gives."""
    given = (*(item.name for item in spec.dims), *(item.name for item in spec.inputs), *(item.name for item in spec.hyperparameters))
    return {name.text for name in given}


def _outer(spec: Spec) -> OuterField | None:
    """`outer` as slow levels understand it: their objective is the task."""
    if spec.outer is None:
        return None
    objective = spec.outer.objective
    if not isinstance(objective, Name) or objective.text != OBJECTIVE:
        raise CompileError(resolve_codes.unknown_option(objective.span, "the objective of a model", OBJECTIVE))
    return replace(spec.outer, objective=Name("task", objective.span))


def _check_tokens(model: Model, draft: Draft) -> None:
    streams = model.inputs
    if len(streams) != 1:
        span = streams[1].span if streams else model.span
        raise CompileError(codes.not_tokens(span, f"a model has one input, not {len(streams)}"))
    if streams[0].integers is None:
        raise CompileError(codes.not_tokens(streams[0].span, "the input of a model is a stream of integers"))
    if streams[0].integers != draft.rows:
        problem = f"there are {streams[0].integers} different tokens, and the embedding has {draft.rows} rows"
        raise CompileError(codes.not_tokens(streams[0].span, problem))


@dataclass(slots=True)
class Draft:
    """The parts of a network in the making: their names, its own matrices and scales as levels, its layers and their different models."""

    around: Surrounding
    embed: EmbedField
    rows: Dim
    width: Dim
    taken: set[str]
    levels: list[LevelField] = field(default_factory=list)
    layers: list[LayerInNetwork] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)

    def parts(self, parts: tuple[PartField, ...]) -> tuple[Part, ...]:
        """The parts, with their names."""
        return tuple(self._part(part, parts[place + 1 :]) for place, part in enumerate(parts))

    def _part(self, part: PartField, after: tuple[PartField, ...]) -> Part:
        match part:
            case EmbedField():
                return Embed(self._matrix("embedding", part), self.rows, self.width)
            case NormField():
                vector = Call(Name("vector"), (self.embed.width,), (), part.span)
                name = f"{_base(after[0])}_norm" if after and isinstance(after[0], LayerField | HeadField) else "norm"
                return Normalise(self._level(name, part, vector, init=Number(Fraction(1), part.span)), self.width)
            case HeadField(is_tied):
                return Head("embedding" if is_tied else self._matrix("head", part), is_tied, self.rows, self.width)
            case LayerField():
                return self._layer(part)
            case ResidualField(branches):
                return Residual(tuple(self.parts(branch) for branch in branches))
            case RepeatField(count, parts):
                return Repeat(self._new("blocks"), dim_of(count, self.around.dims), self.parts(parts))

    def _layer(self, part: LayerField) -> Layer:
        layer = resolve_layer(part, self._new(_base(part)), self.width, self.around)
        self.layers.append(layer)
        known = next((place for place, model in enumerate(self.models) if model.without_defaults == layer.model.without_defaults), None)
        if known is None:
            self.models.append(layer.model)
        place = len(self.models) - 1 if known is None else known
        return Layer(layer.name, place, layer.model.inputs[0].name, layer.arguments(self.models[place]))

    def _matrix(self, name: str, part: EmbedField | HeadField) -> str:
        return self._level(name, part, Call(Name("matrix"), (self.embed.rows, self.embed.width), (), self.embed.span))

    def _level(self, name: str, part: PartField, memory: Syntax, init: Syntax | None = None) -> str:
        """A slow level of the network's own."""
        text = Text(self._new(name), part.span)
        self.levels.append(LevelField(name=text, memory=memory, every=Name("step", part.span), init=init, span=part.span))
        return text.text

    def _new(self, base: str) -> str:
        """A name that nothing has yet."""
        name = next(name for name in _numbered(base) if name not in self.taken)
        self.taken.add(name)
        return name


def _base(part: LayerField | HeadField) -> str:
    """What a layer is called after: the file of its spec."""
    if isinstance(part, HeadField):
        return "head"
    file = part.path.text.rpartition("/")[2].removesuffix(".yaml").removesuffix("_layer")
    return re.sub(r"\W", "_", file)


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}_{number}" for number in count(2))
