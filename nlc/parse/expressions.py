"""A scalar -> the syntax tree of its expression, by a Pratt parser: each operator has a power with which it holds its operands.

Loosest first: `and`; comparisons, which chain; `+ -`; `* / @`; unary minus; `**`, from the right; then calls and units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Literal as OneOf, NoReturn, cast, get_args

from nlc.codes import parse as codes
from nlc.diagnostics import CompileError
from nlc.ir.spec import (
    Binary,
    BinaryOperator,
    Call,
    Comparison,
    ComparisonOperator,
    Duration,
    Function,
    Listing,
    Name,
    Negate,
    Number,
    Syntax,
)  # fmt: skip
from nlc.parse.nodes import Scalar
from nlc.parse.sizes import is_too_large
from nlc.parse.tokens import Token, tokenize
from nlc.parse.written import written

LONGEST_EXPRESSION = 4096
DEEPEST_NESTING = 64
"""Brackets, minus signs and powers inside one another."""

DEEPEST_RECURSION = 160
"""Expressions inside one another, counting right operands too: keeps the parser within Python's stack."""

LONGEST_NUMBER = 40
LARGEST_EXPONENT = 400

COMPARISON_POWER, UNARY_POWER = 20, 50
COMPARISONS = frozenset(get_args(ComparisonOperator))

POWERS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"and": (10, 11), "+": (30, 31), "-": (30, 31), "*": (40, 41), "/": (40, 41), "@": (40, 41), "**": (60, 60)}
)
"""How strongly each operator holds its left and its right operand; equal powers group from the right."""

Unit = OneOf["token", "step", "sequence", "update"]
UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        "token": "token", "tokens": "token", "step": "step", "steps": "step",
        "sequence": "sequence", "sequences": "sequence", "update": "update", "updates": "update",
    }
)  # fmt: skip
CLOSERS: Mapping[str, str] = MappingProxyType({"(": ")", "[": "]"})


def parse_expression(scalar: Scalar) -> Syntax:
    """The syntax tree of a scalar's text, with exact spans; raises CompileError with the first mistake."""
    return parse_after(scalar, ())


def parse_after(scalar: Scalar, words: tuple[str, ...]) -> Syntax:
    """The syntax tree of what follows some words in a scalar's text; raises CompileError with the first mistake."""
    if not scalar.text.strip():
        raise CompileError(codes.empty_expression(scalar.span))
    if len(scalar.text) > LONGEST_EXPRESSION:
        raise CompileError(codes.expression_too_long(scalar.span, LONGEST_EXPRESSION))
    tokens = tokenize(written(scalar))
    for token, word in zip(tokens, words, strict=False):
        if token.text != word:
            raise CompileError(codes.unexpected(token.span, token.words, f"`{word}`"))
    tree = _Parser(tokens[len(words) :]).whole()
    if is_too_large(tree):
        raise CompileError(codes.expression_too_deep(scalar.span))
    return tree


@dataclass(slots=True)
class _Parser:
    tokens: tuple[Token, ...]
    position: int = 0
    nesting: int = 0
    recursion: int = 0

    # --- the stream of tokens ---

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    @property
    def following(self) -> Token:
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    @property
    def previous(self) -> Token:
        return self.tokens[max(self.position - 1, 0)]

    def advance(self) -> Token:
        token = self.token
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One more bracket, sign or power around what is parsed inside."""
        self.nesting += 1
        if self.nesting > DEEPEST_NESTING:
            raise CompileError(codes.expression_too_deep(self.token.span))
        yield
        self.nesting -= 1

    def close(self, opener: Token) -> Token:
        """The bracket that closes `opener`."""
        if self.token.is_sign(CLOSERS[opener.text]):
            return self.advance()
        if self.token.kind == "end" or self.token.is_sign(")", "]"):
            raise CompileError(codes.unclosed(opener.span, self.token.span, CLOSERS[opener.text]))
        self.refuse_continuation()

    # --- the grammar ---

    def whole(self) -> Syntax:
        tree = self.expression(0)
        if self.token.kind != "end":
            self.refuse_continuation()
        return tree

    def expression(self, power: int) -> Syntax:
        """The longest expression from here on whose operators hold their left operand at least this strongly."""
        self.recursion += 1
        if self.recursion > DEEPEST_RECURSION:
            raise CompileError(codes.expression_too_deep(self.token.span))
        left = self.unary()
        while self.token.kind == "sign":
            operator = self.token.text
            if operator in COMPARISONS and power <= COMPARISON_POWER:
                left = self.comparison(left)
            elif operator in POWERS and power <= POWERS[operator][0]:
                left = self.binary(left, operator)
            else:
                break
        self.recursion -= 1
        return left

    def binary(self, left: Syntax, operator: str) -> Syntax:
        self.advance()
        if operator == "**":
            with self.nested():
                right = self.expression(POWERS[operator][1])
        else:
            right = self.expression(POWERS[operator][1])
        return Binary(cast(BinaryOperator, operator), left, right, left.span.to(right.span))

    def comparison(self, left: Syntax) -> Syntax:
        operands, operators = [left], []
        while self.token.kind == "sign" and self.token.text in COMPARISONS:
            operators.append(cast(ComparisonOperator, self.advance().text))
            operands.append(self.expression(COMPARISON_POWER + 1))
        return Comparison(tuple(operands), tuple(operators), left.span.to(operands[-1].span))

    def unary(self) -> Syntax:
        if not self.token.is_sign("-"):
            return self.postfix(self.primary())
        sign = self.advance()
        with self.nested():
            operand = self.expression(UNARY_POWER)
        return Negate(operand, sign.span.to(operand.span))

    def primary(self) -> Syntax:
        token = self.token
        if token.kind == "number":
            return Number(_number(self.advance()), token.span)
        if token.kind == "name":
            return self.dotted_name()
        if token.is_sign("("):
            return self.function() if self.is_function() else self.group()
        if token.is_sign("["):
            opener = self.advance()
            items = self.items(opener)
            return Listing(items, opener.span.to(self.close(opener).span))
        self.refuse_operand()

    def dotted_name(self) -> Name:
        start = self.position
        last = self.advance()
        while self.token.is_sign(".") and self.following.kind == "name":
            self.advance()
            last = self.advance()
        parts = self.tokens[start : self.position]
        return Name("".join(part.text for part in parts), parts[0].span.to(last.span))

    def group(self) -> Syntax:
        opener = self.advance()
        with self.nested():
            inner = self.expression(0)
        return replace(inner, span=opener.span.to(self.close(opener).span))

    def is_function(self) -> bool:
        """Whether the bracket here holds nothing but names and is followed by an arrow."""
        position = self.position + 1
        while self.tokens[position].kind == "name" or self.tokens[position].is_sign(","):
            position += 1
        return self.tokens[position].is_sign(")") and self.tokens[position + 1].is_sign("->")

    def function(self) -> Function:
        opener = self.advance()
        names = self.items(opener)
        closer = self.close(opener)
        if not names:
            raise CompileError(codes.unexpected(closer.span, closer.words, "the name of a parameter"))
        self.advance()
        with self.nested():
            body = self.expression(0)
        parameters: dict[str, Name] = {}
        for name in names:
            if not isinstance(name, Name):
                raise CompileError(codes.unexpected(name.span, "an expression", "the name of a parameter"))
            first = parameters.setdefault(name.text, name)
            if first is not name:
                raise CompileError(codes.repeated_argument(first.span, name.span))
        return Function(tuple(parameters.values()), body, opener.span.to(body.span))

    def postfix(self, operand: Syntax) -> Syntax:
        """Calls of the operand, then a unit: `prev(memory)(k)`, `16 tokens`."""
        while self.token.is_sign("("):
            operand = self.call(operand)
        if self.token.kind == "name" and self.token.text in UNITS:
            unit = self.advance()
            return Duration(operand, UNITS[unit.text], operand.span.to(unit.span))
        return operand

    def call(self, function: Syntax) -> Call:
        opener = self.advance()
        arguments: list[Syntax] = []
        keywords: dict[str, tuple[Name, Syntax]] = {}
        for _ in self.commas(opener):
            if self.token.kind == "name" and self.following.is_sign("="):
                self.keyword(keywords)
            elif keywords:
                raise CompileError(codes.argument_order(self.token.span))
            else:
                arguments.append(self.expression(0))
        return Call(function, tuple(arguments), tuple(keywords.values()), function.span.to(self.close(opener).span))

    def keyword(self, keywords: dict[str, tuple[Name, Syntax]]) -> None:
        token = self.advance()
        self.advance()
        if token.text in keywords:
            raise CompileError(codes.repeated_argument(keywords[token.text][0].span, token.span))
        keywords[token.text] = (Name(token.text, token.span), self.expression(0))

    def items(self, opener: Token) -> tuple[Syntax, ...]:
        return tuple(self.expression(0) for _ in self.commas(opener))

    def commas(self, opener: Token) -> Iterator[None]:
        """One turn for each item up to the bracket that closes `opener`; the items are parsed by whoever iterates."""
        if self.token.is_sign(CLOSERS[opener.text]):
            return
        with self.nested():
            yield
            while self.token.is_sign(","):
                comma = self.advance()
                if self.token.kind == "end" or self.token.is_sign(")", "]"):
                    raise CompileError(codes.trailing_comma(comma.span))
                yield

    # --- mistakes ---

    def refuse_operand(self) -> NoReturn:
        """There is no operand here."""
        token = self.token
        if token.is_sign("<"):
            raise CompileError(codes.angle_brackets(token.span))
        if token.is_sign(")", "]") and self.position == 0:
            raise CompileError(codes.unopened(token.span))
        if token.kind == "end" and self.previous.is_sign(*CLOSERS):
            raise CompileError(codes.unclosed(self.previous.span, token.span, CLOSERS[self.previous.text]))
        raise CompileError(codes.unexpected(token.span, token.words, "an operand"))

    def refuse_continuation(self) -> NoReturn:
        """An expression has ended, and what stands here cannot go on."""
        token = self.token
        if token.is_sign("="):
            raise CompileError(codes.single_equals(token.span))
        if token.is_sign(")", "]"):
            raise CompileError(codes.unopened(token.span))
        if token.is_sign("["):
            raise CompileError(codes.indexing(token.span))
        if token.kind in ("name", "number"):
            raise CompileError(codes.missing_operator(self.previous.span, token.span))
        raise CompileError(codes.unexpected(token.span, token.words, "an operator"))


def _number(token: Token) -> Fraction:
    """The number exactly; raises CompileError when writing it out would take much room."""
    _, _, exponent = token.text.lower().partition("e")
    if len(token.text) > LONGEST_NUMBER or abs(int(exponent or "0")) > LARGEST_EXPONENT:
        raise CompileError(codes.number_too_long(token.span))
    return Fraction(token.text)
