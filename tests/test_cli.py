"""Every command in this process: what it prints, what it writes, and how `--set` changes both (statuses in full: tests/front)."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlc.cli import COMMANDS, main
from nlc.pipeline import STAGES
from tests.architecture.modules import ROOT

DELTA = "architectures/delta_rule"
HALF = "levels.memory.optimizer=gradient_descent(0.5 * beta)"
RETAINED = ("--set", "levels.memory.retention=0.5", "--set", "levels.memory.gradient_at=retained")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "memory.yaml").write_text((ROOT / "specs" / f"{DELTA}.yaml").read_text())
    yield tmp_path


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


class Printed:
    """Runs a command that must end with a status; gives what it printed to standard output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        assert main(words) == status
        output, errors = self.capsys.readouterr()
        assert bool(errors) == (status == 2), errors
        return str(errors if status == 2 else output)


def test_check_says_nothing_when_all_is_well(printed: Printed) -> None:
    assert printed("check", "memory.yaml", DELTA) == ""
    assert json.loads(printed("check", "memory.yaml", "--format", "json")) == []


def test_check_points_at_the_mistake(printed: Printed) -> None:
    Path("bad.yaml").write_text(Path("memory.yaml").read_text().replace("keys: k", "keys: key_of_x"))
    assert "   --> bad.yaml:15:11\n" in printed("check", "bad.yaml", "memory.yaml", status=1)
    (mistake,) = json.loads(printed("check", "bad.yaml", "--format", "json", status=1))
    assert (mistake["code"], mistake["places"][0]["line"]) == ("NLC201", 15)


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_show_prints_every_stage_as_set(printed: Printed, stage: str) -> None:
    plain = printed("show", "--stage", stage, "memory.yaml")
    changed = printed("show", "--stage", stage, "memory.yaml", "--set", HALF, "--set", "d_k=7")
    assert plain and changed
    assert (plain == changed) == (stage == "order"), "the levels are the same; everything else shows the change"


def test_explain_gives_levels_laws_and_forms(printed: Printed) -> None:
    lines = [" ".join(line.split()) for line in printed("explain", "memory.yaml").splitlines()]
    for line in ("0 memory token 1 1", "error = prediction - v [objective 0.5 * norm2(memory @ k - v)]", "memory: triangular chunks"):
        assert line in lines


def test_explain_follows_what_is_set(printed: Printed) -> None:
    assert "retained    = 0.5 * prev(memory)" in printed("explain", "memory.yaml", *RETAINED)


def test_explain_orders_what_it_cannot_compile(printed: Printed) -> None:
    text = printed("explain", "memory.yaml", "--set", "levels.memory.every=(2 tokens) / 3", status=1)
    assert "(2 tokens) / 3" in text
    assert "error[NLC403]" in text and "--set:1:" in text


def test_a_wrong_setting_is_a_mistake_with_a_place(printed: Printed) -> None:
    for command in (("check",), ("show",), ("explain",), ("build", "-o", "out"), ("verify",)):
        text = printed(*command, "memory.yaml", "--set", "d_q=3", status=1)
        assert "memory.yaml has no `d_q` to set\n  --> --set:1:1\n" in text
        assert "did you mean `d_v`?" in text
    assert not Path("out").exists()


def test_build_writes_once(printed: Printed) -> None:
    assert printed("build", "memory.yaml") == "wrote memory.py\n"
    assert printed("build", "memory.yaml") == "unchanged memory.py\n"
    assert printed("build", "--check", "memory.yaml") == ""


def test_build_check_shows_what_is_stale(printed: Printed) -> None:
    assert "memory.py is missing" in printed("build", "--check", "memory.yaml", status=1)
    printed("build", "memory.yaml")
    text = Path("memory.yaml").read_text()
    Path("memory.yaml").write_text(text.replace("learning_rate = beta", "learning_rate = 0.5 * beta"))
    assert "memory.py is stale; run: nlc build memory.yaml" in printed("build", "--check", "memory.yaml", status=1)


def test_a_changed_spec_never_takes_the_place_of_its_own_module(printed: Printed) -> None:
    printed("build", "memory.yaml")
    before = Path("memory.py").read_text()
    assert "say with -o DIR" in printed("build", "memory.yaml", "--set", "d_k=7", status=2)
    assert printed("build", "memory.yaml", "--set", "d_k=7", "-o", "out") == "wrote out/memory.py\n"
    changed = Path("out/memory.py").read_text()
    assert "Changed from outside by --set d_k=7\n" in changed and "d_k: int = 7" in changed
    assert Path("memory.py").read_text() == before
    assert printed("build", "--check", "memory.yaml", "--set", "d_k=7", "-o", "out") == ""
    assert "stale" in printed("build", "--check", "memory.yaml", "-o", "out", status=1)


def test_verify_decides_claims_and_writes_them_down(printed: Printed) -> None:
    text = printed("verify", "memory.yaml", "--json", "verdicts.json")
    assert "squares close (not built yet: the text that nlc build would write)" in text.splitlines()[0]
    verdicts = json.loads(Path("verdicts.json").read_text())
    assert {"spec", "claim", "verdict", "expected", "method"} <= set.intersection(*map(set, verdicts))
    assert [item["verdict"] for item in verdicts] == ["tested", "proved", "proved", "ill-typed", "refuted", "proved", "proved"]


def test_verify_of_a_changed_spec_leaves_its_module_alone(printed: Printed) -> None:
    Path("memory.py").write_text("no module of this spec\n")
    text = printed("verify", "memory.yaml", "--set", HALF, status=1)
    assert "squares close (changed by --set: the text that nlc build would write)" in text.splitlines()[0]
    assert "BAD   refuted   the write is the delta rule (expected proved)" in text


def test_verify_of_a_changed_spec_where_it_was_built(printed: Printed) -> None:
    printed("build", "memory.yaml", "--set", "d_k=7", "-o", "out")
    assert "squares close (out/memory.py)" in printed("verify", "memory.yaml", "--set", "d_k=7", "-o", "out").splitlines()[0]


CLAIMS = """\
nlc: 1
kind: claims
name: Numbers
says: products
sections:
  - name: Dots
    dims: {d: 3}
    inputs: {a: [d], b: [d]}
    claims:
      - says: the order does not count
        prove: dot(a, b) == dot(b, a)
"""


def test_verify_of_several_at_a_time_is_verify_of_one_after_the_other(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[int] = []

    class Counted(concurrent.futures.ProcessPoolExecutor):
        def __init__(self, jobs: int, *rest: Any, **options: Any) -> None:
            pools.append(jobs)
            super().__init__(jobs, *rest, **options)

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Counted)
    for name in ("first", "second"):
        Path(f"{name}.yaml").write_text(CLAIMS)
    Path("wrong.yaml").write_text("nlc: 1\nkind: claims\nsections: [\n")
    files = ("first.yaml", "second.yaml", "wrong.yaml")
    text = printed("verify", *files, "--jobs", "2", status=1)
    assert text == printed("verify", *files, status=1)
    assert pools == [2]
    assert all(word in text for word in ("first.yaml: 1 of 1", "second.yaml: 1 of 1", "error[NLC"))


def test_new_writes_a_spec_that_checks_and_replaces_nothing(printed: Printed) -> None:
    assert printed("new", "MyMemory") == "wrote my_memory.yaml; next: nlc check my_memory.yaml\n"
    assert printed("check", "my_memory.yaml") == ""
    assert "my_memory.yaml exists already" in printed("new", "MyMemory", status=2)


SIZES = ("steps=2", "length=16", "d_model=8", "heads=1", "layers=1", "d_k=4", "d_v=4", "eval_windows=1")
DATA = (str(ROOT / "README.md"), str(ROOT / "CONTRIBUTING.md"))


def training(*pairs: str) -> list[str]:
    return ["train", "memory.yaml", "--data", *DATA, *(word for text in (*SIZES, *pairs) for word in ("--set", text))]


def test_train_takes_settings_of_the_run_and_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    words = training()
    assert main(words) == 0
    assert "the run is in runs/DeltaRule" in capsys.readouterr().out
    assert json.loads(Path("runs/DeltaRule/summary.json").read_text())["steps"] == 2
    assert main([*words, "--set", "steps=x"]) == 1
    assert "error[NLC703]" in capsys.readouterr().out


def test_train_takes_numbers_of_its_optimizer_and_changes_of_the_spec() -> None:
    assert main([*training("beta1=0.5", "levels.memory.retention=0.5"), "--optimizer", "optimizers/adam"]) == 0
    found = json.loads(Path("runs/DeltaRule/settings.json").read_text())["spec"]
    assert (found["optimizer"], found["numbers"]) == ("optimizers/adam", {"d_k": 4, "d_v": 4, "beta1": 0.5})
    assert found["overrides"] == ["levels.memory.retention=0.5"]


def test_a_model_is_trained_as_it_is(printed: Printed) -> None:
    sizes = ("layers=1", "d_model=16", "heads=2", "d_hidden=24", "learning_rate=0.01", "steps=2", "length=16", "batch=2", "eval_windows=1")
    words = ["train", "models/gated_deltanet", "--data", *DATA, *(word for text in sizes for word in ("--set", text)), "-o", "run"]
    assert main(words) == 0
    found = json.loads(Path("run/settings.json").read_text())
    assert found["spec"]["overrides"] == list(sizes[:5]) and found["spec"]["numbers"] == {}
    assert not {"layers", "d_model", "heads", "learning_rate", "vocabulary"} & set(found["settings"])
    assert main(["train", "--resume", "run", "--set", "steps=3"]) == 0
    printed.capsys.readouterr()
    assert printed("generate", "run", "--tokens", "5", "--temperature", "0")
    assert "going on learning changes" in printed("evaluate", "run", "--adapt", "--tokens", "100")
    assert "did you mean `layers`?" in printed("train", *words[1:4], "--set", "layer=2", status=1)
    assert "error[NLC720]: GatedDeltaNet knows 256 tokens, and the text has 257" in printed(
        *words, "--force", "--set", "tokens=bpe", status=1
    )
    assert main([*words, "--force", "--set", "tokens=bpe", "--set", "vocabulary=300"]) == 0
    assert json.loads(Path("run/text/tokenizer.json").read_text())["name"] == "bpe"


def test_what_cannot_train_is_refused(printed: Printed) -> None:
    for words, message in (
        (("optimizers/adam",), "optimizers/adam is an optimizer; architectures and models are trained"),
        (
            ("models/transformer", "--optimizer", "optimizers/adam"),
            "models/transformer says itself what moves it; to change that, for example: ",
        ),
        (("memory.yaml", "--optimizer", DELTA), f"{DELTA} is no optimizer"),
        (("memory.yaml", "--optimizer", "optimizers/muon"), "optimizers/muon moves matrices alone"),
    ):
        assert message in printed("train", *words, "--data", *DATA, status=2)
    assert "say what to train and on which text" in printed("train", "memory.yaml", status=2)
    assert "--resume goes on with a run as it is" in printed("train", "--resume", "run", "--force", status=2)


def test_a_run_goes_on_generates_and_is_evaluated(printed: Printed) -> None:
    assert main(training()) == 0
    run = "runs/DeltaRule"
    assert main(["train", "--resume", run, "--set", "steps=4"]) == 0
    assert json.loads(Path(run, "summary.json").read_text())["steps"] == 4
    printed.capsys.readouterr()
    words = ("generate", run, "--tokens", "9")
    first, second, other = (printed(*words, "--seed", seed) for seed in ("0", "0", "1"))
    assert first == second != other and all(1 <= len(text) <= 10 for text in (first, other)), "nine bytes, and the end of the line"
    assert printed(*words, "--temperature", "0", "--prompt", "né") == printed(*words, "--top", "1", "--prompt", "né")
    text = printed("evaluate", run, "--adapt", "--tokens", "400", "--length", "32")
    assert "fresh in every window: 5." in text and "going on learning changes the loss by " in text
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert list(found) == ["fresh in every window", "going on through each document"]
    assert Path(run, "positions.svg").read_text().startswith("<svg")
    assert main(["evaluate", run, "--data", "memory.yaml", "--tokens", "400"]) == 0
    assert list(json.loads(Path(run, "evaluation.json").read_text())) == ["fresh in every window"]


def test_a_run_whose_spec_has_moved_or_changed(printed: Printed) -> None:
    assert main(training()) == 0
    Path("memory.yaml").rename("moved.yaml")
    assert "memory.yaml" in printed("generate", "runs/DeltaRule", status=2)
    assert main(["generate", "runs/DeltaRule", "--spec", "moved.yaml", "--tokens", "3"]) == 0
    assert main(["train", "moved.yaml", "--resume", "runs/DeltaRule", "--set", "steps=3"]) == 0
    Path("moved.yaml").write_text(Path("moved.yaml").read_text().replace("learning_rate = beta", "learning_rate = 0.5 * beta"))
    printed.capsys.readouterr()
    assert "error[NLC718]" in printed("evaluate", "runs/DeltaRule", "--spec", "moved.yaml", status=1)


def test_only_a_run_generates_and_is_evaluated(printed: Printed) -> None:
    for command in ("generate", "evaluate"):
        assert "error[NLC715]: nothing holds no run" in printed(command, "nothing", status=1)
    assert "a prompt is not empty" in printed("generate", "nothing", "--prompt", "", status=2)
    assert "--length is 1 or more" in printed("evaluate", "nothing", "--length", "0", status=2)


def test_graph_draws_a_picture(printed: Printed) -> None:
    assert printed("graph", "memory.yaml", "-o", "levels.svg") == "wrote levels.svg\n"
    assert Path("levels.svg").read_text().startswith("<svg")


def test_doctor_finds_what_it_needs(printed: Printed) -> None:
    assert {line[:3] for line in printed("doctor").splitlines()} == {"ok "}


def test_every_command_is_described_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line[4] != " "}
    assert set(COMMANDS) <= listed
