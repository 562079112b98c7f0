"""The other specs that a spec refers to: the optimizers of its levels, and the specs its claims compare it with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from nlc.codes import parse as codes
from nlc.diagnostics import Collector, CompileError
from nlc.ir.parts import layers_in
from nlc.ir.spec import Spec, Syntax, Text, WholeNumbers
from nlc.parse.checks import optimizer_name
from nlc.parse.compose import LONGEST_CHAIN, Workspace, compose
from nlc.parse.places import Place, find, known_specs
from nlc.parse.schema import read_spec
from nlc.source import Span

PRIMITIVES = ("closed_form", "gradient_descent", "proximal")
TRAINER = "gradient_descent"
"""The primitive that is also a spec: slow levels are moved by the optimizer that it compiles to."""

FOLDER = "optimizers"

Chain = tuple[tuple[str, Span], ...]
"""The optimizers being read, outermost first, each with where it is used."""


@dataclass(slots=True)
class Optimizers:
    """Finds the optimizer specs that levels name, in the host's own root first, then among the shipped specs."""

    place: Place
    workspace: Workspace
    found: dict[str, Spec] = field(default_factory=dict)

    def find(self, spec: Spec, chain: Chain = ()) -> None:
        """Read the specs of this spec's optimizers, and of theirs; raises CompileError with all mistakes found."""
        collector = Collector()
        for syntax in _optimizers(spec):
            name = optimizer_name(syntax)
            if name is not None and (name not in PRIMITIVES or (name == TRAINER and _trains(spec) and self._find(name, syntax.span))):
                with collector.collecting():
                    self._read(name, syntax.span, chain)
        collector.raise_if_any()

    def _read(self, name: str, span: Span, chain: Chain) -> None:
        path = (*chain, (name.removeprefix(f"{FOLDER}/"), span))
        names = [used for used, _ in path]
        if names[-1] in names[:-1]:
            ring = path[names.index(names[-1]) + 1 :]
            raise CompileError(codes.optimizer_cycle([(place, used) for used, place in ring]))
        if len(path) > LONGEST_CHAIN:
            raise CompileError(codes.chain_too_long(span, LONGEST_CHAIN))
        if name in self.found:
            return
        spec = self._parse(name, span)
        if spec.kind != "optimizer":
            raise CompileError(codes.not_an_optimizer_spec(span, spec.name.span))
        self.found[name] = spec
        self.find(spec, path)

    def _parse(self, name: str, span: Span) -> Spec:
        there = self._locate(name, span)
        return read_spec(compose(self.workspace.open(there, span), there, self.workspace))

    def _locate(self, name: str, span: Span) -> Place:
        found = self._find(name, span)
        if found is None:
            place = self._beside()
            known = [path.removeprefix(f"{FOLDER}/") for path in known_specs(place, FOLDER)]
            raise CompileError(codes.unknown_optimizer(span, name, [*PRIMITIVES, *known]))
        return found

    def _find(self, name: str, span: Span) -> Place | None:
        return find(name if "/" in name else f"{FOLDER}/{name}", span, self._beside())

    def _beside(self) -> Place:
        return Place(self.place.name, self.place.root.folder if self.place.root else None, self.place.root)


def _optimizers(spec: Spec) -> Iterator[Syntax]:
    yield from (level.optimizer for level in spec.levels if level.optimizer is not None)
    if spec.outer is not None and spec.outer.optimizer is not None:
        yield spec.outer.optimizer


def _trains(spec: Spec) -> bool:
    """Whether a spec has levels whose objective is the loss of a training loop."""
    objectives = [level.objective for level in spec.levels]
    return spec.kind != "optimizer" and (
        spec.outer is not None or any(item is None or optimizer_name(item) == "task" for item in objectives)
    )


def layers_named(spec: Spec) -> Iterator[Text]:
    """The paths of the layers of a network, each once."""
    first: dict[str, Text] = {}
    for layer in layers_in(spec.network):
        first.setdefault(layer.path.text, layer.path)
    yield from first.values()


def peers_named(spec: Spec, varied: Collection[str]) -> Iterator[tuple[str, WholeNumbers, Span]]:
    """The paths of the specs that claims compare this one with, each once with the same options, and with those that are measured at.

    What this spec is `varied` by when a claim measures is left as it is in the others.
    """
    peers: dict[tuple[str, WholeNumbers], Span] = {}
    for claim in spec.claims:
        if claim.same_as is None:
            continue
        peers[claim.same_as.text, claim.whole_options] = claim.same_as.span
        if claim.measure is not None and claim.measure.name.text not in varied:
            peers.update({(claim.same_as.text, claim.options_at(value)): claim.same_as.span for value in claim.measure.values})
    yield from ((path, options, span) for (path, options), span in peers.items())
