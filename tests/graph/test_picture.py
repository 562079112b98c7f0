from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from nlc.graph import draw_levels, is_drawn_by_nlc
from nlc.graph.svg import BAND, EDGE, FILLS, INK, MUTED, PAPER, WIRES
from nlc.graph.text import FONTS
from nlc.ir.order import LevelOrder
from nlc.order import order_levels
from tests import models
from tests.graph.reading import Box, Picture, read
from tests.graph.systems import DOCUMENTED, all_to_all, continuum_memory, everything, ordered, orders
from tests.order.systems import entry, system, tokens

FONT_OF = {font.name: font for font in FONTS}
ORDERS = (*(order_levels(model()) for model in models.ALL), everything())


def edges_of(order: LevelOrder) -> set[tuple[str, str, str]]:
    return {(edge.reader, edge.source, edge.kind) for edge in order.edges}


def assert_nothing_overlaps(picture: Picture) -> None:
    width, height = (float(picture.root.attrib[name]) for name in ("width", "height"))
    for box in picture.boxes:
        assert 0 < box.left < box.right < width and 0 < box.top < box.bottom < height
    for one, other in combinations(picture.boxes, 2):
        assert one.right < other.left or other.right < one.left or one.bottom < other.top or other.bottom < one.top
    for wires in picture.wires:
        for stroke in (*wires.lines, *wires.bends):
            assert all(0 < x < width and 0 < y < height for x, y in stroke)
            assert [box.name for box in picture.boxes if box.is_entered(stroke)] == []


def extent(text: ElementTree.Element) -> Box:
    """The room that a text takes, by the estimate of its width."""
    font, x, y = FONT_OF[text.attrib["class"]], float(text.attrib["x"]), float(text.attrib["y"])
    left = x - font.width(text.text or "") / 2 if text.attrib.get("text-anchor") == "middle" else x
    return Box(text.text or "", left, y - 0.75 * font.size, left + font.width(text.text or ""), y + 0.2 * font.size)


def assert_texts_fit(picture: Picture) -> None:
    """Every text is inside the picture, inside the box in which it begins, and neither on another one nor under a wire."""
    width, height = (float(picture.root.attrib[name]) for name in ("width", "height"))
    places = [extent(text) for text in picture.texts()]
    strokes = [stroke for wires in picture.wires for stroke in (*wires.lines, *wires.bends)]
    for place in places:
        assert 0 < place.left < place.right <= width and 0 < place.top < place.bottom < height, place
        assert all(place.right < box.right for box in picture.boxes if box.is_entered(((place.left, place.top),))), place
        assert not any(place.is_entered(stroke) for stroke in strokes), place
    for one, other in combinations(places, 2):
        assert not one.is_entered(((other.left, other.top), (other.right, other.bottom))), (one, other)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.model.name)
def test_the_wires_say_what_reads_what(order: LevelOrder) -> None:
    picture = read(draw_levels(order))
    assert picture.edges == edges_of(order)
    assert {box.name for box in picture.boxes} == set(order.run_order)
    assert_nothing_overlaps(picture)
    assert_texts_fit(picture)


@given(orders())
@settings(max_examples=25)
def test_whatever_reads_what_is_drawn_without_doubt(order: LevelOrder) -> None:
    picture = read(draw_levels(order))
    assert picture.edges == edges_of(order)
    assert_nothing_overlaps(picture)
    assert_texts_fit(picture)


def test_a_wire_that_is_missing_or_bends_elsewhere_is_noticed() -> None:
    text, edges = draw_levels(everything()), edges_of(everything())
    bends = [match.span() for match in re.finditer(r"M[\d.]+ [\d.]+Q[\d. ]+", text)]
    assert len(bends) > 50
    for start, end in bends[::7]:
        assert read(text[:start] + text[end:]).edges != edges


def test_levels_are_rows_the_fastest_on_top() -> None:
    order = everything()
    tops = {box.name: box.top for box in read(draw_levels(order)).boxes}
    rows = [{tops[name] for name in level.components} for level in order.levels]
    assert all(max(above) < min(below) for above, below in pairwise(rows))
    assert [len(row) for row in rows] == [1, 1, 1, 1, 1, 1, 2, 2, 1, 1]


def test_each_level_says_its_clock_its_rank_and_both_numbers_of_the_paper() -> None:
    order = everything()
    picture = read(draw_levels(order))
    clocks = [text.text for text in picture.texts("clock")]
    expected = ["always", "every token / 5", "every token", "every token", "every 16 tokens", "every sequence", "every step", "every step"]
    assert clocks == [*expected, "every (25 steps) / 3", "never", "Timetable"]
    notes = [text.text for text in picture.texts("note")]
    for level in order.levels:
        place = notes.index(f"speed rank {level.speed_rank}")
        assert notes[place + 1 : place + 3] == [
            f"level {level.speed_rank + 1} (fastest = 1)",
            f"level {10 - level.speed_rank} (slowest = 1)",
        ]


def test_a_box_says_memory_objective_and_optimizer_and_what_enters_and_leaves() -> None:
    order = ordered(next(path for path in DOCUMENTED if path.stem == "gated_delta_rule_with_momentum"))
    words = [text.text for text in read(draw_levels(order)).texts()]
    box = ["memory", "matrix(d_v, d_k)", "0.5 * norm2(memory(key) - value)", "momentum, retention alpha", "k, v, alpha", "y"]
    start = words.index("memory")
    assert words[start : start + len(box)] == box
    assert {"y = memory(q)", "q, k, v, beta, alpha", "like(weights), optimizer of memory", "beta, gradient(memory)"} <= set(words)


def test_an_output_of_a_slower_memory_reads_its_older_state(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(continuum_memory(2))
    groups = [group for group in read(draw_levels(ordered(tmp_path / "two.yaml"))).groups if "optimizer" in (group[0].text or "")]
    assert [
        [path.attrib["class"] for path in group if "class" in path.attrib and path.attrib["class"].endswith("-end")] for group in groups
    ] == [
        ["context-end", "same-tick-end"],
        ["context-end", "older-state-end"],
    ]


@pytest.mark.parametrize("count", [1, 3, 30])
def test_a_continuum_memory_of_any_size_is_800_pixels_wide(tmp_path: Path, count: int) -> None:
    (tmp_path / "memory.yaml").write_text(continuum_memory(count))
    order = ordered(tmp_path / "memory.yaml")
    picture = read(draw_levels(order))
    assert picture.root.attrib["width"] == "800"
    assert picture.edges == edges_of(order)
    assert len(picture.edges) == 2 * (count - 1)
    assert_texts_fit(picture)
    assert_nothing_overlaps(picture)


def test_many_lanes_make_the_picture_wider_not_the_boxes_too_small() -> None:
    names = [f"memory_{number:02d}" for number in range(40)]
    entries = [entry(name, tokens(2**number), " ".join(names[:number]) if number == 39 else "") for number, name in enumerate(names)]
    order = order_levels(system(*entries))
    picture = read(draw_levels(order))
    assert float(picture.root.attrib["width"]) > 800
    assert min(box.right - box.left for box in picture.boxes) > 290
    assert picture.edges == edges_of(order)
    assert len(picture.edges) == 39


@pytest.mark.parametrize("in_a_level", [3, 10])
def test_wires_without_room_make_the_picture_wider_not_ambiguous(in_a_level: int) -> None:
    order = all_to_all(10, in_a_level)
    picture = read(draw_levels(order))
    assert picture.edges == edges_of(order)
    assert len(picture.edges) == 3 * 10 * 9
    assert float(picture.root.attrib["width"]) > 800
    assert_nothing_overlaps(picture)


def test_the_same_order_gives_the_same_bytes() -> None:
    assert draw_levels(everything()) == draw_levels(everything())
    assert is_drawn_by_nlc(draw_levels(everything()))
    assert not is_drawn_by_nlc('<svg xmlns="http://www.w3.org/2000/svg"></svg>')


def test_a_picture_names_and_describes_itself() -> None:
    root = read(draw_levels(order_levels(models.momentum()))).root
    assert root.attrib["role"] == "img"
    assert root[0].text == "The levels of Momentum, fastest first"
    assert root[1].text == (
        "2 levels, 2 components. Level 1 (every step): momentum. Level 2 (every step): weights. weights reads momentum: same tick."
    )


def test_what_xml_does_not_allow_is_replaced() -> None:
    text = draw_levels(everything())
    assert "\a" not in text
    assert "Everything at once, <with> & without 記憶 \ufffd." in [element.text for element in read(text).texts()]


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_have_the_contrast_that_wcag_asks_for() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in (PAPER, BAND, *FILLS.values()):
        assert min(contrast(ink, ground) for ink in (INK, MUTED)) >= 4.5
    for ground in (PAPER, BAND):
        assert min(contrast(colour, ground) for colour, _ in WIRES.values()) >= 3
    assert min(contrast(EDGE, ground) for ground in FILLS.values()) >= 3
    assert contrast(PAPER, INK) >= 4.5


def test_the_documented_continuum_memory_is_the_one_of_these_tests() -> None:
    assert next(path for path in DOCUMENTED if path.stem == "continuum_memory").read_text() == continuum_memory(30)


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_the_pictures_of_the_manual_are_current(path: Path) -> None:
    assert path.with_suffix(".svg").read_text() == draw_levels(ordered(path)), f"run: nlc graph {path} -o {path.with_suffix('.svg')}"
