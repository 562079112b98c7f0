"""States that move as one, chunk by chunk -> numbers, by the formulas of design section 5, written plainly.

With decays A_t (r x r), P[t,s] = A_t ... A_{s+1} built as products, writes w_t^m that state i gets times beta_t^{m,i} along b_t^m, and
p_t^{m,j} what write m reads state j with:

    w_t^m = c_t^m + sum_ij P[t-1,0][j,i] X_0^i p_t^{m,j} + sum over s < t of (sum_ij P[t-1,s][j,i] beta_s^{n,i} (b_s^n . p_t^{m,j})) w_s^n
    X_t^j = sum_i P[t,0][j,i] X_0^i + sum over s <= t of (sum_i P[t,s][j,i] beta_s^{n,i}) w_s^n b_s^n^T
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nlc.ir.affine import CoupledLaw, CoupledWrite, OutputRead
from nlc.ir.algebra import Expr, When
from nlc.ir.dims import Shape

Stream = Callable[[Expr], Tensor]
"""The value of an expression at every token."""


def run_coupled(
    law: CoupledLaw, reads: Sequence[OutputRead], stream: Stream, states: Sequence[Tensor], time: int, chunk: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The reads, each (batch, *axes, time, rows), and the final states; `states` are (batch, *axes, *shape)."""
    stacked = torch.stack([matrix_of(state, law.shape) for state in states], -3)
    tokens = Tokens.of(law, stream, stacked, time)
    queries = [tokens.vector(read.vector, stream) for read in reads]
    places = [[(state.component, state.part) for state in law.states].index((read.component, read.part)) for read in reads]
    answers = [[query.new_zeros(*query.shape[:-2], 0, stacked.shape[-2])] for query in queries]
    for start in range(0, time, chunk):
        inside = slice(start, min(start + chunk, time))
        piece = Chunk(tokens.at(inside), stacked)
        for read, place, query, answer in zip(reads, places, queries, answers, strict=True):
            answer.append(piece.read(query[..., inside, :], place, read.when is When.CURRENT))
        stacked = piece.final()
    found = [torch.cat(answer, -2) for answer in answers]
    final = [state_of(matrix, law.shape) for matrix in stacked.unbind(-3)]
    return found if law.shape else [answer[..., 0] for answer in found], final


def matrix_of(state: Tensor, shape: Shape) -> Tensor:
    """A state (..., *shape) as a matrix: a vector is one of one column, a number of one row too."""
    return state.reshape(*state.shape, *[1] * (2 - len(shape)))


def state_of(matrix: Tensor, shape: Shape) -> Tensor:
    """A matrix as the state that it stands for."""
    return matrix.reshape(matrix.shape[: matrix.dim() - 2 + len(shape)])


@dataclass(frozen=True, slots=True)
class Tokens:
    """Every token's decays (..., time, r, r), and of its m writes weights (..., time, m, r), given, along, and what each state is asked."""

    decays: Tensor
    weights: Tensor
    given: Tensor
    along: Tensor
    asked: Tensor

    @staticmethod
    def of(law: CoupledLaw, stream: Stream, states: Tensor, time: int) -> Tokens:
        count, rows, columns = states.shape[-3:]
        zero = states.new_zeros(*states.shape[:-3], time)
        decays = torch.stack([torch.stack([zero + stream(decay) for decay in row], -1) for row in law.decays], -2)
        blank = Tokens(decays, zero, zero.unsqueeze(-1).expand(*zero.shape, rows), zero.unsqueeze(-1).expand(*zero.shape, columns), zero)
        weights = [torch.stack([zero + stream(weight) for weight in write.weights], -1) for write in law.writes]
        given = [blank.given if write.given is None else blank.rows(write.given, stream) for write in law.writes]
        along = [blank.vector(write.along, stream) for write in law.writes]
        asked = [blank._asked(write, count, stream) for write in law.writes]
        return Tokens(decays, *(torch.stack(parts, zero.dim()) for parts in (weights, given, along, asked)))

    @staticmethod
    def rows(node: Expr, stream: Stream) -> Tensor:
        """A value at every token; a number is one row."""
        return stream(node) if node.shape else stream(node).unsqueeze(-1)

    def vector(self, node: Expr | None, stream: Stream) -> Tensor:
        """A vector at every token; a vector memory is a matrix of one column, which is read and written along the number one."""
        return self.along.new_ones(*self.decays.shape[:-2], 1) if node is None else stream(node)

    def _asked(self, write: CoupledWrite, count: int, stream: Stream) -> Tensor:
        """(..., time, r, columns): the sum over its reads of coefficient * weight * vector."""
        asked = self.along.new_zeros(*self.along.shape[:-1], count, self.along.shape[-1])
        for read in write.reads:
            weights = torch.stack([stream(weight).expand(self.along.shape[:-1]) for weight in read.weights], -1)
            asked = asked + (stream(read.coefficient).unsqueeze(-1) * weights).unsqueeze(-1) * stream(read.vector).unsqueeze(-2)
        return asked

    def at(self, tokens: slice) -> Tokens:
        """Those of a stretch."""
        before = (slice(None),) * (self.decays.dim() - 3)
        return Tokens(*(x[(*before, tokens)] for x in (self.decays, self.weights, self.given, self.along, self.asked)))


class Chunk:
    """The tokens of one chunk, and the states (..., r, rows, columns) before them."""

    def __init__(self, tokens: Tokens, states: Tensor) -> None:
        self.tokens, self.states = tokens, states
        self.products = _products(tokens.decays)
        self.shares = torch.einsum("...tsji,...smi->...tsmj", self.products[..., 1:, :, :], tokens.weights)
        before = self.products[..., :-1, 0, :, :]
        target = tokens.given + torch.einsum("...tji,...irc,...tmjc->...tmr", before, states, tokens.asked)
        overlap = torch.einsum("...tmjc,...snc,...tsnj->...tmsn", tokens.asked, tokens.along, self.shares[..., :-1, :, :, :])
        system = overlap.flatten(-2).flatten(-3, -2)
        identity = torch.eye(system.shape[-1], dtype=system.dtype)
        self.written: Tensor = torch.linalg.solve_triangular(identity - system, target.flatten(-3, -2), upper=False, unitriangular=True)

    def read(self, query: Tensor, place: int, is_new: bool) -> Tensor:
        """One state at every token, times the query: (..., n, rows)."""
        rows = slice(1, None) if is_new else slice(None, -1)
        kept = torch.einsum("...ti,...irc,...tc->...tr", self.products[..., rows, 0, place, :], self.states, query)
        weights = torch.einsum("...tc,...snc,...tsn->...tsn", query, self.tokens.along, self.shares[..., rows, :, :, place])
        return kept + weights.flatten(-2) @ self.written

    def final(self) -> Tensor:
        """The states after the chunk's last token."""
        kept = torch.einsum("...ji,...irc->...jrc", self.products[..., -1, 0, :, :], self.states)
        written = torch.unflatten(self.written, -2, self.tokens.along.shape[-3:-1])
        return kept + torch.einsum("...snj,...snr,...snc->...jrc", self.shares[..., -1, :, :, :], written, self.tokens.along)


def _products(decays: Tensor) -> Tensor:
    """P[t,s] = A_t ... A_{s+1} for 0 <= s <= t <= n, and 0 above: (..., n, r, r) -> (..., n + 1, n + 1, r, r)."""
    size, count = decays.shape[-3] + 1, decays.shape[-1]
    one = torch.eye(count, dtype=decays.dtype).expand(*decays.shape[:-3], 1, count, count)
    row, rows = one, [torch.nn.functional.pad(one, (0, 0, 0, 0, 0, size - 1))]
    for factor in decays.unbind(-3):
        row = torch.cat((factor.unsqueeze(-3) @ row, one), -3)
        rows.append(torch.nn.functional.pad(row, (0, 0, 0, 0, 0, size - row.shape[-3])))
    return torch.stack(rows, -4)
