"""The algebra of stacked states and writes, proved exactly at small sizes: any decays between the states, any weights, any reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import pytest
import sympy  # type: ignore[import-untyped]

from tests.rules.symbolic import Entries, same
from tests.rules.test_forms import table

COLUMNS = 2
"""Rows of the states are independent of one another, so one row proves all."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk: states (r, columns), decays A (n, r, r), and of each write weights beta (n, m, r), given c (n, m), along b (n, m, columns)
    and read p (n, m, r, columns); query q (n, columns)."""

    state: Entries
    decays: Entries
    weights: Entries
    given: Entries
    along: Entries
    read: Entries
    query: Entries

    def by_token(self) -> tuple[Entries, Entries]:
        """What is read of every state after every token, and the last states, by the recurrence."""
        state, reads = self.state, []
        for t in range(len(self.given)):
            writes = [c + sum(state[j] @ p[j] for j in range(len(state))) for c, p in zip(self.given[t], self.read[t], strict=True)]
            kept = self.decays[t] @ state
            state = kept + sum(numpy.multiply.outer(self.weights[t, m], w * self.along[t, m]) for m, w in enumerate(writes))
            reads.append(state @ self.query[t])
        return numpy.array(reads), state

    def shares(self) -> list[Entries]:
        """Row t: how much of every state at the start, and of every write, is in each state after t tokens, joined by halves."""
        states, writes = self.state.shape[0], self.weights.shape[1]
        moves = [numpy.concatenate((a, beta.T), 1) for a, beta in zip(self.decays, self.weights, strict=True)]
        start = numpy.concatenate((numpy.eye(states, dtype=int), numpy.zeros((states, len(moves) * writes), dtype=int)), 1)
        rows = _joined(moves, states)
        return [start, *numpy.split(rows, len(moves))]

    def by_form(self) -> tuple[Entries, Entries]:
        """The same from the triangular system of the chunk's writes."""
        states, (tokens, count) = self.state.shape[0], self.given.shape
        shares = self.shares()
        system, right = sympy.eye(tokens * count), sympy.zeros(tokens * count, 1)
        along = self.along.reshape(tokens * count, -1)
        for t in range(tokens):
            for m in range(count):
                read, row = self.read[t, m], t * count + m
                asked = shares[t][:, :states].T @ read
                right[row] = self.given[t, m] + (self.state * asked).sum()
                for s in range(t * count):
                    system[row, s] -= sum(shares[t][j, states + s] * (along[s] @ read[j]) for j in range(states))
        writes = numpy.array(system.lower_triangular_solve(right).tolist(), dtype=object)
        after = [share[:, :states] @ self.state + share[:, states:] @ (writes * along) for share in shares]
        return numpy.array([state @ q for state, q in zip(after[1:], self.query, strict=True)]), after[-1]


def _joined(moves: list[Entries], states: int) -> Entries:
    """Two halves meet at their border: the right one moves what the left one left."""
    if len(moves) == 1:
        return moves[0]
    left, right = _joined(moves[: len(moves) // 2], states), _joined(moves[len(moves) // 2 :], states)
    upper = numpy.concatenate((left, numpy.zeros((len(left), right.shape[1] - states), dtype=int)), 1)
    lower = numpy.concatenate((right[:, :states] @ left[-states:], right[:, states:]), 1)
    return numpy.concatenate((upper, lower))


def chunk(states: int, writes: int, tokens: int) -> Chunk:
    return Chunk(
        table("X", states, COLUMNS),
        table("A", tokens, states, states),
        table("beta", tokens, writes, states),
        table("c", tokens, writes),
        table("b", tokens, writes, COLUMNS),
        table("p", tokens, writes, states, COLUMNS),
        table("q", tokens, COLUMNS),
    )


@pytest.mark.parametrize(("states", "writes", "tokens"), [(1, 2, 2), (2, 1, 2), (2, 2, 2), (3, 1, 2), (2, 1, 3)])
def test_the_stacked_form_is_exact(states: int, writes: int, tokens: int) -> None:
    small = chunk(states, writes, tokens)
    for derived, truth in zip(small.by_form(), small.by_token(), strict=True):
        assert same(derived, truth)


def test_without_reads_the_system_is_empty() -> None:
    small = chunk(2, 2, 3)
    unread = Chunk(small.state, small.decays, small.weights, small.given, small.along, 0 * small.read, small.query)
    for derived, truth in zip(unread.by_form(), unread.by_token(), strict=True):
        assert same(derived, truth)


def test_the_proof_would_see_states_that_are_mixed_up() -> None:
    small = chunk(2, 1, 2)
    wrong = Chunk(small.state, small.decays.swapaxes(1, 2), small.weights, small.given, small.along, small.read, small.query)
    assert not same(wrong.by_form()[0], small.by_token()[0])
