"""Prints the pages of docs/ that follow from tables and specs: language, commands, errors, modules, and a derivation for every spec.

`python docs/generate.py` (part of `make update`) writes them; tests/architecture/test_docs.py says when they are stale.
"""

from __future__ import annotations

import ast
import re
import textwrap
from argparse import Action, ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path

from docs.errata import errata_page
from docs.siblings import siblings_page
from docs.wrong_claims import wrong_claims_page
from nlc import pipeline
from nlc.citations import resolve_citation
from nlc.cli import COMMANDS
from nlc.codes.code import Code
from nlc.ir.algebra import State, When
from nlc.ir.latex import expression_latex, symbol
from nlc.ir.law import Equation
from nlc.ir.model import OrderClaim
from nlc.ir.order import LevelOrder
from nlc.ir.program import MemoryProgram, Program
from nlc.ir.restarts import restart_equations
from nlc.ir.spec import DefinitionField
from nlc.parse import parse_library
from nlc.parse.fields import TABLES
from nlc.pipeline import order, parse, resolve
from nlc.resolve.claim_words import CLAIM_WORDS
from nlc.resolve.functions import FORMS, FUNCTIONS
from nlc.resolve.networks import DEFAULT_ACTIVATION, MLP, SAYS
from nlc.schedule.affine_form import affine_expression
from nlc.verify.claims import Verdict, decide_claims
from nlc.verify.orders import decide_order

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
NOTICE = "<!-- Printed by docs/generate.py: edit the tables it reads, not this page. -->\n\n"
SPECIAL = re.compile(r"([\\`*_\[\]<>$|])")
"""The characters that Markdown reads as more than themselves."""


def pages() -> dict[str, str]:
    """Every generated page: its path below docs/ and its text."""
    tables = dict(_code_tables())
    return {
        "errors/index.md": NOTICE + "".join(_errors_index(tables)),
        **{f"errors/{stage}.md": NOTICE + "".join(_errors_page(stage, rows)) for stage, rows in tables.items()},
        **{name: NOTICE + text for name, text in _derivations().items()},
        "reference/commands.md": NOTICE + "".join(_commands_page()),
        "reference/language.md": NOTICE + "".join(_language_page()),
        "reference/library.md": NOTICE + "".join(_library_page()),
        "errata.md": NOTICE + "".join(errata_page(ROOT)),
        "siblings.md": NOTICE + "".join(siblings_page(ROOT)),
        "wrong_claims.md": NOTICE + "".join(wrong_claims_page(ROOT)),
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
    yield "\n## Functions of claims\n\n| written | gives |\n|---|---|\n"
    yield from (f"| `{word.usage}` | {_cell(word.says)} |\n" for word in CLAIM_WORDS.values())
    yield "\n## Words that are read in their own way\n\n"
    yield from (f"- `{text.partition(': ')[0]}`: {text.partition(': ')[2]}\n" for text in FORMS.values())


def _library_page() -> Iterator[str]:
    yield "# The library\n\nMemories, objectives and retentions that every spec may name, written as a spec's own `define:` would be.\n"
    yield "\n| written | means | says | from |\n|---|---|---|---|\n"
    network, read = f"{MLP}(d_in, hidden, d_out, activation = {DEFAULT_ACTIVATION})", f"(x) -> W2 @ {DEFAULT_ACTIVATION}(W1 @ x)"
    yield f"| `{network}` | `{read}` | {SAYS} | nlc |\n"
    for entry in sorted(parse_library(), key=lambda entry: entry.name.text):
        written = entry.name.text + (f"({', '.join(name.text for name in entry.parameters)})" if entry.parameters else "")
        says = _cell(entry.says.text if entry.says else "")
        yield f"| `{written}` | `{_meaning(entry)}` | {says} | {', '.join(key.text for key in entry.cites)} |\n"


def _meaning(entry: DefinitionField) -> str:
    syntax = entry.objective or entry.retention or entry.read
    return _cell(" ".join(syntax.span.text.split())) if syntax else ", ".join(state.value.span.text for state in entry.states)


def _commands_page() -> Iterator[str]:
    yield "# The commands\n\nExit status: 0 when all is well, 1 when a spec, a claim or data is wrong, 2 for wrong usage.\n"
    for name in COMMANDS:
        module = import_module(f"nlc.commands.{name}")
        parser = ArgumentParser(prog=f"nlc {name}", add_help=False)
        module.add_arguments(parser)
        yield f"\n## nlc {name}\n\n{_capital(module.HELP)}.\n"
        if parser._actions:
            yield "\n| written | meaning |\n|---|---|\n"
        yield from (f"| `{_cell(_written(option))}` | {_cell(option.help or '')} |\n" for option in parser._actions)


def _written(option: Action) -> str:
    """How an argument is written: its name, or its option with the value it takes."""
    value = str(option.metavar or "|".join(option.choices or ()) or option.dest)
    if not option.option_strings:
        return value
    return ", ".join(option.option_strings) + ("" if option.nargs == 0 else f" {value}")


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


# --- derivations -------------------------------------------------------------------------------------------------


def _derivations() -> dict[str, str]:
    """A page for every shipped spec, and the index of them."""
    files = sorted((ROOT / "specs").glob("*/*.yaml"))
    programs = {path.relative_to(ROOT / "specs").with_suffix("").as_posix(): pipeline.compile_program(path) for path in files}
    verdicts = {name: decide_claims(item.laws, lambda model: pipeline.derive(pipeline.order(model))) for name, item in programs.items()}
    pages = {f"derivations/{name}.md": "".join(_derivation(name, item, verdicts[name])) for name, item in programs.items()}
    return {"derivations/index.md": "".join(_derivations_index(programs, verdicts)), **pages}


def _derivations_index(programs: dict[str, Program], verdicts: dict[str, tuple[Verdict, ...]]) -> Iterator[str]:
    yield "# Derivations\n\nWhat nlc derives from each shipped spec: levels, update laws, forms, and the verdicts on its claims.\n"
    yield "\n| spec | says | claims |\n|---|---|---|\n"
    for name, program in programs.items():
        counts = Counter(verdict.verdict for verdict in verdicts[name])
        found = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        yield f"| [{program.model.name}]({name}.md) | {_escaped(program.model.says)} | {found} |\n"
    yield "\n```{toctree}\n:hidden:\n\n" + "".join(f"{name}\n" for name in programs) + "```\n"


def _derivation(name: str, program: Program, verdicts: Sequence[Verdict]) -> Iterator[str]:
    model = program.model
    yield f"# {model.name}\n\n{_escaped(model.says)}\n\n"
    yield f"The spec is `specs/{name}.yaml`, the module `generated/{name}.py`.\n"
    if model.cites:
        yield "\n" + "".join(f"- {_escaped(key)}: {_escaped(resolve_citation(key) or '')}\n" for key in model.cites)
    yield from _levels(program.laws.order)
    yield f"\n## Update laws\n\nAt {'step' if model.kind == 'optimizer' else 'token'} $t$; what has the index $t-1$ is from before it.\n"
    for law in program.laws.laws:
        component = model.component(law.component)
        objective = rf"\mathcal{{L}}_{{t}}({symbol(component.name)}) = {expression_latex(component.objective)}"
        yield f"\n### {law.component}, every {law.clock}\n\nIts objective:\n\n$$\n{objective}\n$$\n"
        yield from _equations(law.equations)
    if program.laws.told_outputs:
        yield "\n### Outputs\n"
        yield from _equations(program.laws.told_outputs)
    if restarts := restart_equations(model):
        yield "\n### Slow levels that start again\n"
        yield from _equations(restarts)
    if program.memories:
        yield "\n## Forms\n"
    for memory in program.memories:
        yield from _form(program, memory)
    yield from _claims(verdicts)


def _levels(order: LevelOrder) -> Iterator[str]:
    yield "\n## Levels\n\nFastest first, by Definition 2 of Nested Learning, which numbers them both ways.\n"
    yield "\n| speed rank | component | clock | level (fastest = 1) | level (slowest = 1) |\n|---|---|---|---|---|\n"
    for level in order.levels:
        for name in level.components:
            yield f"| {level.speed_rank} | {name} | {level.clock} | {level.number_slowest_highest} | {level.number_slowest_first} |\n"
    if order.relations:
        yield "\n"
    for item in order.relations:
        sign, reason = (r"\succ" if item.kind == "faster" else "=_f"), _escaped(item.reason)
        yield f"- ${symbol(item.left)} {sign} {symbol(item.right)}$: {reason}\n"


def _equations(equations: Sequence[Equation]) -> Iterator[str]:
    yield "\n| equation | by | from |\n|---|---|---|\n"
    for item in equations:
        latex = f"{symbol(item.name, at='t')} = {expression_latex(item.value)}"
        yield f"| ${latex}$ | {_escaped(item.rule)} | {', '.join(map(_escaped, item.cites))} |\n"


def _form(program: Program, memory: MemoryProgram) -> Iterator[str]:
    classified = memory.classified
    yield f"\n### {memory.component}: {memory.form.value}\n\n{_capital(_escaped(classified.because))} ({classified.transition.value}).\n"
    if classified.affine is not None:
        state = State(classified.affine.component, classified.affine.part, classified.affine.shape, When.PREVIOUS)
        step = expression_latex(affine_expression(classified.affine, state))
        yield f"\nIn one line:\n\n$$\n{symbol(memory.component, at='t')} = {step}\n$$\n"
    yield "\n| form | | because | from |\n|---|---|---|---|\n"
    for item in program.decisions:
        if item.component == memory.component:
            taken = "taken" if item.taken else "not taken"
            yield f"| {item.rule} | {taken} | {_escaped(item.because)} | {', '.join(map(_escaped, item.cites))} |\n"


def _claims(verdicts: Sequence[Verdict]) -> Iterator[str]:
    if verdicts:
        yield "\n## Claims\n"
    for item in verdicts:
        sources = f" ({', '.join(map(_escaped, item.cites))})" if item.cites else ""
        yield f"\n**{item.verdict}**: {_escaped(item.claim)}{sources}\n\n```text\n"
        yield from (f"{line}\n" for line in (*_wrapped(item.text, ""), *_wrapped(item.detail, "    ")))
        yield "```\n"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _escaped(text: str) -> str:
    """Text as Markdown that means just this text."""
    return SPECIAL.sub(r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write every generated page."""
    for name, text in pages().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
