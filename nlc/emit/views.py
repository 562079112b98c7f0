"""What the templates see: frozen dataclasses of strings and tuples, one for each template, every choice already made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ModuleView:
    """A whole module; `header` are the lines of its docstring, `parts` its class and helpers as text."""

    header: tuple[str, ...]
    imports: tuple[str, ...]
    names: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SequenceView:
    """A sequence memory as an `nn.Module`: signatures and bodies as laid out lines."""

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    attributes: tuple[str, ...]
    reset_parameters: tuple[str, ...]
    initial_state: tuple[str, ...]
    initial_says: str
    zeros: tuple[str, ...]
    forward: tuple[str, ...]
    forward_says: str
    forward_body: tuple[str, ...]
    parallel_methods: tuple[str, ...]
    forward_by_token: tuple[str, ...]
    by_token_body: tuple[str, ...]
    step: tuple[str, ...]
    step_says: str
    step_body: tuple[str, ...]
    next_sequence: tuple[str, ...]
    start: tuple[str, ...]
    started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteView:
    """One write of a matrix memory: the names of its key and of what is written along it."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DecaysView:
    """Products of decays in a chunk, as code: `kept` of the state at its start (n, 1), `within` of what each token wrote (n, n)."""

    kept: str
    within: str


@dataclass(frozen=True, slots=True)
class ReadView:
    """One read of a memory: names of query, value and column; the decays it sees, or without any the diagonal of the last token it sees."""

    query: str
    name: str
    column: str
    decays: DecaysView
    diagonal: str
    states: str


@dataclass(frozen=True, slots=True)
class MatrixChunksView:
    """The chunked form of a matrix memory; `old` are the decays that writes see of what they read, `last` those up to the chunk's end."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    streams: str
    targets: str
    columns: tuple[str, ...]
    writes: tuple[WriteView, ...]
    reads: tuple[ReadView, ...]
    has_decay: bool
    is_triangular: bool
    prelude: tuple[str, ...]
    factors: tuple[str, ...]
    old: DecaysView
    last: DecaysView
    results: str


@dataclass(frozen=True, slots=True)
class VectorChunksView:
    """The chunked form of a vector memory."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    streams: str
    targets: str
    columns: tuple[str, ...]
    reads: tuple[ReadView, ...]
    prelude: tuple[str, ...]
    has_decay: bool
    products: str
    results: str


@dataclass(frozen=True, slots=True)
class OverlapView:
    """How one query sees one key through decays per channel: the names of what goes in and of what comes out.

    `own` adds to each token what it writes itself; it is empty for a read before the write.
    """

    targets: str
    query: str
    key: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HalvesReadView:
    """One read in a chunk: its query and the names of its overlaps with each write."""

    query: str
    name: str
    column: str
    attentions: tuple[WriteView, ...]


@dataclass(frozen=True, slots=True)
class MatrixHalvesView:
    """The chunked form of a matrix memory with a decay for each key channel; `written` is what a chunk adds, as code."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    streams: str
    overlaps: tuple[OverlapView, ...]
    pieces: str
    columns: tuple[str, ...]
    writes: tuple[WriteView, ...]
    reads: tuple[HalvesReadView, ...]
    is_triangular: bool
    written: str
    results: str


@dataclass(frozen=True, slots=True)
class VectorHalvesView:
    """The chunked form of a vector memory with a decay for each entry."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    columns: tuple[str, ...]
    reads: tuple[ReadView, ...]
    results: str


@dataclass(frozen=True, slots=True)
class HalvesView:
    """The functions that cut stretches of tokens in halves, for matrices and for vectors."""

    has_matrices: bool
    has_vectors: bool


@dataclass(frozen=True, slots=True)
class HelpersView:
    """The functions that a sequence module needs beside its class."""

    is_parallel: bool
    splits: bool
    has_decay: bool
    solves: bool
    convolves: bool


@dataclass(frozen=True, slots=True)
class BlockView:
    """The method that runs the tokens of a block."""

    signature: tuple[str, ...]
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockHelpersView:
    """The functions that cut a sequence in blocks, read what is steady in one, add up over one, and take what moves at its end."""

    reads: bool
    sums: bool
    moves: bool


@dataclass(frozen=True, slots=True)
class SlotView:
    """A state of every parameter: its key in the parameter's state, the variable that lists it, and the code that starts it."""

    key: str
    local: str
    start: str


@dataclass(frozen=True, slots=True)
class OptimizerView:
    """An optimizer as a `torch.optim.Optimizer`; `update` is the text of the methods that move the tensors of a group."""

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    defaults: tuple[str, ...]
    has_learning_rate: bool
    moves_matrices: bool
    update: str


@dataclass(frozen=True, slots=True)
class OptimizerUpdateView:
    """The laws, for the tensors of a group; `step` is the variable with the number of the step, if steps are counted.

    `gradients` is the code that takes the gradient of a parameter `x`, `kind` that of what tensors which move together have in common,
    and `alike` says it in words.
    """

    weights: str
    gradient: str
    gradients: str
    slots: tuple[SlotView, ...]
    step: str
    keeps_state: bool
    kind: str
    alike: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OptimizerHelpersView:
    """What an optimizer refuses; `name` is its class, or what several classes are together.

    `stacks` matrices of one shape, `stacks_wide` with tall ones transposed.
    """

    name: str
    stacks: bool
    stacks_wide: bool


@dataclass(frozen=True, slots=True)
class TrainingView:
    """The function that makes the optimizers of a module's slow levels; `levels` are the lines of its list."""

    name: str
    levels: tuple[str, ...]


TEMPLATES: Mapping[str, type] = MappingProxyType(
    {
        "module.py.j2": ModuleView,
        "sequence.py.j2": SequenceView,
        "matrix_chunks.py.j2": MatrixChunksView,
        "vector_chunks.py.j2": VectorChunksView,
        "matrix_halves.py.j2": MatrixHalvesView,
        "vector_halves.py.j2": VectorHalvesView,
        "halves.py.j2": HalvesView,
        "sequence_helpers.py.j2": HelpersView,
        "block.py.j2": BlockView,
        "block_helpers.py.j2": BlockHelpersView,
        "optimizer.py.j2": OptimizerView,
        "optimizer_update.py.j2": OptimizerUpdateView,
        "optimizer_helpers.py.j2": OptimizerHelpersView,
        "training.py.j2": TrainingView,
    }
)
"""Each template and the view that fills it."""
