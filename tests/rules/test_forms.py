"""One loop over the table of forms: each condition has a witness, and the algebra of each parallel form is proved at a small size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import pytest
import sympy  # type: ignore[import-untyped]

from nlc.citations import resolve_citation
from nlc.ir.program import Form
from nlc.schedule.choose import choose_form
from nlc.schedule.memories import find_memories
from nlc.schedule.rules import FORM_RULES, FormRule
from tests.rules.symbolic import Entries, same
from tests.schedule.witnesses import EVERY_FOUR_TOKENS, FITTING, WITNESSES, fitting_laws, rows

LENGTH, ROWS, COLUMNS = 3, 1, 2
"""A chunk of three tokens. Rows of the state are independent of one another in every form, so one row proves all."""


def test_the_table_is_complete_and_ends_with_what_fits_everything() -> None:
    assert [rule.name for rule in FORM_RULES] == list(WITNESSES)
    assert {rule.form for rule in FORM_RULES} == set(Form)
    assert FORM_RULES[-1].requires == ()
    assert all(resolve_citation(cite) for rule in FORM_RULES for cite in rule.cites)
    assert [(rule.name, text) for rule, text in rows()] == [(name, text) for name, texts in WITNESSES.items() for text in texts]


@pytest.mark.parametrize("rule", FORM_RULES[:-1], ids=lambda rule: rule.name)
def test_what_fits_is_taken(rule: FormRule) -> None:
    (candidate,) = find_memories(fitting_laws(rule.name)).candidates
    form, decisions = choose_form(candidate)
    assert (form, decisions[-1].rule, decisions[-1].taken) == (rule.form, rule.name, True)
    assert not any(decision.taken for decision in decisions[:-1])


@pytest.mark.parametrize(("rule", "text"), rows(), ids=lambda item: item.name if isinstance(item, FormRule) else item[:30])
def test_each_witness_violates_its_condition_alone(rule: FormRule, text: str) -> None:
    candidates = find_memories(WITNESSES[rule.name][text](FITTING.get(rule.name, EVERY_FOUR_TOKENS))).candidates
    candidate = next(item for item in candidates if "memory" in item.members)
    assert [condition.text for condition in rule.requires if not condition.holds(candidate)] == [text]
    form, decisions = choose_form(candidate)
    assert form is not rule.form
    assert all(decision.because.startswith(f"needs {text}; ") for decision in decisions if decision.rule == rule.name)


def table(name: str, *extent: int) -> Entries:
    """A tensor of distinct symbols."""
    entries = numpy.empty(extent, dtype=object)
    for index in numpy.ndindex(*extent):
        entries[index] = sympy.Symbol("_".join((name, *map(str, index))), real=True)
    return entries


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of the affine law: decay a (a number, or one for each column), given c, along b, read p, query q; and the state before it."""

    state: Entries
    a: Entries
    c: Entries
    b: Entries
    p: Entries
    q: Entries

    def product(self, last: int, first: int) -> Entries:
        """P[last, first] = a_{first+1} ... a_last, tokens counted from 1."""
        return numpy.array(numpy.multiply.reduce(self.a[first:last], axis=0, initial=1))

    def by_token(self) -> tuple[Entries, Entries]:
        """All reads after the write, and the last state, by the recurrence."""
        state, reads = self.state, []
        for t in range(LENGTH):
            write = self.c[t] + state @ self.p[t]
            state = self.a[t] * state + numpy.multiply.outer(write, self.b[t])
            reads.append(state @ self.q[t])
        return numpy.array(reads), state

    def from_writes(self, writes: Entries) -> tuple[Entries, Entries]:
        """The same from the writes of the chunk, with P (design section 5)."""
        reads = numpy.array([self._read(writes, t, self.q[t - 1]) for t in range(1, LENGTH + 1)])
        columns = [self._read(writes, LENGTH, unit) for unit in numpy.eye(COLUMNS, dtype=int)]
        return reads, numpy.array(columns).T

    def _read(self, writes: Entries, t: int, vector: Entries) -> Entries:
        result = self.state @ (self.product(t, 0) * vector)
        for s in range(1, t + 1):
            result = result + (self.b[s - 1] @ (self.product(t, s) * vector)) * writes[s - 1]
        return numpy.array(result)


def prefix_sum(chunk: Chunk) -> Entries:
    """Writes that read nothing."""
    return chunk.c


def triangular(chunk: Chunk) -> Entries:
    """(I - L) w = c_t + S_0 P[t-1,0] p_t, with L[t,s] = b_s . P[t-1,s] p_t for s < t."""
    system = sympy.eye(LENGTH)
    right = sympy.zeros(LENGTH, ROWS)
    for t in range(1, LENGTH + 1):
        right[t - 1, :] = sympy.Matrix([chunk.c[t - 1] + chunk.state @ (chunk.product(t - 1, 0) * chunk.p[t - 1])])
        for s in range(1, t):
            system[t - 1, s - 1] -= chunk.b[s - 1] @ (chunk.product(t - 1, s) * chunk.p[t - 1])
    return numpy.array(system.lower_triangular_solve(right).tolist(), dtype=object)


PARALLEL: dict[Form, tuple[Callable[[Chunk], Entries], bool, tuple[int, ...]]] = {
    Form.PREFIX_SUM: (prefix_sum, False, (LENGTH,)),
    Form.TRIANGULAR: (triangular, True, (LENGTH,)),
    Form.HALVED_PREFIX_SUM: (prefix_sum, False, (LENGTH, COLUMNS)),
    Form.HALVED_TRIANGULAR: (triangular, True, (LENGTH, COLUMNS)),
}
"""How each form finds the writes of a chunk, whether they may read the state, and how many decays it has."""


@pytest.mark.parametrize("form", PARALLEL, ids=lambda form: form.value)
def test_the_algebra_of_the_form_is_exact(form: Form) -> None:
    writes, may_read, decays = PARALLEL[form]
    read = table("p", LENGTH, COLUMNS) if may_read else numpy.zeros((LENGTH, COLUMNS), dtype=int).astype(object)
    vectors = {name: table(name, LENGTH, COLUMNS) for name in ("b", "q")}
    chunk = Chunk(table("S", ROWS, COLUMNS), table("a", *decays), table("c", LENGTH, ROWS), vectors["b"], read, vectors["q"])
    for derived, truth in zip(chunk.from_writes(writes(chunk)), chunk.by_token(), strict=True):
        assert same(derived, truth)


def test_the_proof_would_see_a_wrong_mask() -> None:
    vectors = {name: table(name, LENGTH, COLUMNS) for name in ("b", "p", "q")}
    chunk = Chunk(table("S", ROWS, COLUMNS), table("a", LENGTH), table("c", LENGTH, ROWS), vectors["b"], vectors["p"], vectors["q"])
    late = numpy.concatenate((triangular(chunk)[1:], triangular(chunk)[:1]))
    assert not same(chunk.from_writes(late)[0], chunk.by_token()[0])


def test_every_parallel_form_has_a_proof() -> None:
    stacked = {Form.STACKED_PREFIX_SUM, Form.STACKED_TRIANGULAR}  # proved in test_stacked.py
    assert {*PARALLEL, *stacked, Form.ATTENTION, Form.WINDOW_TABLE, Form.BLOCKS, Form.DUAL, Form.RECURRENCE} == set(Form)


def test_gradients_of_a_block_add_up_in_one_product_and_its_reads_are_another() -> None:
    state, keys, values, queries = (
        table(*shape) for shape in (("S", 2, COLUMNS), ("k", LENGTH, COLUMNS), ("v", LENGTH, 2), ("q", LENGTH, COLUMNS))
    )
    by_token = sum(numpy.multiply.outer(state @ keys[t] - values[t], keys[t]) for t in range(LENGTH))
    assert same((keys @ state.T - values).T @ keys, numpy.array(by_token))
    assert same(queries @ state.T, numpy.array([state @ query for query in queries]))


def test_what_a_memory_has_of_its_momentum_s_gradients_is_a_product_of_two_triangles_of_decays() -> None:
    start, momentum, kept, decays = sympy.Symbol("W"), sympy.Symbol("S"), table("a", LENGTH), table("e", LENGTH)
    written, along, query = table("d", LENGTH), table("b", LENGTH, COLUMNS), table("q", LENGTH, COLUMNS)
    state, moving = numpy.array([start] * COLUMNS, dtype=object), numpy.array([momentum] * COLUMNS, dtype=object)
    first_state, first_moving, by_token = state, moving, []
    for t in range(LENGTH):
        moving = decays[t] * moving + written[t] * along[t]
        state = kept[t] * state + moving
        by_token.append(state @ query[t])
    own, others = left_of(kept), left_of(decays)
    fed = own[:, 1:] @ others[1:]
    for t in range(LENGTH):
        starts = own[t + 1, 0] * (first_state @ query[t]) + fed[t + 1, 0] * (first_moving @ query[t])
        writes = sum(fed[t + 1, s + 1] * (along[s] @ query[t]) * written[s] for s in range(LENGTH))
        assert same(numpy.array([starts + writes]), numpy.array([by_token[t]]))


def left_of(decay: Entries) -> Entries:
    """[t, s]: the decays after token s up to token t; row and column 0 are the start."""
    size = len(decay) + 1
    return numpy.array([[numpy.prod(decay[s:t]) if s <= t else 0 for s in range(size)] for t in range(size)], dtype=object)


Seen = tuple[dict[tuple[int, int], sympy.Expr], Entries, Entries, Entries]


def by_halves(query: Entries, key: Entries, decay: Entries) -> Seen:
    """Overlaps [t, s] for s < t, queries from the start, keys to the end, all decays: two halves see each other through their border."""
    count, half = len(query), len(query) // 2
    if count == 1:
        return {}, query, key, decay[0]
    above, first, early, left = by_halves(query[:half], key[:half], decay[:half])
    below, late, last, right = by_halves(query[half:], key[half:], decay[half:])
    across = {(half + t, s): late[t] @ early[s] for t in range(count - half) for s in range(half)}
    moved = {(half + t, half + s): value for (t, s), value in below.items()}
    queries, keys = numpy.concatenate((first, left * late)), numpy.concatenate((right * early, last))
    return above | across | moved, queries, keys, left * right


@pytest.mark.parametrize("length", [2, 3, 4])
def test_cutting_in_halves_multiplies_the_decays_between_exactly(length: int) -> None:
    query, key, decay = (table(name, length, COLUMNS) for name in ("q", "k", "a"))

    def between(t: int, s: int) -> Entries:
        return numpy.array(numpy.multiply.reduce(decay[s + 1 : t], axis=0, initial=1))

    overlaps, queries, keys, kept = by_halves(query, key, decay)
    assert overlaps.keys() == {(t, s) for t in range(length) for s in range(t)}
    assert all(same(numpy.array([value]), numpy.array([query[t] @ (between(t, s) * key[s])])) for (t, s), value in overlaps.items())
    assert same(queries, numpy.array([query[t] * between(t, -1) for t in range(length)]))
    assert same(keys, numpy.array([key[s] * between(length, s) for s in range(length)]))
    assert same(kept, between(length, -1))
