"""NLC1xx: a text that is not YAML as nlc reads it, not an expression, not a spec, or refers to a file that is not there.

Where the way out does not depend on the facts, the help is the explanation of the code's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nlc.codes.code import Code, quoted, suggestion
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def _one(code: str, message: str, span: Span, label: str = "", help: str = "") -> Diagnostic:
    return Diagnostic(code, message, (Label(span, label),), help or _explanation(code))


def _two(code: str, message: str, main: tuple[Span, str], other: tuple[Span, str]) -> Diagnostic:
    return Diagnostic(code, message, (Label(*main), Label(*other)), _explanation(code))


def _explanation(code: str) -> str:
    """A row's explanation in the form of a help: no capital, no full stop."""
    text = next(row.explanation for row in CODES if row.number == code).removesuffix(".")
    return text if text[1].isupper() else text[0].lower() + text[1:]


def _ring(code: str, message: str, steps: Sequence[tuple[Span, str]]) -> Diagnostic:
    return Diagnostic(code, message, tuple(Label(span, f"needs {name}") for span, name in steps), _explanation(code))


# --- texts and YAML ----------------------------------------------------------------------------------------------


def unreadable(span: Span, reason: str) -> Diagnostic:
    return _one("NLC101", f"the file cannot be read: {reason}", span)


def too_large(span: Span, limit: int) -> Diagnostic:
    return _one("NLC102", f"the text is larger than {limit:,} bytes", span)


def forbidden_character(span: Span, code_point: str, name: str) -> Diagnostic:
    return _one("NLC103", f"the invisible or control character {code_point} is not allowed", span, name.lower())


def empty_text(span: Span) -> Diagnostic:
    return _one("NLC104", "the file is empty", span)


def not_yaml(span: Span, problem: str, way_out: str) -> Diagnostic:
    return _one("NLC105", f"this is not YAML: {problem}", span, "", way_out)


def anchor(span: Span) -> Diagnostic:
    return _one("NLC106", "anchors and aliases (`&`, `*`) are not part of the language", span)


def tag(span: Span) -> Diagnostic:
    return _one("NLC107", "tags (`!`) are not part of the language", span)


def merge_key(span: Span) -> Diagnostic:
    return _one("NLC108", "merge keys (`<<`) are not part of the language", span)


def several_documents(span: Span) -> Diagnostic:
    return _one("NLC109", "the file holds more than one YAML document", span, "the second begins here")


def duplicate_key(first: Span, second: Span) -> Diagnostic:
    return _two("NLC110", f"the key {quoted(second.text)} is given twice", (second, "again"), (first, "first given here"))


def key_not_scalar(span: Span) -> Diagnostic:
    return _one("NLC111", "a key is a single word", span, "a list or mapping as a key")


def too_deep(span: Span, limit: int) -> Diagnostic:
    return _one("NLC112", f"lists and mappings are nested more than {limit} deep", span)


def too_many_nodes(span: Span, limit: int) -> Diagnostic:
    return _one("NLC113", f"the file holds more than {limit:,} values", span)


def cut_at_comma(span: Span) -> Diagnostic:
    return _one("NLC114", "YAML cuts this expression at its comma", span, "inside { } or [ ] a comma ends the value")


# --- expressions -------------------------------------------------------------------------------------------------


def empty_expression(span: Span) -> Diagnostic:
    return _one("NLC121", "an expression is missing", span)


def expression_too_long(span: Span, limit: int) -> Diagnostic:
    return _one("NLC122", f"the expression is longer than {limit:,} characters", span)


def expression_too_deep(span: Span) -> Diagnostic:
    return _one("NLC123", "the expression is nested too deeply or has too many parts", span)


def unexpected_character(span: Span, way_out: str) -> Diagnostic:
    return _one("NLC124", f"{quoted(span.text)} is not part of an expression", span, "", way_out)


def unexpected(span: Span, found: str, wanted: str) -> Diagnostic:
    return _one("NLC125", f"{wanted} is expected here, not {found}", span)


def missing_operator(left: Span, right: Span) -> Diagnostic:
    message = f"an operator is missing between {quoted(left.text)} and {quoted(right.text)}"
    return _one("NLC126", message, left.to(right))


def glued_number(span: Span, number: str, name: str) -> Diagnostic:
    return _one("NLC127", f"`{number}` and {quoted(name)} are written together", span)


def unclosed(opener: Span, end: Span, closer: str) -> Diagnostic:
    return _two("NLC128", f"{quoted(opener.text)} is never closed", (opener, "opened here"), (end, f"`{closer}` is expected here"))


def unopened(span: Span) -> Diagnostic:
    return _one("NLC129", f"{quoted(span.text)} closes nothing", span)


def trailing_comma(span: Span) -> Diagnostic:
    return _one("NLC130", "nothing follows this comma", span)


def single_equals(span: Span) -> Diagnostic:
    return _one("NLC131", "`=` alone compares nothing", span)


def angle_brackets(span: Span) -> Diagnostic:
    return _one("NLC132", "`<` begins no expression", span, "", "write an inner product as dot(k, v), of tensors inner(a, b)")


def number_too_long(span: Span) -> Diagnostic:
    return _one("NLC133", "the number is out of bounds", span)


def argument_order(span: Span) -> Diagnostic:
    return _one("NLC134", "a plain argument follows a named one", span)


def repeated_argument(first: Span, second: Span) -> Diagnostic:
    return _two("NLC135", f"{quoted(second.text)} is named twice", (second, "again"), (first, "first named here"))


def indexing(span: Span) -> Diagnostic:
    return _one("NLC136", "entries of a vector or matrix cannot be picked by index", span)


# --- the keys of a spec ------------------------------------------------------------------------------------------


def unknown_key(span: Span, owner: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC141", f"{quoted(span.text)} is not a key of {owner}", span, "", suggestion(span.text, known, "keys"))


def missing_key(span: Span, key: str, owner: str, says: str) -> Diagnostic:
    return _one("NLC142", f"{owner} needs the key `{key}`", span, f"`{key}` is missing here", f"{key}: {says}")


def wrong_type(span: Span, wanted: str, found: str) -> Diagnostic:
    return _one("NLC143", f"expected {wanted}, found {found}", span)


def wrong_version(span: Span) -> Diagnostic:
    return _one("NLC144", f"{quoted(span.text)} is not a version of the language", span)


def unknown_word(span: Span, key: str, words: Sequence[str]) -> Diagnostic:
    return _one("NLC145", f"{quoted(span.text)} is not a value of `{key}`", span, "", suggestion(span.text, words, "values"))


def bad_spec_name(span: Span) -> Diagnostic:
    return _one("NLC146", f"{quoted(span.text)} is not the name of a spec", span)


def bad_name(span: Span) -> Diagnostic:
    return _one("NLC147", f"{quoted(span.text)} is not a name", span)


def reserved_name(span: Span, reason: str) -> Diagnostic:
    return _one(
        "NLC148", f"{quoted(span.text)} cannot be a name", span, reason, f"choose another name, or add a word to it: `own_{span.text}`"
    )


def name_clash(first: tuple[Span, str], second: tuple[Span, str]) -> Diagnostic:
    message = f"{quoted(second[0].text)} names two things"
    return _two("NLC149", message, (second[0], f"{second[1]} here"), (first[0], f"{first[1]} here"))


def level_count(span: Span, limit: int) -> Diagnostic:
    return _one("NLC150", f"a spec has from 1 to {limit} levels", span)


def dim_out_of_range(span: Span, limit: int) -> Diagnostic:
    return _one("NLC151", f"a dim is a whole number from 1 to {limit:,}", span)


def unknown_paper(span: Span, papers: Iterable[str]) -> Diagnostic:
    return _one("NLC152", f"{quoted(span.text)} cites no known paper", span, "", suggestion(span.text, papers, "papers"))


def definition_content(span: Span) -> Diagnostic:
    return _one("NLC154", "a definition is one of a memory, an objective and a retention", span)


def claim_content(span: Span) -> Diagnostic:
    return _one("NLC155", "a claim says exactly one thing to check", span)


def optimizer_without(span: Span, part: str) -> Diagnostic:
    return _one("NLC156", f"an optimizer needs {part}", span)


# --- files -------------------------------------------------------------------------------------------------------


def path_refused(span: Span, reason: str) -> Diagnostic:
    return _one("NLC171", f"this path is refused: {reason}", span)


def no_such_spec(span: Span, path: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC172", f"there is no spec {quoted(path)}", span, "", suggestion(path, known, "specs here"))


def file_cycle(steps: Sequence[tuple[Span, str]]) -> Diagnostic:
    return _ring("NLC173", "a spec is built on itself", steps)


def chain_too_long(span: Span, limit: int) -> Diagnostic:
    return _one("NLC174", f"specs or levels are built on one another more than {limit} deep", span)


def unknown_level(span: Span, levels: Iterable[str]) -> Diagnostic:
    return _one("NLC175", f"there is no level {quoted(span.text)} to use", span, "", suggestion(span.text, levels, "levels"))


def level_cycle(steps: Sequence[tuple[Span, str]]) -> Diagnostic:
    return _ring("NLC176", "a level is a copy of itself", steps)


def unknown_part(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC177", f"the file has no entry {quoted(name)}", span, "", suggestion(name, known, "entries"))


def unknown_optimizer(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC178", f"there is no optimizer {quoted(name)}", span, "", suggestion(name, known, "optimizers"))


def not_an_optimizer_spec(use: Span, kind: Span) -> Diagnostic:
    return _two("NLC179", "this spec is not an optimizer", (use, "used as an optimizer here"), (kind, "is not of the kind optimizer"))


def optimizer_cycle(steps: Sequence[tuple[Span, str]]) -> Diagnostic:
    return _ring("NLC180", "an optimizer is fitted by itself", steps)


def too_many_files(span: Span, limit: int) -> Diagnostic:
    return _one("NLC181", f"a spec is made of at most {limit} files", span)


# --- settings ----------------------------------------------------------------------------------------------------


def not_an_override(span: Span) -> Diagnostic:
    return _one("NLC182", "what is to be set is written key=value", span)


def unknown_override(span: Span, path: str, spec: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC183", f"{spec} has no {quoted(path)} to set", span, "", suggestion(span.text, known, "names"))


CODES = (
    Code("NLC101", "unreadable file", "A spec is a regular file in UTF-8 that you may read; check its path, permissions and encoding."),
    Code("NLC102", "text too large", "A spec file holds at most 1 MiB; split it with `extends:` or `use:`."),
    Code("NLC103", "forbidden character", "Control characters and those that hide or turn text around are refused everywhere; delete it."),
    Code("NLC104", "empty file", "A spec begins with `nlc: 1` and `name:`; `nlc new NAME` writes one to start from."),
    Code("NLC105", "not YAML", "The indentation, quotes or brackets of the file do not make YAML."),
    Code("NLC106", "anchor or alias", "Copy a level with `use: LEVEL`; name an expression under `let:`."),
    Code("NLC107", "tag", "Write the plain value: keys decide how their values are read."),
    Code("NLC108", "merge key", "Build on another spec with `extends:`, copy a level with `use:`."),
    Code("NLC109", "several documents", "Write one spec a file, without `---` between."),
    Code("NLC110", "duplicate key", "Keep one of the two: each key of a mapping is given once."),
    Code("NLC111", "key is not a word", "Write `key: value`; an expression that begins with `[`, `{` or `?` belongs in quotes."),
    Code("NLC112", "nested too deeply", "A spec needs about five levels of nesting, 40 are allowed."),
    Code("NLC113", "too many values", "50,000 keys and values are allowed in a file."),
    Code("NLC114", "expression cut at a comma", "Write it in block style, `key: value` on a line of its own, or in quotes."),
    Code("NLC121", "empty expression", "Write an expression, or remove the key."),
    Code("NLC122", "expression too long", "An expression has at most 4,096 characters; name its parts under `let:`."),
    Code("NLC123", "expression too deep", "Name parts of it under `let:`; 64 brackets inside one another, 2,000 parts and 200 operations in a row are allowed."),
    Code("NLC124", "unexpected character", "Expressions are written in plain ASCII with words for symbols."),
    Code("NLC125", "unexpected word", "An expression alternates operands (names, numbers, calls) and operators."),
    Code("NLC126", "missing operator", "Write `*` for entry by entry, `@` for the matrix product, f(x) to apply."),
    Code("NLC127", "number and name together", "Write an operator between them, as in 2 * x, or a blank before a unit: 16 tokens."),
    Code("NLC128", "unclosed bracket", "Close it, or remove it."),
    Code("NLC129", "bracket that closes nothing", "Remove it, or open it before."),
    Code("NLC130", "trailing comma", "Remove the comma, or write what follows it."),
    Code("NLC131", "single equals sign", "Write == for an equation; = only names an argument: f(learning_rate = beta)."),
    Code("NLC132", "angle brackets", "`<` only compares two operands."),
    Code("NLC133", "number out of bounds", "A number has at most 40 characters and an exponent from -400 to 400."),
    Code("NLC134", "order of arguments", "Write plain arguments first: f(x, over = d_k)."),
    Code("NLC135", "argument named twice", "Keep one of the two."),
    Code("NLC136", "indexing", "Specs speak of whole vectors and matrices; split(x, heads) and join(x, heads) regroup axes."),
    Code("NLC141", "unknown key", "Each mapping of a spec has a fixed list of keys, given in the language reference."),
    Code("NLC142", "missing key", "Some keys are required, because no default would be right."),
    Code("NLC143", "wrong type of value", "The language reference says for each key whether it takes an expression, text, a list or a mapping."),
    Code("NLC144", "unknown version", "Write `nlc: 1`: this is version 1 of the language."),
    Code("NLC145", "unknown word", "Some keys take one of a few words."),
    Code("NLC146", "bad name of a spec", "Write it in CamelCase: a capital letter, then at most 60 letters and digits, as in DeltaRule."),
    Code("NLC147", "bad name", "Names begin with a small letter and go on with at most 40 small letters, digits and underscores (the tensors of a memory under `states` may have capitals)."),
    Code("NLC148", "reserved name", "Choose another name, or add a word to it: `own_state`."),
    Code("NLC149", "name clash", "Dims, axes, inputs, hyperparameters, levels, `let` and `define` share one set of names; rename one (an axis may be a dim)."),
    Code("NLC150", "number of levels", "Write at least one entry under `levels:`, and at most 64."),
    Code("NLC151", "dim out of range", "Give the size as a whole number; sizes that follow from others are expressions: d_model / heads."),
    Code("NLC152", "unknown paper", "A citation is PAPER or PAPER:PLACE, as in nl:eq-65; the papers are listed in nlc/citations.py."),
    Code("NLC154", "content of a definition", "Give `states` (and `read`), or `objective`, or `retention`."),
    Code("NLC155", "content of a claim", "Give exactly one of `prove`, `order`, `same_as` and `reading`."),
    Code("NLC156", "incomplete optimizer", "An optimizer has the input `gradient: like(weights)` and the level `weights`."),
    Code("NLC171", "path refused", "Name a shipped spec (architectures/delta_rule) or a file inside this spec's own folder of specs, with /, by a relative path."),
    Code("NLC172", "no such spec", "Paths are taken from the file's folder, then from its root of specs, then from the specs shipped with nlc."),
    Code("NLC173", "specs in a ring", "Remove one `extends:` or `use:` of the ring."),
    Code("NLC174", "chain too long", "8 may be built on one another; put what they share into one."),
    Code("NLC175", "unknown level to use", "`use:` in a level names another level of the spec, or FILE.yaml#ENTRY."),
    Code("NLC176", "levels in a ring", "Remove one `use:` of the ring, and write that level out."),
    Code("NLC177", "unknown entry of a file", "FILE.yaml#ENTRY takes an entry under the file's `levels:`, or else a top-level entry."),
    Code("NLC178", "unknown optimizer", "An optimizer is gradient_descent, proximal, closed_form or a spec in a folder `optimizers`."),
    Code("NLC179", "not an optimizer spec", "A spec that is used as an optimizer says `kind: optimizer`."),
    Code("NLC180", "optimizers in a ring", "End the chain of optimizers with gradient_descent, proximal or closed_form."),
    Code("NLC181", "too many files", "64 files are allowed."),
    Code("NLC182", "setting without a value", "Write a dim or a hyperparameter, d_k=32, or a path of keys, levels.memory.retention=0.9; quote the whole for your shell."),
    Code("NLC183", "nothing of this name to set", "`--set` changes dims and hyperparameters by name, and what the spec has by its path of keys: levels.memory.optimizer."),
)  # fmt: skip
