"""The docs say what is there: generated pages are current, links and paths lead somewhere, glossary words are in the code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from docs.generate import NOTICE, pages
from nlc import pipeline
from nlc.cli import COMMANDS, main
from nlc.pipeline import STAGES
from tests.architecture.modules import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
PROSE = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
REPOSITORY_PATH = re.compile(r"`((?:nlc|specs|generated|tests|docs|benchmarks|experiments|scripts)/[\w./-]+|[\w-]+\.(?:toml|txt))`")
HEADING = re.compile(r"^#+ (.*)$|^\(([\w-]+)\)=$", re.MULTILINE)
COMMAND = re.compile(r"`nlc ([a-z]+)")
STAGE_ROW = re.compile(r"^\| \[(\w+)\]\(\1\.md\) \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
GLOSSARY_WORD = re.compile(r"`(nlc\.[\w.]+)\.(\w+)`")


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    found = HEADING.findall(page.read_text())
    return {label or re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title, label in found}


def test_generated_pages_are_current() -> None:
    written = {path.relative_to(DOCS).as_posix(): text for path in PAGES if (text := path.read_text()).startswith(NOTICE)}
    assert written == pages(), "run: make update"


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        assert not anchor or anchor[1:] in anchors(file), anchor


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_named_files_exist(page: Path) -> None:
    named = set(REPOSITORY_PATH.findall(page.read_text()))
    assert sorted(name for name in named if not (ROOT / name).exists() and not re.search(r"\b(NAME|CODE)\b", name)) == []


@pytest.mark.parametrize("page", PROSE, ids=ids)
def test_named_commands_exist(page: Path) -> None:
    assert set(COMMAND.findall(page.read_text())) <= set(COMMANDS)


def test_the_table_of_stages_is_the_pipeline() -> None:
    rows = STAGE_ROW.findall((DOCS / "stages" / "index.md").read_text().replace("`", ""))
    assert rows[:-1] == [(stage.name, stage.takes, stage.gives) for stage in STAGES]
    assert rows[-1][0] == "verify"


def test_every_page_is_reached_from_an_index() -> None:
    listed = set()
    for page in PAGES:
        for entries in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            listed |= {(page.parent / f"{line}.md").resolve() for line in entries.splitlines() if line and not line.startswith(":")}
    assert {page.resolve() for page in PAGES} - listed == {DOCS / "index.md"}


def test_the_words_of_the_glossary_are_in_the_code() -> None:
    words = GLOSSARY_WORD.findall((DOCS / "glossary.md").read_text())
    assert len(words) > 20
    assert [f"{module}.{name}" for module, name in words if not hasattr(import_module(module), name)] == []


def test_the_laws_on_the_page_of_derive_are_what_nlc_derives(capsys: pytest.CaptureFixture[str]) -> None:
    equations = re.findall(r"^ {4}([\w.]+ += .*)$", (DOCS / "stages" / "derive.md").read_text(), re.MULTILINE)
    for name in ("delta_rule", "hebbian_mlp", "longhorn"):
        assert main(["show", "--stage", "derive", str(ROOT / "specs" / "architectures" / f"{name}.yaml")]) == 0
    derived = " ".join(capsys.readouterr().out.split())
    assert len(equations) == 4 + 8 + 3
    assert [equation for equation in equations if " ".join(equation.split()) not in derived] == []


COMPLETE_SPEC = re.compile(r"```yaml\n(nlc: 1\n.*?)```(?:[^`]*```python\n(.*?)```)?", re.DOTALL)


def test_the_specs_of_the_manual_compile_to_the_code_beside_them(tmp_path: Path) -> None:
    found = [match for page in PAGES if page.parent == DOCS for match in COMPLETE_SPEC.findall(page.read_text())]
    assert found
    for spec, code in found:
        path = tmp_path / "spec.yaml"
        path.write_text(spec)
        emitted = [line.strip() for line in pipeline.emit(pipeline.compile_program(path)).splitlines()]
        assert [line for line in code.splitlines() if line.strip() not in emitted] == []


def test_decisions_are_numbered_and_say_what_follows() -> None:
    decisions = sorted((DOCS / "decisions").glob("0*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert all(f"**{word}.**" in text for word in ("Context", "Decision", "Consequences"))
