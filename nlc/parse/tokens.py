"""The text of an expression -> its tokens: names, numbers, operators and signs, with the word to use for what is none of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal as OneOf

from nlc.codes import parse as codes
from nlc.diagnostics import CompileError
from nlc.parse.written import Written
from nlc.source import Span

PATTERN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>->|\*\*|==|!=|<=|>=|[-+*/@<>~=(),\[\].])"
)
WORD_OPERATORS = frozenset({"and", "in"})

INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "^": "write ** for a power",
        "&": "write `and` between conditions",
        "!": "write != for unequal",
        "|": "write norm(x) for a norm, abs(x) for an absolute value",
        "‖": "write norm(x), or norm2(x) for the square of the norm",
        "∥": "write norm(x), or norm2(x) for the square of the norm",
        "ᵀ": "write transpose(x); an outer product is outer(a, b), an inner one dot(a, b)",
        "⊤": "write transpose(x); an outer product is outer(a, b), an inner one dot(a, b)",  # noqa: RUF001
        "'": "write transpose(x) for a transpose, prev(x) for an earlier value; expressions hold no text",
        '"': "expressions hold no text",
        "⟨": "write an inner product as dot(k, v)",
        "⟩": "write an inner product as dot(k, v)",
        "⊗": "write an outer product as outer(a, b)",
        "⊙": "write * for the product entry by entry",
        "∘": "write * for the product entry by entry",
        "·": "write * for a product of numbers, dot(a, b) for one of vectors",
        "×": "write * for a product of numbers, @ for one of matrices",  # noqa: RUF001
        "−": "write the plain minus sign -",  # noqa: RUF001
        "²": "write x ** 2, or norm2(x)",
        "√": "write sqrt(x)",
        "∑": "write sum(x)",
        "∇": "gradients are derived by nlc; name the level in its objective",
        "∂": "gradients are derived by nlc; name the level in its objective",
        "≤": "write <=",
        "≥": "write >=",
        "≠": "write !=",
        "≈": "write ==; how closely it holds is for nlc to find out",
        "∼": "write ~",  # noqa: RUF001
        "λ": "write the name of the rate in words: weight_decay",
        "%": "there is no remainder; clocks are written every: 4 steps",
        "$": "write a name without $",
        "?": "write where(condition, x, y)",
        ":": "name an argument with =, as in f(rate = beta)",
        ";": "write one expression; name parts of it under `let:`",
        "{": "group with ( )",
        "}": "group with ( )",
        "`": "write the name without quotes",
        "\\": "write a name in words",
        "#": "a comment follows a blank: ` # text`",
    }
)
"""Characters that people write in formulas, and what to write in a spec."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; `kind` is `sign` for operators and brackets, `end` after the last piece."""

    kind: OneOf["number", "name", "sign", "end"]
    text: str
    span: Span

    @property
    def words(self) -> str:
        """The token as a diagnostic calls it."""
        return "the end" if self.kind == "end" else f"`{self.text[:60]}`"

    def is_sign(self, *texts: str) -> bool:
        return self.kind == "sign" and self.text in texts


def tokenize(expression: Written) -> tuple[Token, ...]:
    """The tokens of the expression, an `end` last; raises CompileError at the first character that belongs to none."""
    tokens: list[Token] = []
    position = 0
    while position < len(expression.text):
        match = PATTERN.match(expression.text, position)
        if match is None:
            raise CompileError(codes.unexpected_character(expression.span(position, position + 1), _instead(expression.text[position])))
        if match.lastgroup != "blank":
            tokens.append(_token(match, expression))
            _refuse_glued(tokens)
        position = match.end()
    return (*tokens, Token("end", "", expression.span(position, position)))


def _token(match: re.Match[str], expression: Written) -> Token:
    text, span = match.group(), expression.span(match.start(), match.end())
    if match.lastgroup == "number":
        return Token("number", text, span)
    if match.lastgroup == "name" and text not in WORD_OPERATORS:
        return Token("name", text, span)
    return Token("sign", text, span)


def _refuse_glued(tokens: list[Token]) -> None:
    """Refuse `2x`: a number and a name without anything between."""
    match tokens[-2:]:
        case [Token("number", number, left), Token(_, name, right)] if left.end == right.start and name.isidentifier():
            raise CompileError(codes.glued_number(left.to(right), number, name))


def _instead(character: str) -> str:
    """What to write for a character that no expression holds: from the table, or its name when it is a letter."""
    if character in INSTEAD:
        return INSTEAD[character]
    if not character.isalpha():
        return ""
    word = unicodedata.name(character, "letter").split()[-1].lower()
    return f"write the letter as a word: {word}" if len(word) > 1 else "names are written with the letters a to z"
