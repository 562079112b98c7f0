"""What the templates of models see, and those of levels that learn from the task loss inside the context."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A model as an `nn.Module`; `stream` is what its tokens are called, `empty` makes the logits of no tokens.

    `logits_of_loss` is the line by which `loss` runs it, `blocks` the text of what a model does block by block whose levels learn.
    """

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    attributes: tuple[str, ...]
    reset_parameters: tuple[str, ...]
    initial_state: tuple[str, ...]
    stream: str
    forward_says: str
    forward_body: tuple[str, ...]
    loss_says: str
    logits_of_loss: str
    step_body: tuple[str, ...]
    empty: str
    blocks: str


@dataclass(frozen=True, slots=True)
class RepeatedView:
    """What a model repeats, as an `nn.Module`; `levels` and `learned` when something in it learns from the loss."""

    name: str
    says: str
    constructor: tuple[str, ...]
    attributes: tuple[str, ...]
    reset_parameters: tuple[str, ...]
    initial_state: tuple[str, ...]
    forward_body: tuple[str, ...]
    step_body: tuple[str, ...]
    levels: tuple[str, ...]
    learned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LearningView:
    """Levels that learn from the task loss inside the context, as an `nn.Module`: `blocks` is the text of what it does block by block."""

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    attributes: tuple[str, ...]
    reset_parameters: tuple[str, ...]
    initial_says: str
    zeros: tuple[str, ...]
    forward: tuple[str, ...]
    forward_by_token: tuple[str, ...]
    step: tuple[str, ...]
    streams: str
    of_token: str
    tokens: int
    blocks: str
    started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LearningBlocksView:
    """The methods of such a module: the loop, the slopes of the loss by the slots called `names`, and the text of `laws`."""

    in_blocks: tuple[str, ...]
    dtype: str
    empty: str
    slopes_of: tuple[str, ...]
    names: tuple[str, ...]
    slopes: tuple[str, ...]
    begins: bool
    laws: str


@dataclass(frozen=True, slots=True)
class LearningLawsView:
    """The methods of such levels that are their laws: the output, and the state after a block.

    `begins` are the lines that start states again at the start of a block.
    """

    read: tuple[str, ...]
    read_body: tuple[str, ...]
    learned: tuple[str, ...]
    learned_body: tuple[str, ...]
    begins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LearningLayerView:
    """Such levels as a layer of a model, which takes the slopes of its loss; `constant` makes those so that nothing learns through."""

    name: str
    docstring: tuple[str, ...]
    constructor: tuple[str, ...]
    attributes: tuple[str, ...]
    reset_parameters: tuple[str, ...]
    initial_says: str
    zeros: tuple[str, ...]
    stream: str
    names: tuple[str, ...]
    begins: bool
    dtype: str
    constant: tuple[str, ...]
    laws: str
    started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LearningNetworkView:
    """What a model does block by block whose layers learn from its loss; `graph` is what autograd keeps where slower levels are trained.

    `untold` is the target of a token that has none, `read` the body that runs the network, `kernel` chooses an attention that has slopes of
    slopes, where they are asked for.
    """

    stream: str
    tokens: int
    untold: int
    empty: str
    graph: str
    kernel: str
    read: tuple[str, ...]
    levels: tuple[str, ...]
    learned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LearningNetworkHelpersView:
    """The functions that such a model and its layers call."""
