"""What the templates see: frozen dataclasses of strings and tuples, one for each template, every choice already made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nlc.emit.form_views import (
    AttentionView,
    CoupledHelpersView,
    CoupledVectorsView,
    CoupledView,
    HalvesView,
    MatrixChunksView,
    MatrixHalvesView,
    VectorChunksView,
    VectorHalvesView,
)
from nlc.emit.network_views import (
    LearningBlocksView,
    LearningLawsView,
    LearningLayerView,
    LearningNetworkHelpersView,
    LearningNetworkView,
    LearningView,
    NetworkView,
    RepeatedView,
)


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
    step_methods: tuple[str, ...]
    next_sequence: tuple[str, ...]
    start: tuple[str, ...]
    started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HelpersView:
    """The functions that a sequence module needs beside its class."""

    is_parallel: bool = False
    splits: bool = False
    in_blocks: bool = False
    has_decay: bool = False
    solves: bool = False
    turns: bool = False
    convolves: bool = False


@dataclass(frozen=True, slots=True)
class ManagedView:
    """The functions that cut `forward` in pieces and watch it: signatures, and code for what differs between modules."""

    managed: tuple[str, ...]
    in_pieces: tuple[str, ...]
    watched: tuple[str, ...]
    made: str
    seen: str
    like: str
    piece: str
    token: str
    nothing: str
    joined: str
    without: str
    kept: str
    skips: bool


@dataclass(frozen=True, slots=True)
class BlockView:
    """The method that runs the tokens of a block."""

    signature: tuple[str, ...]
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockHelpersView:
    """The functions that cut a sequence in blocks, some tokens being one of their own, and take what moves at the end of one."""

    moves: bool
    is_first_alone: bool = False


@dataclass(frozen=True, slots=True)
class DualHelpersView:
    """The functions that a block with dual forms calls.

    `before`: some reads are of what was there before a token's own writes; `rows` says which rows of what is left are read.
    `are_mixed`: a tensor may have several starts in it; `starts` is the argument that gives them, and `what` its word. `wrap` and `unwrap`
    break the longest head of a function.
    """

    reads: bool
    matrices: bool
    vectors: bool
    before: bool
    are_mixed: bool
    rows: str
    starts: str
    what: str
    before_argument: str
    wrap: str
    unwrap: str


@dataclass(frozen=True, slots=True)
class SlotView:
    """A state of every parameter: its key in the parameter's state, the variable that lists it, and the code that starts it."""

    key: str
    local: str
    start: str


@dataclass(frozen=True, slots=True)
class ContextView:
    """Data of the layers of parameters: its name, and the variable that lists it."""

    key: str
    local: str


@dataclass(frozen=True, slots=True)
class OptimizerContextsView:
    """The methods that record the data of layers.

    `parameters` are those of `record`, `recorded` makes a dict of them, and `given` is what a layer gives for them.
    """

    name: str
    parameters: str
    recorded: str
    given: str


@dataclass(frozen=True, slots=True)
class OptimizerView:
    """An optimizer as a `torch.optim.Optimizer`; `update` is the text of the methods that move the tensors of a group.

    `contexts` is the text of those that record the data of layers, if it takes any. `refused` are the lines that refuse hyperparameters
    out of range.
    """

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    defaults: tuple[str, ...]
    refused: tuple[str, ...]
    has_learning_rate: bool
    moves_matrices: bool
    has_matmul_dtype: bool
    contexts: str
    update: str


@dataclass(frozen=True, slots=True)
class OptimizerUpdateView:
    """The laws, for the tensors of a group; `step` is the variable with the number of the step, if steps are counted.

    `gradients` is the code that takes the gradient of a parameter `x`, `kind` that of what tensors which move together have in common,
    and `alike` says it in words.
    """

    weights: str
    gradient: str
    reads_gradients: bool
    gradients: str
    slots: tuple[SlotView, ...]
    step: str
    contexts: tuple[ContextView, ...]
    keeps_state: bool
    kind: str
    alike: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OptimizerHelpersView:
    """What an optimizer refuses; `name` is its class, or what several classes are together.

    `numbers` become tensors, `filled` ones of the size of a parameter; `stacks` matrices of one shape, `stacks_wide` with tall ones
    transposed.
    """

    name: str
    numbers: bool
    filled: bool
    stacks: bool
    stacks_wide: bool


@dataclass(frozen=True, slots=True)
class TrainingView:
    """The class that steps the optimizers of slow levels at their periods; with `restarts` some of these levels start again."""

    restarts: bool


@dataclass(frozen=True, slots=True)
class SlowLevelsView:
    """The function that makes the optimizers of a module's slow levels; `levels` are the lines of its list.

    `restarts` are those of the function that gives the levels that start again, each with what it starts from; none when none does.
    """

    name: str
    levels: tuple[str, ...]
    restarts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InverseView:
    """The function that inverts matrices."""


@dataclass(frozen=True, slots=True)
class SolutionView:
    """The function that solves systems of equations."""


TEMPLATES: Mapping[str, type] = MappingProxyType(
    {
        "module.py.j2": ModuleView,
        "sequence.py.j2": SequenceView,
        "network.py.j2": NetworkView,
        "repeated.py.j2": RepeatedView,
        "learning.py.j2": LearningView,
        "learning_blocks.py.j2": LearningBlocksView,
        "learning_laws.py.j2": LearningLawsView,
        "learning_layer.py.j2": LearningLayerView,
        "learning_network.py.j2": LearningNetworkView,
        "learning_network_helpers.py.j2": LearningNetworkHelpersView,
        "matrix_chunks.py.j2": MatrixChunksView,
        "vector_chunks.py.j2": VectorChunksView,
        "matrix_halves.py.j2": MatrixHalvesView,
        "vector_halves.py.j2": VectorHalvesView,
        "halves.py.j2": HalvesView,
        "coupled_chunks.py.j2": CoupledView,
        "coupled_vectors.py.j2": CoupledVectorsView,
        "coupled.py.j2": CoupledHelpersView,
        "sequence_helpers.py.j2": HelpersView,
        "attention.py.j2": AttentionView,
        "managed.py.j2": ManagedView,
        "block.py.j2": BlockView,
        "block_helpers.py.j2": BlockHelpersView,
        "dual_helpers.py.j2": DualHelpersView,
        "optimizer.py.j2": OptimizerView,
        "optimizer_contexts.py.j2": OptimizerContextsView,
        "optimizer_update.py.j2": OptimizerUpdateView,
        "optimizer_helpers.py.j2": OptimizerHelpersView,
        "training.py.j2": TrainingView,
        "slow_levels.py.j2": SlowLevelsView,
        "inverse.py.j2": InverseView,
        "solution.py.j2": SolutionView,
    }
)
"""Each template and the view that fills it."""
