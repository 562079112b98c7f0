"""The cost model: how long a chunk is, by what each token of each copy of a memory of (rows, columns) costs.

In chunks of C tokens it counts

    inside a chunk    pairs * C * (rows + columns)    products of every token with those of its chunk: overlaps, and what they carry over
    between chunks    (carried * rows * columns + started) / C    the state that is moved in and out, and the calls that a chunk takes

With r stacked states and w writes a token there are w^2 pairs, r times as much to carry, and r * w * C shares to be made.

What does not depend on C is left out. `pairs` is 1 for a prefix sum, 1.5 where the writes solve a system too, and 2 by halves, where
decays are multiplied on both sides. In torch's kernel of attention, where a chunk of queries looks at a sliding window, it is 0.5. The
weights are measured (float32, 2 cores, benchmarks/forms.py): a chunk of 64 is the fastest at (1, 4, 2048, 64), with 32 and 128 some
10 % behind; of attention 64 and 128 are the fastest, over windows of 64 and 512 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nlc.ir.dims import Shape
from nlc.ir.model import Model
from nlc.ir.program import Blocks, Form, MemoryProgram
from nlc.schedule.work import default_sizes

CARRIED = 90
"""What a number of the state costs between two chunks, in products of two numbers inside one."""

STARTED = 400_000
"""What the calls of one chunk cost, in the same products."""

PAIRS: Mapping[Form, float] = MappingProxyType(
    {
        Form.PREFIX_SUM: 1.0,
        Form.TRIANGULAR: 1.5,
        Form.HALVED_PREFIX_SUM: 2.0,
        Form.HALVED_TRIANGULAR: 2.5,
        Form.STACKED_PREFIX_SUM: 1.0,
        Form.STACKED_TRIANGULAR: 1.5,
        Form.ATTENTION: 0.5,
    }
)
SHARE = 100
"""What a share of a state or a write costs to make, in the same products."""

LENGTHS = (16, 32, 64, 128, 256)
"""The chunks that are compared: shorter ones are all calls, longer ones all pairs."""


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """A chunk length and the sentence that says why."""

    tokens: int
    because: str


def choose_chunk(model: Model, memories: tuple[MemoryProgram, ...], blocks: Blocks) -> ChunkChoice:
    """The length of the least cost for all memories that run in chunks, at the sizes that the spec gives; at most a block."""
    moving = [memory for memory in memories if memory.takes_chunk]
    longest = blocks.tokens if blocks.are_used else LENGTHS[-1]
    if longest <= LENGTHS[0]:
        return ChunkChoice(longest, f"a chunk is a whole block of {longest} tokens, since a shorter one only takes more calls")
    costs = {length: sum(_cost(model, memory, length) for memory in moving) for length in _lengths(longest)}
    best = min(costs, key=lambda length: costs[length])
    others = ", ".join(f"{length} {costs[length] / costs[best]:.2f} times as much" for length in costs if length != best)
    return ChunkChoice(best, f"the least cost by the model, which counts what depends on the chunk ({others})")


def _lengths(longest: int) -> Iterator[int]:
    """The lengths to compare, up to that of a block."""
    yield from (length for length in LENGTHS if length < longest)
    yield min(longest, LENGTHS[-1])


def _cost(model: Model, memory: MemoryProgram, tokens: int) -> float:
    rows, columns = default_sizes(model, _shape(model, memory))
    law = memory.classified.coupled if memory.classified.affine is None or memory.form is Form.STACKED_TRIANGULAR else None
    states, writes = (1, _rows(memory)) if law is None else (len(law.states), len(law.writes))
    carried = 0 if memory.window is not None else CARRIED * states * rows * columns
    shares = 0 if law is None else SHARE * states * writes * tokens
    inside = PAIRS[memory.form] * writes**2 * tokens * (rows + columns) + shares
    return inside + (carried + STARTED) / tokens


def _rows(memory: MemoryProgram) -> int:
    """How many writes of a token a chunk tells in one system."""
    affine = memory.classified.affine
    return len(affine.writes) if affine is not None and memory.form is Form.HALVED_TRIANGULAR else 1


def _shape(model: Model, memory: MemoryProgram) -> Shape:
    """The shape of its state, of attention the sizes of values and keys."""
    if memory.window is not None and memory.window.attention is not None:
        return (*model.component(memory.component).states[0].shape, *memory.window.attention.query.shape)
    law = memory.classified.affine or memory.classified.coupled
    assert law is not None, memory
    return law.shape
