"""The first stage: the text of a spec -> a `SpecFile`, typed, composed, with the other specs and the library it refers to.

text -> `texts` (bounded UTF-8) -> `yaml_nodes` (a tree with spans) -> `compose` (`extends`, `use`, `overrides`) -> `schema` (typed fields,
by the tables of `fields`; expressions by `expressions`) -> `references` (optimizers, peers). Nothing is resolved: names stay names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from nlc.codes.network import not_a_layer, not_a_part
from nlc.diagnostics import Collector, CompileError
from nlc.ir.spec import Spec, SpecFile, WholeNumbers
from nlc.parse.compose import Workspace, compose
from nlc.parse.library import parse_library
from nlc.parse.places import Place, find, locate, place_in_folder, place_of_file
from nlc.parse.references import Optimizers, layers_named, peers_named
from nlc.parse.schema import read_spec
from nlc.parse.texts import read_source, source_of
from nlc.source import Source

__all__ = ["parse_file", "parse_library", "parse_text", "peers_of"]


def parse_file(path: Path, overrides: Sequence[Source] = ()) -> SpecFile:
    """The spec in a file; `path`, as given, is its name in diagnostics. Raises CompileError with all mistakes found.

    `overrides` are texts `key=value` that change this spec, not those that it refers to.
    """
    place = place_of_file(path)
    return _parse(read_source(path, place.name), place, overrides)


def parse_text(text: str, name: str, folder: Path | None = None) -> SpecFile:
    """The spec in a text called `name`; without a folder it may refer to shipped specs only. Raises CompileError."""
    return _parse(source_of(text, name), place_in_folder(name, folder))


def _parse(source: Source, place: Place, overrides: Sequence[Source] = ()) -> SpecFile:
    """The spec with its peers, the specs that its claims name; their own peers are left out, so rings of peers do no harm."""
    file = _parse_alone(source, place, overrides)
    own = frozenset(item.name.text for item in file.spec.hyperparameters)
    return replace(
        _with_layers(file, place),
        peers=peers_of(file.spec, place, own),
        variants=_variants(file.spec, source, place, overrides),
    )


def _variants(spec: Spec, source: Source, place: Place, overrides: Sequence[Source]) -> tuple[tuple[str, Fraction, SpecFile], ...]:
    """This spec with each of its hyperparameters that claims about another system measure by, at each of the values."""
    own = {item.name.text for item in spec.hyperparameters}
    measures = [claim.measure for claim in spec.claims if claim.measure is not None and claim.same_as is not None]
    wanted = dict.fromkeys((item.name.text, value) for item in measures if item.name.text in own for value in item.values)
    kept = {name: [item for item in overrides if item.text.partition("=")[0].strip() != name] for name, _ in wanted}
    return tuple((name, value, _parse_alone(source, place, [*kept[name], Source(place.name, f"{name}={value}")])) for name, value in wanted)


def _parse_alone(source: Source, place: Place, overrides: Sequence[Source] = ()) -> SpecFile:
    workspace = Workspace()
    changes = tuple(source_of(override.text, override.name) for override in overrides)
    spec = read_spec(compose(source, place, workspace, changes))
    optimizers = Optimizers(place, workspace)
    optimizers.find(spec)
    return SpecFile(
        spec=spec,
        path=place.name,
        files=workspace.files,
        overrides=tuple(override.text for override in overrides),
        optimizers=tuple(optimizers.found.items()),
        library=parse_library(),
    )


def _with_layers(file: SpecFile, place: Place) -> SpecFile:
    """A model with the specs of its layers, which are among the files that it is made of."""
    collector, layers = Collector(), []
    for path in layers_named(file.spec):
        with collector.collecting():
            there = find(path.text, path.span, place) if "/" not in path.text else locate(path.text, path.span, place)
            if there is None or there.path is None:
                raise CompileError(not_a_part(path.span, path.text))
            layer = _parse_alone(read_source(there.path, there.name), there)
            if layer.spec.kind != "architecture":
                raise CompileError(not_a_layer(path.span, path.text, f"it is of kind {layer.spec.kind}"))
            layers.append((path.text, layer))
    collector.raise_if_any()
    texts = {name: text for _, layer in layers for name, text in layer.files}
    return replace(file, layers=tuple(layers), files=tuple((dict(file.files) | texts).items()))


def peers_of(spec: Spec, place: Place, varied: Collection[str] = ()) -> tuple[tuple[str, WholeNumbers, SpecFile], ...]:
    """The specs that claims name, with the whole numbers set that the claims set: a count decides what is compiled."""
    collector, peers = Collector(), []
    for path, options, span in peers_named(spec, varied):
        with collector.collecting():
            there = locate(path, span, place)
            assert there.path is not None
            source = read_source(there.path, there.name)
            file = _parse_alone(source, there)
            names = {item.name.text for item in file.spec.hyperparameters}
            changes = [Source(path, f"{name}={value}") for name, value in options if name in names]
            peers.append((path, options, _parse_alone(source, there, changes) if changes else file))
    collector.raise_if_any()
    return tuple(peers)
