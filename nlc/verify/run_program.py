"""Program -> numbers: every memory in its chunked form, by the formulas of design section 5, written plainly.

Inside a chunk of n tokens, with S_0 the carried state and P[t,s] = a_{s+1} ... a_t built as products (so that a decay of 0 is exact):

    w_t = c_t + sum_j e_t^j S_{t-1} p_t^j,        S_t = P[t,0] S_0 + sum_{s<=t} P[t,s] w_s b_s^T

The writes solve (I - L) w = c + P[t-1,0] sum_j e^j S_0 p^j with L[t,s] = P[t-1,s] sum_j e_t^j (b_s . p_t^j); without reads L = 0.
A decay for each column goes inside the dot products: b_s . P[t-1,s] p_t. A vector is one column; with a decay for each entry,
every entry is a sum of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nlc.ir.affine import AffineLaw, OutputRead, Write
from nlc.ir.algebra import Due, Expr, Hyperparameter, Index, Input, Named, Parameter, Position, State, Tick, When
from nlc.ir.attention import WindowLaw
from nlc.ir.law import POSITION, PREVIOUS
from nlc.ir.model import InputStream, Model
from nlc.ir.program import Form, MemoryProgram, Program
from nlc.ir.recents import Recent, Shift
from nlc.verify.axes import axis_indices, axis_places, places_of, with_axes, with_places, without_joined, without_places
from nlc.verify.evaluate import Evaluator
from nlc.verify.older_values import at_first_part, unfolded
from nlc.verify.run_blocks import Block, stretches
from nlc.verify.run_coupled import matrix_of, run_coupled, state_of
from nlc.verify.run_dual import DualBlock
from nlc.verify.run_law import Slot, Tensors, named_parameters, of_tokens, run_laws, slot_name, starts
from nlc.verify.run_window import Table


def run_program(
    program: Program,
    inputs: Mapping[str, Tensor],
    state: Mapping[str, Tensor] | None = None,
    *,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    chunk: int,
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensors, Tensors]:
    """A program over a sequence, in chunks: as `run_laws`, which it is when some memory has no parallel form."""
    if not program.is_parallel:
        return run_laws(program.laws, inputs, state, sizes=sizes, hyperparameters=hyperparameters, parameters=parameters)
    model = program.model
    sample = inputs[of_tokens(model)]
    leading = (sample.shape[0], *(sizes[axis] for axis in model.axes))
    numbers = {name: sample.new_tensor(value) for name, value in hyperparameters.items()}
    indices = {axis: index.unsqueeze(-1) for axis, index in axis_indices(model, sizes, sample).items()}
    trained = named_parameters(model, parameters)
    begun = starts(program.laws, leading, sizes, sample, numbers, trained)
    states = begun if state is None else {slot: with_places(program.laws, slot, state[slot_name(model, *slot)]) for slot in begun}
    streams = {stream.name: _by_update(inputs[stream.name], stream, model).movedim(1, 1 + len(model.axes)) for stream in model.inputs}
    lasting = {stream.name for stream in model.inputs if stream.is_of_sequence}
    places = {axis: place - 1 for axis, place in axis_places(model).items()}
    around = Around(program, numbers, indices, sizes, leading, sample, trained, places, chunk)
    parts: list[Tensors] = []
    for tokens in stretches(program, states, sample.shape[1]):
        inside = slice(tokens.start * model.updates_per_tick, tokens.stop * model.updates_per_tick)
        stretch = {name: x if name in lasting else x[(slice(None),) * len(leading) + (inside,)] for name, x in streams.items()}
        outputs, states = around.run(stretch, states, inside.stop - inside.start)
        parts.append(outputs)
    last = slice(model.updates_per_tick - 1, None, model.updates_per_tick)
    whole = {item.name: torch.cat([part[item.name] for part in parts], len(leading)) for item in model.outputs}
    return {
        item.name: without_joined(model, item, whole[item.name]).movedim(1 + len(model.axes_of(item)), 1)[:, last] for item in model.outputs
    }, {slot_name(model, *slot): without_places(program.laws, slot, value) for slot, value in states.items()}


@dataclass(frozen=True, slots=True)
class Around:
    """What all tokens of a sequence share, and how a stretch of them is run."""

    program: Program
    hyperparameters: Mapping[str, Tensor]
    indices: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    axes: tuple[int, ...]
    like: Tensor
    parameters: Mapping[Slot, Tensor]
    places: Mapping[str, int]
    chunk: int

    def run(self, streams: Mapping[str, Tensor], states: Mapping[Slot, Tensor], updates: int) -> tuple[Tensors, dict[Slot, Tensor]]:
        """Outputs (batch, *axes or 1, time, *shape), and all that is carried on."""
        program, time = self.program, len(self.axes)
        past = [item.part for item in program.laws.kept if item.component == PREVIOUS]
        repeats = {item.name: program.model.updates_per_tick // item.every.updates_per_tick for item in program.model.inputs}
        earlier = {name: _earlier(states[PREVIOUS, name], streams[name], time, repeats[name]) for name in past}
        delayed = {name: x.narrow(time, 0, updates) for name, x in earlier.items()}
        found = dict(states)
        block = Block(program, found) if program.is_in_blocks else None
        leading = (*self.axes, updates)
        reads: dict[str, Tensor] = {}
        recents: dict[Expr, Tensor] = {}
        given = (self.hyperparameters, self.indices, reads, recents, self.sizes, leading, self.like, self.parameters, self.places, block)
        before = states.get((POSITION, ""), torch.zeros(()))
        sequence = Sequence(program.model, streams, delayed, *given, (before + torch.arange(updates)).to(self.like.dtype))
        final: dict[Slot, Tensor] = {**states, **{(PREVIOUS, name): x.select(time, -1) for name, x in earlier.items()}}
        if block is None and (POSITION, "") in states:
            final[POSITION, ""] = before + updates
        for item in program.laws.kept:
            if isinstance(item.value, Shift):
                final[item.component, item.part] = sequence.remember(item.value, states[item.component, item.part])
        for place, begun in enumerate(program.starts):
            if place > 0:
                final |= sequence.move(program.memories[place - 1], found, self.chunk)
            if block is not None and updates:
                block.begin(begun, sequence.stream, final)
        values = dict(program.outputs)
        model = program.model
        outputs = {item.name: sequence.stream(values[item.name], places_of(model, item, leading)) for item in model.outputs}
        if block is not None and updates:
            final |= block.end(sequence.stream, sequence.reads, final, updates)
        return outputs, final


def _by_update(x: Tensor, stream: InputStream, model: Model) -> Tensor:
    """A stream with a value for every update: (batch, time * updates a token, *axes or 1, *shape)."""
    whole = with_axes(x, stream, model)
    if stream.is_of_sequence:
        return whole.unsqueeze(1)
    return whole.flatten(1, 2) if stream.is_parted else whole.repeat_interleave(model.updates_per_tick, 1)


def _earlier(previous: Tensor, stream: Tensor, time: int, repeats: int) -> Tensor:
    """The stream along its time dim, with the value before its first token in front, as often as every value is repeated."""
    first = previous.unsqueeze(time).repeat_interleave(repeats, time)
    return torch.cat((first, stream.expand(*first.shape[:time], -1, *first.shape[time + 1 :])), time)


@dataclass(frozen=True, slots=True)
class Sequence:
    """All tokens of a sequence at once: every value is (batch, *axes, time, *shape); `reads` fills up memory by memory."""

    model: Model
    inputs: Mapping[str, Tensor]
    delayed: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    indices: Mapping[str, Tensor]
    reads: dict[str, Tensor]
    recents: dict[Expr, Tensor]
    sizes: Mapping[str, int]
    leading: tuple[int, ...]
    like: Tensor
    parameters: Mapping[Slot, Tensor]
    places: Mapping[str, int]
    block: Block | None
    place: Tensor

    def stream(self, node: Expr, leading: tuple[int, ...] | None = None) -> Tensor:
        """The value of an expression at every token."""
        value = Evaluator(self.sizes, self.like, self._leaf, places=self.places)(node)
        return value.expand(*(self.leading if leading is None else leading), *(dim.size(self.sizes) for dim in node.shape))

    def _leaf(self, node: Expr) -> Tensor:
        match node:
            case Named(name):
                return self.reads[name]
            case Recent():
                return self.recents[node]
            case Input(name, _, delayed):
                return (self.delayed if delayed else self.inputs)[name]
            case Hyperparameter(name):
                return self.hyperparameters[name]
            case Parameter(component, part):
                return self.parameters[component, part]
            case Position():
                return self.place
            case Index(axis):
                return self.indices[axis]
            case State() | Due() | Tick() if self.block is not None:
                return self.block.leaf(node, self.leading)
        raise ValueError(f"the affine form of a law cannot hold {node}")

    def remember(self, item: Shift, before: Tensor) -> Tensor:
        """The last values of an expression before every token, kept for who reads them, and those after the last token."""
        time, updates, parts = len(self.leading) - 1, self.leading[-1], self.model.updates_per_tick
        values, repeats = self.stream(item.x, (*before.shape[:time], updates)), parts // self.model.values_per_tick(item.x)
        whole = torch.cat((before.repeat_interleave(repeats, time), values), time)
        count = whole.shape[time] - updates
        self.recents[item.recent] = unfolded(whole, time, count, parts)
        return whole.narrow(time, updates, count)[(slice(None),) * time + (slice(None, None, repeats),)]

    def move(self, memory: MemoryProgram, states: Mapping[Slot, Tensor], chunk: int) -> dict[Slot, Tensor]:
        """One memory, or several that move as one, in whatever form: keeps what is read of them, and gives their final states."""
        final: dict[Slot, Tensor] = {}
        if memory.dual is not None:
            final = DualBlock(memory.dual, self.stream, states).run(memory.reads, self.reads)
        elif memory.window is not None:
            final = self.run_window(memory.window, memory, states)
        elif memory.form.is_chunked:
            final = self.run_memory(memory, states, chunk)
        for read in (read for read in memory.reads if read.before_token):
            self.reads[read.name] = at_first_part(self.reads[read.name], len(self.leading) - 1, self.model.updates_per_tick)
        return final

    def run_memory(self, memory: MemoryProgram, states: Mapping[Slot, Tensor], chunk: int) -> dict[Slot, Tensor]:
        """The same in chunks."""
        if memory.form in (Form.STACKED_PREFIX_SUM, Form.STACKED_TRIANGULAR):
            return self._run_together(memory, states, chunk)
        law = memory.classified.affine
        assert law is not None, memory
        slot = (law.component, law.part)
        return {slot: self.run(memory, law, states[slot], chunk)}

    def _run_together(self, memory: MemoryProgram, states: Mapping[Slot, Tensor], chunk: int) -> dict[Slot, Tensor]:
        law = memory.classified.coupled
        assert law is not None, memory
        slots = [(state.component, state.part) for state in law.states]
        reads, final = run_coupled(law, memory.reads, self.stream, [states[slot] for slot in slots], self.leading[-1], chunk)
        self.reads.update((read.name, value) for read, value in zip(memory.reads, reads, strict=True))
        return dict(zip(slots, final, strict=True))

    def run(self, memory: MemoryProgram, law: AffineLaw, state: Tensor, chunk: int) -> Tensor:
        """One memory over the sequence, chunk by chunk: keeps what is read of it, and gives its final state."""
        if len(law.shape) == 1 and law.decays_by_column:
            return self._run_entries(memory, law, state, chunk)
        matrix = matrix_of(state, law.shape)
        decay = self._decay(law)
        writes = [self._write(write, law, matrix) for write in law.writes]
        queries = [None if read.is_whole else self._vector(read.vector) for read in memory.reads]
        none = matrix.new_zeros(*self.leading[:-1], 0, *matrix.shape[-2:])
        answers: list[list[Tensor]] = [[none if read.is_whole else none[..., 0]] for read in memory.reads]
        for start in range(0, self.leading[-1], chunk):
            inside = slice(start, min(start + chunk, self.leading[-1]))
            piece = Chunk(decay[..., inside, :], [write.at(inside) for write in writes], matrix)
            for read, query, answer in zip(memory.reads, queries, answers, strict=True):
                answer.append(piece.whole(read) if query is None else piece.read(query[..., inside, :], read))
            matrix = piece.final()
        for read, answer in zip(memory.reads, answers, strict=True):
            found = torch.cat(answer, dim=len(self.leading) - 1)
            self.reads[read.name] = found if law.shape else found.squeeze(-1)
        return state_of(matrix, law.shape)

    def run_window(self, law: WindowLaw, memory: MemoryProgram, states: Mapping[Slot, Tensor]) -> dict[Slot, Tensor]:
        """A level that is solved over a window: keeps what is read of it, and gives what is kept of the window."""
        axes = len(self.leading) - 2
        kept = {name: states[law.component, name] for name, _ in law.data}
        now = {name: self.stream(value).movedim(1 + axes, 1) for name, value in law.data}
        table = Table(law, kept, now, states.get((POSITION, "")))
        value, after = table.run(Evaluator(self.sizes, self.like, self._leaf, places=self.places), self._leaf)
        for read in memory.reads:
            self.reads[read.name] = value.expand(*self.leading, *value.shape[len(self.leading) :])
        return {(law.component, name): stream for name, stream in after.items()}

    def _run_entries(self, memory: MemoryProgram, law: AffineLaw, state: Tensor, chunk: int) -> Tensor:
        """A vector with a decay for each entry: S_t = P[t,0] S_0 + sum over s <= t of P[t,s] c_s, entry by entry."""
        decay = self.stream(law.decay)
        given = sum((self.stream(write.given) for write in law.writes if write.given is not None), torch.zeros_like(decay))
        states = [state.unsqueeze(-2)]
        for start in range(0, self.leading[-1], chunk):
            inside = slice(start, min(start + chunk, self.leading[-1]))
            entering = torch.cat((states[-1][..., -1:, :], given[..., inside, :]), dim=-2)
            states.append(torch.einsum("...tsd,...sd->...td", _products(decay[..., inside, :]), entering)[..., 1:, :])
        whole = torch.cat(states, dim=-2)
        for read in memory.reads:
            self.reads[read.name] = whole[..., 1:, :] if read.when is When.CURRENT else whole[..., :-1, :]
        return whole[..., -1, :]

    def _decay(self, law: AffineLaw) -> Tensor:
        """(*leading, columns), or with one decay for all columns (*leading, 1)."""
        decay = self.stream(law.decay)
        return decay if law.decay.shape else decay.unsqueeze(-1)

    def _vector(self, node: Expr | None) -> Tensor:
        """A vector at every token; for a vector memory, which is a matrix of one column, it is the number one."""
        return self.like.new_ones(*self.leading, 1) if node is None else self.stream(node)

    def _rows(self, value: Expr) -> Tensor:
        """A value at every token, (*leading, rows); a number is one row."""
        return self.stream(value) if value.shape else self.stream(value).unsqueeze(-1)

    def _write(self, write: Write, law: AffineLaw, matrix: Tensor) -> Written:
        given = matrix.new_zeros(*self.leading, matrix.shape[-2]) if write.given is None else self._rows(write.given)
        asked = matrix.new_zeros(*self.leading, matrix.shape[-1])
        for read in write.reads:
            asked = asked + self.stream(read.coefficient).unsqueeze(-1) * self._vector(read.vector if write.along is not None else None)
        return Written(self._vector(write.along), given, asked)


@dataclass(frozen=True, slots=True)
class Written:
    """One write at every token: (given + S asked) along^T; `asked` is the sum of coefficient * vector over its reads."""

    along: Tensor
    given: Tensor
    asked: Tensor

    def at(self, tokens: slice) -> Written:
        return Written(self.along[..., tokens, :], self.given[..., tokens, :], self.asked[..., tokens, :])


class Chunk:
    """The tokens of one chunk of a memory: decay (..., n, columns or 1), writes, and the state (..., rows, columns) before them.

    The writes of a token are simultaneous; with r of them, entry t * r + i of `written` is write i of token t.
    """

    def __init__(self, decay: Tensor, writes: list[Written], state: Tensor) -> None:
        self.state = state
        self.products = _products(decay)
        count, tokens = len(writes), decay.shape[-2]
        self.along, given, asked = (
            torch.stack([getattr(write, name) for write in writes], -2).flatten(-3, -2) for name in ("along", "given", "asked")
        )
        before = self.products[..., :-1, :, :].repeat_interleave(count, -3)
        self.after_write = self.products[..., 1:, :].repeat_interleave(count, -2)
        target = given + torch.einsum("...rc,...tc->...tr", state, before[..., 0, :] * asked)
        system = _overlaps(asked, before[..., 1:, :].repeat_interleave(count, -2), self.along)
        identity = torch.eye(count * tokens, dtype=state.dtype)
        self.written: Tensor = torch.linalg.solve_triangular(identity - system, target, upper=False, unitriangular=True)

    def read(self, query: Tensor, read: OutputRead) -> Tensor:
        """The state at every token, times the query: (..., n, rows)."""
        rows = slice(1, None) if read.when is When.CURRENT else slice(None, -1)
        weights = _overlaps(query, self.after_write[..., rows, :, :], self.along)
        return torch.einsum("...rc,...tc->...tr", self.state, self.products[..., rows, 0, :] * query) + weights @ self.written

    def whole(self, read: OutputRead) -> Tensor:
        """The state itself at every token: (..., n, rows, columns)."""
        rows = slice(1, None) if read.when is When.CURRENT else slice(None, -1)
        written = torch.einsum("...tsc,...sr,...sc->...trc", self.after_write[..., rows, :, :], self.written, self.along)
        return self.products[..., rows, :1, :] * self.state.unsqueeze(-3) + written

    def final(self) -> Tensor:
        """The state after the chunk's last token."""
        kept = self.products[..., -1, :1, :] * self.state
        return kept + torch.einsum("...sr,...sc->...rc", self.written, self.after_write[..., -1, :, :] * self.along)


def _overlaps(query: Tensor, products: Tensor, along: Tensor) -> Tensor:
    """[t, s]: the sum over columns of query_t P[t,s] along_s."""
    return (query.unsqueeze(-2) * products * along.unsqueeze(-3)).sum(-1)


def _products(decay: Tensor) -> Tensor:
    """P[t,s] = a_{s+1} ... a_t for 0 <= s <= t <= n, and 0 above: (..., n, columns) -> (..., n + 1, n + 1, columns)."""
    size = decay.shape[-2] + 1
    row = decay.new_ones(*decay.shape[:-2], 1, decay.shape[-1])
    rows = [torch.nn.functional.pad(row, (0, 0, 0, size - 1))]
    for factor in decay.unbind(-2):
        row = torch.cat((row * factor.unsqueeze(-2), torch.ones_like(row[..., :1, :])), dim=-2)
        rows.append(torch.nn.functional.pad(row, (0, 0, 0, size - row.shape[-2])))
    return torch.stack(rows, dim=-3)
