"""Syntax -> typed algebra: every name bound, every shape known, every mismatch reported with both places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from types import MappingProxyType

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Add, Compare, Constant, Expr, Full, Gradient, Input, Scale, Size, State, Tick, walk
from nlc.ir.build import add, constant, divide, matmul, power, scale, subtract, times
from nlc.ir.dims import shape_text
from nlc.ir.spec import Binary, Call, Comparison, Duration, Function, Listing, Name, Negate, Number, Syntax
from nlc.resolve.alignment import EyeOfAnySize, ShapeClash, conform, scaled
from nlc.resolve.calls import type_definition, type_function, type_index, type_join, type_side, type_split, type_where
from nlc.resolve.claim_words import CLAIM, CLAIM_WORDS, type_claim_word
from nlc.resolve.functions import FUNCTIONS
from nlc.resolve.reads import applied_level, part_of, plain_reading, type_held, type_previous, type_read, value_of
from nlc.resolve.recents import type_convolve, type_delay
from nlc.resolve.rotations import type_rotary
from nlc.resolve.scope import Scope
from nlc.resolve.sizes import MOST_DIGITS, is_out_of_bounds
from nlc.resolve.windows import WINDOW, type_age, type_now, type_over_window
from nlc.source import NOWHERE, Span

MOST_PARTS, DEEPEST = 5_000, 100
"""Of an expression in which all abbreviations are written out: what the later stages, which walk it recursively, are quick with."""

ELEMENTWISE: Mapping[str, Callable[[Expr, Expr], Expr]] = MappingProxyType({"+": add, "-": subtract, "*": times, "/": divide})
UNKNOWN_SIZE = "matrix of unknown size"


@dataclass(slots=True)
class Extent:
    """How large the expression being typed has become; `whole` is where it was begun."""

    whole: Span | None = None
    parts: int = 0
    depth: int = 0


@dataclass(slots=True)
class Typing:
    """Types expressions under one scope; remembers which names they used, and how large they have become.

    `path` are the abbreviations whose text is being typed, each with the place of that text.
    """

    scope: Scope
    counts: Mapping[str, Fraction] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    path: list[tuple[str, Span]] = field(default_factory=list)
    extent: Extent = field(default_factory=Extent)

    def expression(self, syntax: Syntax) -> Expr:
        """The typed expression; raises CompileError."""
        typed = self.open_expression(syntax)
        if isinstance(typed, EyeOfAnySize):
            raise CompileError(codes.wrong_shape(syntax.span, "the identity `eye`", UNKNOWN_SIZE, "next to a square matrix"))
        return typed

    def open_expression(self, syntax: Syntax) -> Expr | EyeOfAnySize:
        """The typed expression, which may be the identity of a size still to be settled by its neighbour."""
        self.spend(1, syntax.span)
        self.extent.depth += 1
        typed = self._typed(syntax)
        self.extent.depth -= 1
        if any(is_out_of_bounds(number) for number in _numbers(typed)):
            raise CompileError(codes.number_out_of_bounds(syntax.span, MOST_DIGITS))
        return typed

    def spend(self, parts: int, span: Span) -> None:
        """Count some more parts of the expression; raises CompileError when there are too many, or too many inside one another."""
        extent = self.extent
        extent.whole = extent.whole or span
        extent.parts += parts
        if extent.parts > MOST_PARTS or extent.depth > DEEPEST:
            what, limit = ("parts", MOST_PARTS) if extent.parts > MOST_PARTS else ("operations inside one another", DEEPEST)
            raise CompileError(codes.too_large(extent.whole, f"more than {limit:,} {what} once abbreviations are written out"))

    def spend_on(self, value: Expr, copies: int, span: Span) -> None:
        """Count the parts of a typed expression that is used so many times more."""
        if copies:
            self.spend(copies * sum(1 for _ in islice(walk(value), MOST_PARTS + 1)), span)

    def _typed(self, syntax: Syntax) -> Expr | EyeOfAnySize:
        match syntax:
            case Number(value):
                return constant(value)
            case Name():
                return self._name(syntax)
            case Negate(operand):
                return scaled(constant(-1), self.open_expression(operand))
            case Binary():
                return self._binary(syntax)
            case Call():
                return self._call(syntax)
            case Comparison():
                raise CompileError(codes.misplaced(syntax.span, "a comparison", "use it as the condition of where(a < b, x, y)"))
            case Duration():
                raise CompileError(codes.not_in_time(syntax.span, f"{syntax.unit}s", "durations belong to clocks and to hold(x, n tokens)"))
            case Function() | Listing():
                what = "a list" if isinstance(syntax, Listing) else "a function"
                raise CompileError(codes.misplaced(syntax.span, what, "write a single expression"))

    def condition(self, syntax: Syntax) -> Compare:
        """A comparison, as the condition of `where`."""
        match syntax:
            case Comparison((left, right), ("<" | "<=" | ">" | ">=" as operator,)):
                first, second = conform(operator, (left, self.expression(left)), (right, self.expression(right)))
                return Compare(operator, first, second, first.shape)
        raise CompileError(codes.not_scalar_condition(syntax.span))

    def under(self, scope: Scope) -> Typing:
        """Typing under other bindings, sharing the size limit and the record of used names."""
        return Typing(scope, self.counts, self.used, self.path, self.extent)

    @contextmanager
    def inside(self, name: str, span: Span) -> Iterator[None]:
        """While the text of an abbreviation, which is at `span`, is typed; raises CompileError when it is already being typed."""
        names = [entry for entry, _ in self.path]
        if name in names:
            raise CompileError(codes.abbreviation_circle(self.path[names.index(name) :]))
        self.path.append((name, span))
        yield
        self.path.pop()

    def _name(self, name: Name) -> Expr | EyeOfAnySize:
        text, scope = name.text, self.scope
        self.used.add(text)
        if text in scope.values:
            value = scope.values[text]
            self.spend_on(value, 1, name.span)
            if isinstance(value, Input | State | Gradient) and value.span == NOWHERE:
                return replace(value, span=name.span)
            return value
        if text in scope.levels:
            return value_of(plain_reading(self, name, scope.levels[text]), name.span)
        if text in scope.lets:
            with self.inside(text, scope.lets[text].span):
                return self.open_expression(scope.lets[text])
        if text in scope.dims:
            return Size(scope.dims[text])
        if text in scope.macros:
            return type_definition(self, scope.macros[text], Call(name, (), (), name.span))
        if text == "eye":
            return EyeOfAnySize()
        if text == "age":
            return type_age(self, name)
        if text == "tick" and scope.counted is not None:
            return Tick(scope.counted, span=name.span)
        if "." in text:
            return part_of(self, name)
        raise self._unknown(name)

    def _unknown(self, name: Name) -> CompileError:
        scope = self.scope
        own = {*scope.dims, *scope.values, *scope.levels, *scope.lets}
        words = {*FUNCTIONS, *SPECIAL, *(CLAIM_WORDS if scope.where == CLAIM else ())}
        return CompileError(codes.unknown_name(name.text, name.span, {*scope.names, *words}, own))

    def _binary(self, syntax: Binary) -> Expr | EyeOfAnySize:
        left, right = self.open_expression(syntax.left), self.open_expression(syntax.right)
        if syntax.operator == "@":
            return _product(syntax, left, right)
        if isinstance(left, EyeOfAnySize) or isinstance(right, EyeOfAnySize):
            return _next_to_eye(syntax, left, right)
        return _arithmetic(syntax, left, right)

    def _call(self, call: Call) -> Expr:
        reading = applied_level(self, call.function)
        if reading is not None:
            return type_read(self, reading, call)
        if not isinstance(call.function, Name):
            raise CompileError(codes.not_a_function(call.function.span, "this"))
        name, scope = call.function.text, self.scope
        self.used.add(name)
        if name in SPECIAL:
            return SPECIAL[name](self, call)
        if name in FUNCTIONS and any(key.text == "over" and value == Name(WINDOW) for key, value in call.keywords):
            return type_over_window(self, name, call)
        if name in FUNCTIONS:  # before the library: `dot` is also an objective, which takes no arguments
            return type_function(self, name, call)
        if name in scope.macros:
            return type_definition(self, scope.macros[name], call)
        if scope.where == CLAIM and name in CLAIM_WORDS and name not in scope.names:
            return type_claim_word(self, name, call)
        if name in scope.names or name in ("eye", "tick"):
            raise CompileError(codes.not_a_function(call.function.span, f"`{name}`"))
        raise self._unknown(call.function)


SPECIAL: Mapping[str, Callable[[Typing, Call], Expr]] = MappingProxyType(
    {
        "rows": type_side,
        "columns": type_side,
        "prev": type_previous,
        "hold": type_held,
        "delay": type_delay,
        "convolve": type_convolve,
        "now": type_now,
        "rotary": type_rotary,
        "where": type_where,
        "index": type_index,
        "split": type_split,
        "join": type_join,
    }
)


def _numbers(typed: Expr | EyeOfAnySize) -> Iterator[Fraction]:
    """The numbers at the top of an expression, where those below have been folded together."""
    match typed:
        case Constant(value) | Full(value) | Scale(Constant(value)):
            yield value
        case Add(terms):
            yield from (term.value for term in terms if isinstance(term, Constant | Full))
        case EyeOfAnySize(Constant(value)):
            yield value


def _next_to_eye(syntax: Binary, left: Expr | EyeOfAnySize, right: Expr | EyeOfAnySize) -> Expr | EyeOfAnySize:
    """+, -, * or / where one operand is the identity: a scalar scales it, a matrix settles its size."""
    match syntax.operator, left, right:
        case ("*", EyeOfAnySize(), other) if not isinstance(other, EyeOfAnySize) and other.shape == ():
            return scaled(other, left)
        case ("*", other, EyeOfAnySize()) if not isinstance(other, EyeOfAnySize) and other.shape == ():
            return scaled(other, right)
        case (_, EyeOfAnySize(), EyeOfAnySize()):
            raise CompileError(codes.wrong_shape(syntax.span, "the identity `eye`", UNKNOWN_SIZE, "next to a square matrix"))
        case (_, EyeOfAnySize(), other) if not isinstance(other, EyeOfAnySize):
            return _arithmetic(syntax, left.sized(other.shape, syntax.left.span), other)
        case (_, other, EyeOfAnySize()) if not isinstance(other, EyeOfAnySize):
            return _arithmetic(syntax, other, right.sized(other.shape, syntax.right.span))
    raise AssertionError(syntax)


def _arithmetic(syntax: Binary, left: Expr, right: Expr) -> Expr:
    operator = syntax.operator
    if operator == "**":
        if right.shape != ():
            raise ShapeClash(codes.wrong_shape(syntax.right.span, "an exponent", shape_text(right.shape), "a scalar"))
        return power(left, right)
    if operator == "and":
        raise CompileError(codes.misplaced(syntax.span, "`and`", "`and` joins the equations under `given` of a claim"))
    if operator == "*" and () in (left.shape, right.shape):
        return times(left, right)
    if operator == "/" and right.shape == ():
        return divide(left, right)
    return ELEMENTWISE[operator](*conform(operator, (syntax.left, left), (syntax.right, right)))


def _product(syntax: Binary, left: Expr | EyeOfAnySize, right: Expr | EyeOfAnySize) -> Expr | EyeOfAnySize:
    if isinstance(left, EyeOfAnySize):
        return scaled(left.by, right)
    if isinstance(right, EyeOfAnySize):
        return scale(right.by, left)
    if len(left.shape) == 2 and len(right.shape) in (1, 2) and left.shape[1] == right.shape[0]:
        return matmul(left, right)
    pairs = ((left.shape[1], right.shape[0]),) if len(left.shape) == 2 and right.shape else ()
    places = (syntax.left.span, shape_text(left.shape)), (syntax.right.span, shape_text(right.shape))
    fits_transposed = len(left.shape) == 2 and right.shape != () and left.shape[0] == right.shape[0]
    raise ShapeClash(codes.product_shapes(*places, fits_transposed=fits_transposed), pairs)
