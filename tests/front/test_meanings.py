"""What a spec means where the words alone could mislead: each of these was once taken in another sense, or not refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.diagnostics import CompileError, Diagnostic, render_all
from nlc.ir.model import Clock, Family, Model
from nlc.ir.show import expression_text
from tests.front.compiling import compiled, diagnostics_of
from tests.front.hostile import spec

OPTIMIZER = """\
nlc: 1
name: Local
kind: optimizer
inputs: {{gradient: like(weights)}}
hyperparameters: {{period: 8, decay: 0.5}}
{top}
levels:
  slow:
    memory: like(weights)
    objective: {objective}
    retention: decay
    optimizer: gradient_descent(1)
    every: period steps
  weights:
    objective: inner(weights, slow)
    optimizer: gradient_descent(0.1)
    {weights}
    every: {every}
"""


def written(folder: Path, host: str, **optimizers: str) -> Path:
    """A spec in a folder of specs, with optimizers by path (`__` for `/`)."""
    root = folder / "specs"
    for name, text in {**optimizers, "host": host}.items():
        path = root / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "host.yaml"


def optimizer(top: str = "", weights: str = "", every: str = "step", objective: str = "-inner(slow, gradient)") -> str:
    return OPTIMIZER.format(top=top, weights=weights, every=every, objective=objective)


def using(call: str) -> str:
    return spec().replace("gradient_descent(beta)", call)


def resolved(path: Path) -> Model:
    return pipeline.resolve(pipeline.parse(path))


def refusals(path: Path) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        compiled(pipeline.parse(path))
    return caught.value.diagnostics


def test_periods_of_an_optimizer_count_with_what_it_is_called_with(tmp_path: Path) -> None:
    path = written(tmp_path, using("local(period = 4)"), optimizers__local=optimizer())
    assert resolved(path).component("memory.slow").every == Clock(Family.TOKEN, Fraction(4))


def test_optimizers_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    first = using("one/local(decay = 0.25)").replace("outputs:", f"{second_level('two/local')}outputs:")
    texts = {"one__local": optimizer(), "two__local": optimizer(objective="inner(slow, gradient)")}
    model = resolved(written(tmp_path, first, **texts))
    assert expression_text(model.component("memory.slow").objective).startswith("-")
    assert not expression_text(model.component("second.slow").objective).startswith("-")


def second_level(call: str) -> str:
    entries = ("memory: matrix(d_v, d_k)", "objective: norm2(second(k) - v)", f"optimizer: {call}", "every: token")
    return "\n".join(["  second:", *(f"    {entry}" for entry in entries), ""])


@pytest.mark.parametrize("change", [{"every": "4 steps"}, {"weights": "reset: 8 steps"}, {"weights": "init: 1"}])
def test_what_the_weights_of_an_optimizer_cannot_pass_on_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    path = written(tmp_path, using("local(period = 1)"), optimizers__local=optimizer(**change))
    (refusal,) = refusals(path)
    assert refusal.code == "NLC414"
    assert refusal.labels[0].span.source.name.endswith("local.yaml")


def test_an_optimizer_does_not_see_the_definitions_of_its_host(tmp_path: Path) -> None:
    host = using("local").replace("levels:", "define:\n  own: {objective: norm2(v)}\nlevels:")
    (refusal,) = refusals(written(tmp_path, host, optimizers__local=optimizer(objective="own - inner(slow, gradient)")))
    assert refusal.code == "NLC201"
    assert refusal.labels[0].text == "`local` is used here"


def test_a_mistake_in_the_library_is_told_from_where_it_is_used() -> None:
    (refusal,) = diagnostics_of(spec().replace("    keys: k\n", "").replace("memory(k)", "memory"))
    first, second = refusal.labels
    assert (refusal.code, first.span.text, second.span.text) == ("NLC201", "l2", "prediction")
    assert "`keys: ...`" in refusal.help


REFUSED = {
    "what trains slow levels": (spec(top="outer: {objective: task}"), "NLC246"),
    "a stream of three sizes": (spec().replace("k: [d_k]", "k: [d_k, d_k, d_k]"), "NLC208"),
    "a state of a broken size": (spec().replace("matrix(d_v, d_k)", "matrix(d_v, d_k / 3)").replace("k: [d_k]", "k: [d_k / 3]"), "NLC217"),
    "one dim twice": (spec(learning_rate="sum(sum(outer(k, k), over = d_k))"), "NLC224"),
    "arguments of closed_form": (spec().replace("gradient_descent(beta)", "closed_form(beta)"), "NLC205"),
    "a vector in place of a number": (
        spec() + "claims: [{says: x, same_as: architectures/delta_rule, where: {beta: k}}]\n",
        "NLC210",
    ),
    "two conditions as a number": (spec(learning_rate="beta and beta"), "NLC220"),
    "a function as a number": (spec(learning_rate="(x) -> x"), "NLC220"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    text, code = REFUSED[what]
    diagnostics = diagnostics_of(text)
    assert code in {item.code for item in diagnostics}, render_all(diagnostics)


FINE = {
    "values that are numbers": spec(objective="sum(prediction) * value").replace("values: v", "values: beta"),
    "a period with a name in a claim": spec() + "claims:\n  - says: x\n    prove: memory == hold(memory, d_k tokens)\n",
    "a definition with capitals": spec(memory="table", top="define:\n  table: {states: {W: [d_v, d_k]}, read: (X) -> W @ X}"),
}


@pytest.mark.parametrize("what", FINE)
def test_fine(what: str) -> None:
    assert diagnostics_of(FINE[what]) == ()
