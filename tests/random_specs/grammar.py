"""The table of all constructs, a random spec for every seed, and which constructs a spec contains.

The same seed gives the same spec on every machine: chance is one `random.Random`, and everything is drawn from tuples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.random_specs.artist import Construct
from tests.random_specs.expressions import EXPRESSIONS
from tests.random_specs.levels import PARTS
from tests.random_specs.slow import WIDER
from tests.random_specs.specs import draw_tree
from tests.random_specs.tied import TIED
from tests.random_specs.timed import CLOCKS, HELD, TIMED
from tests.random_specs.tree import Phrase, SpecTree

TABLE: tuple[Construct, ...] = (*EXPRESSIONS, *PARTS, *TIED, *CLOCKS, *TIMED, *WIDER)
"""Everything that can be drawn for a place of a spec."""

UNLABELLED = frozenset({"none", "every tick", "own read", "read of a level", "state of a level"})
"""Rows that draw nothing, or what counts under the name of the read that they draw."""

WRITTEN = ("read: a slow level", "signal: stop_gradient", "spec: abbreviation", "spec: abbreviation of a read")
"""What is drawn along with a row, and has none of its own."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A construct that is the shape of a whole spec."""

    label: str
    is_seen: Callable[[SpecTree], bool]


def _reads(tree: SpecTree) -> dict[str, set[str]]:
    """The levels that each level's text names."""
    names = [level.name for level in tree.levels]
    words = {
        level.name: {word for _, value in level.fields() for phrase in value.walk() for word in words_of(phrase)} for level in tree.levels
    }
    return {reader: {name for name in names if name != reader and name in found} for reader, found in words.items()}


def words_of(phrase: Phrase) -> list[str]:
    return re.findall(r"[a-z]\w*", phrase.form)


def _read_each_other(tree: SpecTree) -> bool:
    reads = _reads(tree)
    return any(reader in reads[name] for reader, names in reads.items() for name in names)


def _has(kind: str, what: str, count: int) -> Callable[[SpecTree], bool]:
    return lambda tree: tree.kind == kind and len(getattr(tree, what)) == count


TRAITS: tuple[Trait, ...] = (
    *(Trait(f"spec: {count} axes", _has("architecture", "axes", count)) for count in range(3)),
    *(Trait(f"spec: {count} levels", _has("architecture", "levels", count)) for count in (1, 2, 3)),
    *(Trait(f"spec: optimizer of {count} levels", _has("optimizer", "levels", count)) for count in (1, 2, 3)),
    Trait("spec: derived dim", lambda tree: any(not text.isdigit() for _, text in tree.dims)),
    Trait("spec: product of dims", lambda tree: any(text == "heads * d_k" for _, text in tree.dims)),
    Trait("spec: axis with a size", lambda tree: any(name in tree.axes for name, _ in tree.dims)),
    Trait("spec: stream without axes", lambda tree: bool(tree.axes) and any(stream.axes == () for stream in tree.inputs)),
    Trait("spec: stream with one axis of two", lambda tree: any(len(tree.axes) > len(stream.axes or ()) > 0 for stream in tree.inputs)),
    Trait("spec: a level reads another", lambda tree: any(_reads(tree).values())),
    Trait("spec: levels read each other", _read_each_other),
    Trait("wider: projection", lambda tree: any(level.name.startswith("project_") for level in tree.levels)),
    Trait("spec: several outputs", lambda tree: len(tree.outputs) > 1),
    Trait("spec: stream of sequences", lambda tree: any(stream.is_whole for stream in tree.inputs)),
    Trait("spec: matrix stream", lambda tree: any(len(stream.shape) == 2 for stream in tree.inputs)),
)  # fmt: skip


def draw_spec(seed: int) -> SpecTree:
    """The spec of a seed."""
    return draw_tree(Random(seed), TABLE, HELD)


def constructs() -> tuple[str, ...]:
    """The labels of all that must be drawn."""
    labels = [row.label for row in TABLE if row.name not in UNLABELLED]
    reads = ["read: the new state", "read: the state before", *(f"read: {word}" for word, _ in HELD)]
    return tuple(dict.fromkeys((*labels, *reads, *(trait.label for trait in TRAITS), *WRITTEN)))


def contained(tree: SpecTree) -> Counter[str]:
    """The constructs in a spec, once each."""
    found = {phrase.construct for phrase in tree.phrases()} | {trait.label for trait in TRAITS if trait.is_seen(tree)}
    return Counter(sorted(found))
