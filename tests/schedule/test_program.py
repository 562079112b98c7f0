"""Whole programs: memories in order, reads as streams, slots, timetable, decisions and their text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.algebra import State, When
from nlc.ir.build import add, matmul
from nlc.ir.model import InputStream, Model
from nlc.ir.program import Form, Program
from nlc.ir.show import expression_text
from nlc.schedule import DEFAULT_CHUNK, program_text, schedule_program
from tests import models
from tests.derive import systems
from tests.models import MATRIX, memory_state, stream
from tests.schedule.witnesses import laws_of


def program_of(model: Model) -> Program:
    return schedule_program(laws_of(model))


def forms(program: Program) -> dict[str, Form]:
    return {memory.component: memory.form for memory in program.memories}


def reads(program: Program) -> dict[str, str]:
    found = {}
    for read in (read for memory in program.memories for read in memory.reads):
        state = State(read.component, read.part, MATRIX, read.when)
        found[read.name] = expression_text(state if read.vector is None else matmul(state, read.vector))
    return found


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (models.linear_attention(), Form.PREFIX_SUM),
        (models.gated_linear_memory(), Form.PREFIX_SUM),
        (systems.vector_memory(), Form.PREFIX_SUM),
        (models.delta_rule(), Form.TRIANGULAR),
        (models.gated_delta_rule(), Form.TRIANGULAR),
        (systems.separate_read_and_write(), Form.TRIANGULAR),
        (systems.ridge_memory(), Form.TRIANGULAR),
        (systems.robust_memory(), Form.RECURRENCE),
        (systems.channel_gated_memory(), Form.HALVED_PREFIX_SUM),
        (systems.channel_gated_delta_rule(), Form.HALVED_TRIANGULAR),
        (models.delta_rule_with_momentum(), Form.STACKED_TRIANGULAR),
        (systems.momentum_in_linear_attention(), Form.STACKED_PREFIX_SUM),
        (systems.two_writes(), Form.STACKED_TRIANGULAR),
    ],
    ids=lambda item: item.name if isinstance(item, Model) else "",
)
def test_forms(model: Model, form: Form) -> None:
    program = program_of(model)
    assert {memory.form for memory in program.memories} == {form}
    assert program.is_parallel is (form is not Form.RECURRENCE)


def test_an_earlier_memory_is_read_as_a_stream() -> None:
    program = program_of(systems.two_memories())
    assert forms(program) == {"first": Form.TRIANGULAR, "second": Form.TRIANGULAR}
    assert reads(program) == {"first_read": "first @ p", "first_read_2": "prev(first) @ q", "second_read": "second @ q"}
    affine = program.memories[1].classified.affine
    assert affine is not None
    assert affine.writes[0].given is not None
    assert expression_text(affine.writes[0].given) == "beta * first_read"
    assert [(name, expression_text(value)) for name, value in program.outputs] == [("y", "second_read"), ("y1", "first_read_2")]


def test_a_memory_that_reads_what_runs_later_comes_after_it() -> None:
    program = program_of(systems.two_memories(first_reads=True, second_reads=False))
    assert program.laws.order.run_order == ("first", "second")
    assert [memory.component for memory in program.memories] == ["second", "first"]
    assert program.is_parallel


def test_memories_that_read_each_other_move_as_one() -> None:
    program = program_of(systems.two_memories(first_reads=True))
    (memory,) = program.memories
    assert (memory.members, memory.title, memory.form) == (("first", "second"), "first and second", Form.STACKED_TRIANGULAR)
    assert reads(program) == {"second_read": "second @ q", "first_read": "prev(first) @ q"}


def test_equal_reads_share_a_name() -> None:
    current = matmul(memory_state(When.CURRENT), stream("q"))
    before = matmul(memory_state(When.PREVIOUS), stream("q"))
    program = program_of(systems.with_memory(models.delta_rule().components[0], current, add(current, before)))
    assert reads(program) == {"memory_read": "memory @ q", "memory_read_2": "prev(memory) @ q"}
    assert [expression_text(value) for _, value in program.outputs] == ["memory_read", "memory_read + memory_read_2"]


def test_a_read_never_takes_a_word_of_the_spec() -> None:
    model = models.delta_rule()
    named = replace(model, inputs=(*model.inputs, InputStream(name="memory_read", shape=())))
    assert list(reads(program_of(named))) == ["memory_read_2"]


def test_slots_and_timetable() -> None:
    program = program_of(models.delta_rule_with_momentum())
    assert [slot.name for slot in program.slots] == ["memory.momentum", "memory"]
    assert program.timetable == (("every token", ("memory.momentum", "memory")),)


def test_an_optimizer_has_laws_and_state_alone() -> None:
    program = program_of(models.momentum())
    assert (program.memories, program.outputs, program.decisions) == ((), (), ())
    assert [slot.name for slot in program.slots] == ["momentum"]
    assert program.timetable == (("every step", ("momentum", "weights")),)
    assert not program.is_parallel


def test_the_chunk_can_be_chosen() -> None:
    laws = laws_of(models.delta_rule())
    assert schedule_program(laws).chunk == DEFAULT_CHUNK
    assert schedule_program(laws, chunk=16).chunk == 16
    with pytest.raises(CompileError, match="NLC501: a chunk cannot have 0 tokens"):
        schedule_program(laws, chunk=0)


def test_the_text_of_a_parallel_program() -> None:
    assert program_text(program_of(models.gated_delta_rule())).splitlines() == [
        "state",
        "    memory  matrix (d_v, d_k)",
        "timetable",
        "    every token  memory",
        "forms, in chunks of 64 tokens",
        "    64 tokens a chunk: the least cost by the model, which counts what depends on the chunk (16 2.10 times as much, "
        "32 1.24 times as much, 128 1.26 times as much, 256 2.15 times as much)",
        "    memory: triangular chunks",
        "        ScalarMinusLowRank: the old state is kept times alpha, and the writes read it at k alone",
        "        memory = alpha * prev(memory) + outer(beta * v - beta * alpha * (prev(memory) @ k), k)",
        "        memory_read = memory @ q",
        "        a token of a copy at 64 x 64 in float32: 53,248 operations in products, 1,792 bytes moved "
        "(token by token 24,576 and 34,048); state 16,384 bytes",
        "        prefix-sum not taken: needs a state that is kept up to a scalar, and that no write reads; "
        "its transition is ScalarMinusLowRank (linear-attention, gla, mamba2)",
        "        triangular-chunks taken: writes read the old state through vectors alone, so those of a chunk solve one "
        "triangular system; the rest is matrix products (deltanet, gated-deltanet)",
        "        proved for all sizes and lengths: triangular_step, triangular_step_with_decay, triangular_step_separate_vectors, "
        "triangular_output (claims/forms.yaml)",
        "outputs",
        "    y = memory_read",
    ]


def test_the_text_of_memories_that_move_as_one() -> None:
    assert program_text(program_of(models.delta_rule_with_momentum())).splitlines()[7:11] == [
        "    memory.momentum and memory: stacked triangular chunks",
        "        Companion: the states memory.momentum and memory move as one, and the writes read them at k alone",
        "        memory.momentum = 0.9 * prev(memory.momentum) + outer(write, k)",
        "        memory = 0.9 * prev(memory.momentum) + prev(memory) + outer(write, k)",
    ]


def test_the_text_of_a_recurrence_says_why() -> None:
    assert "needs one write a token; memory is written along 2 vectors" in program_text(program_of(systems.two_writes()))
    text = program_text(program_of(systems.robust_memory()))
    assert "forms: one memory is a recurrence, so the whole system runs token by token" in text
    assert "recurrence taken: no parallel form of the table fits, so the law runs token by token" in text


def test_the_text_of_an_optimizer() -> None:
    assert program_text(program_of(models.momentum())).splitlines() == [
        "state",
        "    momentum  like(weights)",
        "timetable",
        "    every step  momentum, weights",
    ]
