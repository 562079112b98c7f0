"""Shapes -> SVG elements: every number rounded, every text escaped, every colour from one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal as OneOf

from nlc.graph.text import FONTS, Font, xml_text
from nlc.graph.wires import Kind

MARK = 'class="nlc-graph"'
"""In the first line of every picture that nlc draws, and of no other."""

INK, MUTED, PAPER, BAND, EDGE = "#17202a", "#4a5662", "#ffffff", "#f0f2f5", "#7b8794"

Fill = OneOf["per sequence", "shared"]
FILLS: Mapping[Fill, str] = MappingProxyType({"per sequence": "#e3effb", "shared": "#fcefdc"})
"""The colour of boxes: a state for each sequence, or one for all."""

Direction = OneOf["up", "down", "right"]
TURNS: Mapping[Direction, int] = MappingProxyType({"right": 0, "down": 90, "up": 270})

WIRES: Mapping[Kind | None, tuple[str, str]] = MappingProxyType(
    {"same tick": ("#1d5fa6", "none"), "older state": ("#a8400a", "7 4"), "forward": ("#6b3fa0", "2 4"), None: (MUTED, "none")}
)
"""The colour and the dashes of each kind of wire; None is for what enters from outside."""

COLOURS: Mapping[str, str] = MappingProxyType({"title": INK, "name": INK, "clock": INK, "formula": INK, "note": MUTED, "count": PAPER})
"""The colour of each font."""

HEAD = 7.0
"""How far a wire ends before the tip of its arrowhead, so that the tip is sharp."""

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',Arial,sans-serif"
FIXED = "ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono','Liberation Mono',Consolas,monospace"


Point = tuple[float, float]
Stroke = tuple[Point, Point] | tuple[Point, Point, Point]
"""A straight line, or a bend from the first point to the last whose corner would be the second."""


def is_drawn_by_nlc(text: str) -> bool:
    """Whether a file's text is a picture that this module wrote."""
    return MARK in text.partition("\n")[0]


def pixels(value: float) -> str:
    """A coordinate to a tenth of a pixel, without a useless zero."""
    return f"{value:.1f}".removesuffix(".0")


def document(width: float, height: float, title: str, description: str, parts: Iterable[str]) -> str:
    """A whole picture on white paper, that names and describes itself to those who do not see it."""
    size = f'viewBox="0 0 {pixels(width)} {pixels(height)}" width="{pixels(width)}" height="{pixels(height)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {MARK} {size} role="img">',
        f"<title>{xml_text(title)}</title>",
        f"<desc>{xml_text(description)}</desc>",
        f"<style>{''.join(_style())}</style>",
        rectangle(0, 0, width, height, PAPER),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _style() -> Iterator[str]:
    for font in FONTS:
        weight = "font-weight:600;" if font.is_bold else ""
        family = FIXED if font.is_formula else SANS
        yield f".nlc-graph .{font.name}{{font-family:{family};font-size:{font.size}px;{weight}fill:{COLOURS[font.name]}}}"
    for kind, (colour, dashes) in WIRES.items():
        yield f".nlc-graph .{_name(kind)}{{fill:none;stroke:{colour};stroke-width:1.8;stroke-dasharray:{dashes}}}"
        yield f".nlc-graph .{_name(kind)}-end{{fill:{colour}}}"


def _name(kind: Kind | None) -> str:
    return kind.replace(" ", "-") if kind else "context"


def text(x: float, y: float, words: str, font: Font, anchor: str = "start") -> str:
    """A line of text; y is its baseline, and the anchor says which of its ends (or `middle`) is at x."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{font.name}" x="{pixels(x)}" y="{pixels(y)}"{where}>{xml_text(words)}</text>'


def rectangle(left: float, top: float, right: float, bottom: float, fill: str, stroke: str = "none", radius: float = 0) -> str:
    """A rectangle by its edges."""
    size = f'x="{pixels(left)}" y="{pixels(top)}" width="{pixels(right - left)}" height="{pixels(bottom - top)}"'
    return f'<rect {size} rx="{pixels(radius)}" fill="{fill}" stroke="{stroke}"/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str) -> str:
    """A thin straight line."""
    return f'<path d="M{pixels(x1)} {pixels(y1)}L{pixels(x2)} {pixels(y2)}" stroke="{stroke}"/>'


def disc(x: float, y: float, radius: float, fill: str) -> str:
    """A disc."""
    return f'<circle cx="{pixels(x)}" cy="{pixels(y)}" r="{pixels(radius)}" fill="{fill}"/>'


def wire(kind: Kind | None, strokes: Iterable[Stroke]) -> str:
    """Strokes drawn as a wire of a kind; without one, as what enters from outside."""
    return f'<path class="{_name(kind)}" d="{"".join(_command(stroke) for stroke in strokes)}"/>'


def _command(stroke: Stroke) -> str:
    first, *rest = (f"{pixels(x)} {pixels(y)}" for x, y in stroke)
    return f"M{first}{'L' if len(rest) == 1 else 'Q'}{' '.join(rest)}"


def arrowhead(kind: Kind | None, x: float, y: float, direction: Direction) -> str:
    """The head of an arrow, its tip at (x, y); without a kind, of what enters from outside."""
    turn = f" rotate({TURNS[direction]})" if TURNS[direction] else ""
    return f'<path class="{_name(kind)}-end" transform="translate({pixels(x)} {pixels(y)}){turn}" d="M0 0L-8 -4L-8 4Z"/>'


def titled(title: str, parts: Iterable[str]) -> str:
    """Elements as one group that says what it is when pointed at."""
    return "\n".join([f"<g><title>{xml_text(title)}</title>", *parts, "</g>"])


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the picture across its whole width: its elements, and the y at which it ends."""

    parts: tuple[str, ...]
    bottom: float
