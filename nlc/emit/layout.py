"""Statements -> lines of at most 140 characters, laid out as `ruff format` would."""

from __future__ import annotations

import re
from collections.abc import Sequence

WIDTH = 140
STEP = "    "

Lines = tuple[str, ...]
"""The lines of a statement, without the indentation of the block that it stands in."""


def call(before: str, arguments: Sequence[str], after: str, indent: int) -> Lines:
    """`before(arguments)after`: on one line, or with the arguments on a line of their own, or one line each."""
    line = f"{before}({', '.join(arguments)}){after}"
    if indent + len(line) <= WIDTH or not arguments:
        return (line,)
    inside = ", ".join(arguments)
    if indent + len(STEP) + len(inside) <= WIDTH:
        return (f"{before}(", STEP + inside, f"){after}")
    return (f"{before}(", *(f"{STEP}{argument}," for argument in arguments), f"){after}")


def side_by_side(names: Sequence[str]) -> str:
    """Names as a tuple is written without brackets."""
    return f"{names[0]}," if len(names) == 1 else ", ".join(names)


def unpacked(names: Sequence[str], value: str, indent: int) -> Lines:
    """`a, b = value`: on one line, or with a line for each name."""
    line = f"{side_by_side(names)} = {value}"
    return (line,) if indent + len(line) <= WIDTH else ("(", *(f"{STEP}{name}," for name in names), f") = {value}")


def returned(values: Sequence[str], indent: int) -> Lines:
    """`return a, b`: on one line, or with a line for each value."""
    line = f"return {', '.join(values)}"
    return (line,) if indent + len(line) <= WIDTH else ("return (", *(f"{STEP}{value}," for value in values), ")")


def packed(name: str, values: Sequence[str], indent: int) -> Lines:
    """`name = a, b`: on one line, or in brackets."""
    line = f"{name} = {side_by_side(values)}"
    return (line,) if indent + len(line) <= WIDTH else call(f"{name} = ", values, "", indent)


def loop_over(names: Sequence[str], pieces: str, indent: int) -> tuple[str, Lines]:
    """What `for ... in pieces:` has for its targets, and the lines that it begins with: where the names are too long, they unpack one."""
    targets = side_by_side(names)
    if indent + len(f"for {targets} in {pieces}:") <= WIDTH:
        return targets, ()
    return "pieces", unpacked(names, "pieces", indent + len(STEP))


def comprehension(before: str, clauses: Sequence[str], indent: int, brackets: str = "{}") -> Lines:
    """`before{clauses}`: on one line, or with the clauses on a line of their own, or one line each."""
    inside, opening, closing = " ".join(clauses), brackets[0], brackets[1]
    if indent + len(before) + len(inside) + 2 <= WIDTH:
        return (f"{before}{opening}{inside}{closing}",)
    lines = (inside,) if indent + len(STEP) + len(inside) <= WIDTH else clauses
    return (f"{before}{opening}", *(STEP + line for line in lines), closing)


def assignment(target: str, terms: Sequence[str], indent: int) -> Lines:
    """`target = sum`: on one line, or the sum between parentheses, on one line or one line a term. Later terms begin with their sign.

    Of two long terms the second is added in a line of its own, where `ruff format` would cut inside its last brackets.
    """
    line = f"{target} = {' '.join(terms)}"
    if indent + len(line) <= WIDTH:
        return (line,)
    inside = " ".join(terms)
    if len(terms) == 2 and inside.endswith((")", "]")) and not re.search(rf"\b{re.escape(target)}\b", inside):
        apart = (f"{target} = {terms[0]}", f"{target} = {target} {terms[1]}")
        if all(indent + len(part) <= WIDTH for part in apart):
            return apart
    if len(terms) == 1 and (opening := _whole_call(inside)):
        return call(f"{target} = {inside[:opening]}", _arguments(inside[opening + 1 : -1]), "", indent)
    if len(terms) == 1 and (opening := _last_operand(inside)):
        lines = (f"{target} = {inside[:opening]}(", STEP + inside[opening + 1 : -1], ")")
        if all(indent + len(part) <= WIDTH for part in lines):
            return lines
    if indent + len(STEP) + len(inside) > WIDTH and len(terms) == 1:
        terms = operands(inside, WIDTH - indent - len(STEP))
    if indent + len(STEP) + len(inside) <= WIDTH or len(terms) == 1:
        return (f"{target} = (", STEP + inside, ")")
    return (f"{target} = (", *(STEP + term for term in terms), ")")


def _whole_call(text: str) -> int | None:
    """Where the arguments begin, of a text that is one call and nothing more."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += {")": 1, "]": 1, "(": -1, "[": -1}.get(text[place], 0)
        if depth == 0:
            return place if text[place] == "(" and text[-1] == ")" and text[:place].replace(".", "").isidentifier() else None
    return None


def operands(text: str, room: int) -> list[str]:
    """An expression cut apart before the signs of its terms; a term that is longer than the room, before its factors too."""
    return [part for term in _cut(text, SIGNS) for part in ([term] if len(term) <= room else _cut(term, PRODUCTS))]


SIGNS, PRODUCTS = (" + ", " - "), (" @ ", " * ", " / ")


def _cut(text: str, operators: tuple[str, ...]) -> list[str]:
    """A text cut apart before operators that stand in no brackets."""
    depth, starts = 0, [0]
    for place, letter in enumerate(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        if depth == 0 and text[place - 1 : place + 2] in operators:
            starts.append(place)
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _last_operand(text: str) -> int | None:
    """Where the brackets open that are the second and last operand of a product, which `ruff format` cuts inside of them."""
    depth, operators, closed = 0, [], 0
    for place, letter in enumerate(text):
        depth += {")": -1, "]": -1, "(": 1, "[": 1}.get(letter, 0)
        if depth == 0 and text[place : place + 3] in (" * ", " / ", " @ "):
            operators.append(place + 3)
        closed += depth == 0 and letter == ")" and len(operators) == 1
    return operators[0] if len(operators) == closed == 1 and text[operators[0]] == "(" and text[-1] == ")" else None


def _arguments(text: str) -> list[str]:
    """The arguments of a call, cut apart at the commas that stand in no brackets."""
    depth, starts = 0, [0]
    for place, letter in enumerate(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            starts.append(place + 1)
    return [text[start:end].strip() for start, end in zip(starts, [*(start - 1 for start in starts[1:]), None], strict=True)]


def indented(lines: Sequence[str], depth: int = 1) -> Lines:
    """The lines, deeper; empty ones stay empty."""
    return tuple(STEP * depth + line if line else line for line in lines)


def block(lines: Sequence[Lines]) -> Lines:
    """Statements, one after the other."""
    return tuple(line for statement in lines for line in statement)
