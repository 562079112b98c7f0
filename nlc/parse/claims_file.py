"""The text of a file of claims -> a `ClaimsFile`: each section composed and typed like a spec, with the specs that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nlc.codes import claims as codes
from nlc.diagnostics import Collector, CompileError
from nlc.ir.spec import ClaimField, ClaimsFile, SpecFile, Text
from nlc.parse import peers_of
from nlc.parse.compose import Workspace, compose_section
from nlc.parse.fields import Value
from nlc.parse.library import parse_library
from nlc.parse.nodes import MappingNode
from nlc.parse.places import Place, place_of_file
from nlc.parse.references import Optimizers
from nlc.parse.schema import kind_of, read_claims_file, read_section
from nlc.parse.texts import read_source
from nlc.parse.yaml_nodes import read_yaml
from nlc.source import Source, Span


def is_claims_file(path: Path) -> bool:
    """Whether a file says that it is one of claims; a file that cannot be read is none."""
    try:
        root = read_yaml(read_source(path, path.as_posix()))
    except CompileError:
        return False
    kind = kind_of(root)
    return kind is not None and kind.text == Value.CLAIMS_KIND.value


def parse_claims_file(path: Path) -> ClaimsFile:
    """The file, every section with its claims; raises CompileError with all mistakes found."""
    place = place_of_file(path)
    source = read_source(path, place.name)
    header, trees = read_claims_file(read_yaml(source))
    collector, sections = Collector(), []
    for tree in trees:
        with collector.collecting():
            sections.append(_section(tree, source, place))
    collector.raise_if_any()
    file = ClaimsFile(path=place.name, sections=tuple(sections), **header)
    _check_ids(file, collector)
    collector.raise_if_any()
    return file


def _section(tree: MappingNode, source: Source, place: Place) -> SpecFile:
    workspace = Workspace()
    spec = read_section(compose_section(tree, source, place, workspace), Span(source, tree.span.start, tree.span.start))
    optimizers = Optimizers(place, workspace)
    optimizers.find(spec)
    file = SpecFile(spec=spec, path=place.name, files=workspace.files, optimizers=tuple(optimizers.found.items()), library=parse_library())
    return replace(file, peers=peers_of(spec, place))


def _check_ids(file: ClaimsFile, collector: Collector) -> None:
    claims = [claim for section in file.sections for claim in section.spec.claims]
    ids: dict[str, Text] = {}
    for name in (claim.id for claim in claims if claim.id is not None):
        first = ids.setdefault(name.text, name)
        if first is not name:
            collector.add(codes.repeated_id(first.span, name.span))
    for claim in claims:
        _check_instead(claim, ids, collector)


def _check_instead(claim: ClaimField, ids: dict[str, Text], collector: Collector) -> None:
    if claim.instead is not None and claim.instead.text not in ids:
        collector.add(codes.unknown_id(claim.instead.text, claim.instead.span, ids))
