"""Prints the pages of docs/ that follow from tables: the language, the errors with what tests/bad shows, the modules.

`python docs/generate.py` (part of `make update`) writes them; tests/architecture/test_docs.py says when they are stale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path

from nlc.codes.code import Code
from nlc.ir.model import OrderClaim
from nlc.ir.order import LevelOrder
from nlc.ir.spec import DefinitionField
from nlc.parse import parse_library
from nlc.parse.fields import TABLES
from nlc.pipeline import order, parse, resolve
from nlc.resolve.functions import FORMS, FUNCTIONS
from nlc.verify.orders import decide_order

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
NOTICE = "<!-- Printed by docs/generate.py: edit the tables it reads, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Every generated page: its path below docs/ and its text."""
    tables = dict(_code_tables())
    return {
        "errors/index.md": NOTICE + "".join(_errors_index(tables)),
        **{f"errors/{stage}.md": NOTICE + "".join(_errors_page(stage, rows)) for stage, rows in tables.items()},
        "reference/language.md": NOTICE + "".join(_language_page()),
        "reference/library.md": NOTICE + "".join(_library_page()),
        "levels.md": NOTICE + "".join(_levels_page()),
        "reference/modules.md": NOTICE + "".join(_modules_page()),
    }


def _code_tables() -> Iterator[tuple[str, tuple[Code, ...]]]:
    files = [path.stem for path in (ROOT / "nlc" / "codes").glob("*.py") if path.stem not in ("__init__", "code")]
    tables = {stage: tuple(import_module(f"nlc.codes.{stage}").CODES) for stage in files}
    yield from sorted(tables.items(), key=lambda item: item[1][0].number)


def _errors_index(tables: dict[str, tuple[Code, ...]]) -> Iterator[str]:
    yield "# Errors\n\n"
    yield "What nlc says when a spec, a claim or a command is wrong. The hundreds tell the stage that noticed.\n\n"
    yield "```{toctree}\n:hidden:\n\n" + "".join(f"{stage}\n" for stage in tables) + "```\n"
    for stage, rows in tables.items():
        yield f"\n## {stage}\n\n| code | what is wrong |\n|---|---|\n"
        yield from (f"| [{row.number}]({stage}.md#{row.number.lower()}) | {_cell(row.title)} |\n" for row in rows)


def _errors_page(stage: str, rows: tuple[Code, ...]) -> Iterator[str]:
    yield f"# Errors of {stage}\n"
    for row in rows:
        yield f"\n({row.number.lower()})=\n\n## {row.number}: {row.title}\n\n{row.explanation}\n"
        for message in sorted((ROOT / "tests" / "bad").glob(f"{row.number}-*.txt"))[:1]:
            yield f"\n````text\n{message.read_text().rstrip()}\n````\n"


def _language_page() -> Iterator[str]:
    yield "# The language\n\nThe keys of a spec, mapping by mapping, then the functions of its expressions.\n"
    for owner, fields in TABLES.items():
        yield f"\n## The keys of {owner}\n\n| key | its value | meaning |\n|---|---|---|\n"
        for field in fields:
            yield f"| `{field.key}`{' (required)' if field.required else ''} | {_cell(field.value.value)} | {_cell(field.says)} |\n"
    yield "\n## Functions\n\n| written | gives | takes |\n|---|---|---|\n"
    for rule in FUNCTIONS.values():
        yield f"| `{rule.usage}` | {_cell(rule.says)} | {_cell(rule.wants)} |\n"
    yield "\n## Words that are read in their own way\n\n"
    yield from (f"- `{text.partition(': ')[0]}`: {text.partition(': ')[2]}\n" for text in FORMS.values())


def _library_page() -> Iterator[str]:
    yield "# The library\n\nMemories, objectives and retentions that every spec may name, written as a spec's own `define:` would be.\n"
    yield "\n| written | means | says | from |\n|---|---|---|---|\n"
    for entry in sorted(parse_library(), key=lambda entry: entry.name.text):
        written = entry.name.text + (f"({', '.join(name.text for name in entry.parameters)})" if entry.parameters else "")
        says = _cell(entry.says.text if entry.says else "")
        yield f"| `{written}` | `{_meaning(entry)}` | {says} | {', '.join(key.text for key in entry.cites)} |\n"


def _meaning(entry: DefinitionField) -> str:
    syntax = entry.objective or entry.retention or entry.read
    return _cell(" ".join(syntax.span.text.split())) if syntax else ", ".join(state.value.span.text for state in entry.states)


def _modules_page() -> Iterator[str]:
    yield "# Modules\n\nEach file of nlc in one sentence, its own.\n"
    files = sorted((ROOT / "nlc").rglob("*.py"), key=lambda path: (path.parent.as_posix(), path.name))
    for folder, members in groupby(files, key=lambda path: path.parent.relative_to(ROOT).as_posix()):
        yield f"\n## {folder}\n\n| file | what it does |\n|---|---|\n"
        yield from (f"| `{path.name}` | {_cell(_first_paragraph(path))} |\n" for path in members)


def _levels_page() -> Iterator[str]:
    orders = [order(resolve(parse(path))) for path in sorted((DOCS / "levels").glob("*.yaml"))]
    yield "# Levels of small systems\n\nDefinition 2 at work: each system is a spec of docs/levels/, and its claims are decided by nlc.\n"
    yield "\nThe paper numbers levels both ways: Definition 2 counts the fastest as 1, figures 2 and 3 the slowest.\n"
    yield "\n| system | level | clock | fastest is 1 | slowest is 1 |\n|---|---|---|---|---|\n"
    for found in orders:
        for level in found.levels:
            name = f"[{found.model.name}](#{found.model.name.lower()})" if level.speed_rank == 0 else ""
            numbers = f"{level.number_slowest_highest} | {level.number_slowest_first}"
            yield f"| {name} | {', '.join(level.components)} | {level.clock} | {numbers} |\n"
    for found in orders:
        yield from _one_system(found)


def _one_system(found: LevelOrder) -> Iterator[str]:
    yield f"\n({found.model.name.lower()})=\n\n## {found.model.name}\n\n{found.model.says}\n\n"
    for relation in found.relations:
        yield f"- {relation.left} {'>' if relation.kind == 'faster' else '~'} {relation.right}: {relation.reason}\n"
    for claim in found.model.claims:
        if isinstance(claim, OrderClaim):
            yield f"- claim `{claim.text}` ({claim.says}): **{decide_order(claim, found).verdict}**\n"


def _first_paragraph(path: Path) -> str:
    paragraph, _, _ = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")
    return " ".join(paragraph.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write every generated page."""
    for name, text in pages().items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
