"""The whole line: a spec goes in, a module and its evidence come out; what a user may do from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import nlc
from nlc import pipeline
from nlc.ir.program import Form

SPECS = Path(__file__).parent.parent / "specs"

LOG_COSH = """\
nlc: 1
name: LogCoshMemory
says: A memory that takes large errors less seriously, with a rate that depends on the data.
dims: {d_k: 6, d_v: 4}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], x: [d_k]}
let:
  rate: sigmoid(dot(x, k))
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: sum(log(cosh(prediction - value)))
    retention: 0.9
    gradient_at: retained
    optimizer: gradient_descent(rate)
    every: token
outputs: {y: memory(q)}
claims:
  - says: the surprise is bounded
    prove: memory == 0.9 * prev(memory) - rate * outer(tanh(0.9 * prev(memory)(k) - v), k)
"""

WITH_MOMENTUM = LOG_COSH.replace("gradient_descent(rate)", "momentum(learning_rate = rate, decay = 0.8)").split("claims:")[0]

TWO_MEMORIES = """\
nlc: 1
name: TwoMemories
says: A delta memory whose error-free reading feeds an average, and an output that uses both.
dims: {d_k: 5, d_v: 3}
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {shape: [], range: [0, 1]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(beta)
    every: token
  average:
    memory: vector(d_v)
    values: memory(q)
    objective: l2
    optimizer: gradient_descent(beta / 2)
    every: token
outputs:
  y: memory(q) - average
  before: tanh(prev(memory)(q))
"""


def compiled(tmp_path: Path, text: str) -> nlc.Compiled:
    path = tmp_path / "invented.yaml"
    path.write_text(text)
    return nlc.compile_file(path)


@pytest.mark.parametrize("text", [LOG_COSH, WITH_MOMENTUM], ids=["plain", "with momentum"])
def test_an_objective_that_exists_only_in_a_spec_runs_as_a_recurrence_and_verifies(tmp_path: Path, text: str) -> None:
    result = compiled(tmp_path, text)
    assert all(memory.form is Form.RECURRENCE for memory in result.program.memories)
    assert result.report().as_expected


def test_memories_that_read_one_another_keep_their_parallel_forms(tmp_path: Path) -> None:
    result = compiled(tmp_path, TWO_MEMORIES)
    assert [memory.form for memory in result.program.memories] == [Form.TRIANGULAR, Form.PREFIX_SUM]
    assert result.report().as_expected


def test_overrides_replace_defaults() -> None:
    result = nlc.compile_file(SPECS / "architectures" / "delta_rule.yaml", d_k=8, d_v=4)
    memory = result.load().DeltaRule()
    y, state = memory(q=torch.randn(1, 3, 2, 8), k=torch.randn(1, 3, 2, 8), v=torch.randn(1, 3, 2, 4), beta=torch.rand(1, 3, 2))
    assert (y.shape, state.shape) == ((1, 3, 2, 4), (1, 2, 4, 8))


def test_an_override_that_names_nothing_is_refused() -> None:
    with pytest.raises(nlc.CompileError, match="has no `depth` to set"):
        nlc.compile_file(SPECS / "architectures" / "delta_rule.yaml", depth=2)


def test_a_wrong_spec_raises_with_its_diagnostics(tmp_path: Path) -> None:
    with pytest.raises(nlc.CompileError) as caught:
        compiled(tmp_path, LOG_COSH.replace("prediction - value", "prediction - key"))
    assert [item.code for item in caught.value.diagnostics] == ["NLC202"]


@pytest.mark.parametrize("stage", [stage.name for stage in pipeline.STAGES])
def test_every_stage_can_be_shown(stage: str) -> None:
    item = next(item for item in pipeline.STAGES if item.name == stage)
    assert item.show(pipeline.run_until(stage, SPECS / "optimizers" / "momentum.yaml"))


ONE_MODEL = "transformer"
"""Stands for all models where time is short: the others differ in their layers, which are verified by themselves."""


SLOW = (
    "atlas",
    "cms",
    "cms_across_contexts",
    "cms_in_context",
    "cms_independent",
    "cms_nested",
    "cms_nested_in_context",
    "dla",
    "dmgd",
    "hope_inner_per_token",
    "m3",
    "m3_guarded",
    "memora",
    "moneta",
    "self_modifying_titans",
    "titans_layer",
    "titans_linear_layer",
    "ttt_linear_layer",
    "yaad",
)
"""Whose oracle takes long: networks that are memories, and periods of steps."""


def shipped() -> Iterator[object]:
    """The shipped specs; the models but one are slow, as are those whose oracle is."""
    for path in sorted(SPECS.rglob("*.yaml")):
        is_slow = path.stem in SLOW or (path.parent.name == "models" and path.stem != ONE_MODEL)
        yield pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize("path", tuple(shipped()))
def test_the_committed_modules_are_what_the_specs_compile_to_and_do_what_they_say(path: Path) -> None:
    program = pipeline.compile_program(path)
    committed = (SPECS.parent / "generated" / path.relative_to(SPECS)).with_suffix(".py").read_text(encoding="utf-8")
    assert committed == pipeline.emit(program)
    report = pipeline.verify(program, committed)
    assert report.as_expected, "\n".join(line for fine, line in report.lines() if not fine)
