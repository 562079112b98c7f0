from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nlc.graph.text import CLOCK, FONTS, FORMULA, NAME, NOTE, Font, listed, shortened, wrapped, xml_text

REGULAR, BOLD, FIXED = Font("regular", 100), Font("bold", 100, is_bold=True), Font("fixed", 100, is_formula=True)

MEASURED = {
    "gradient_descent(learning_rate), retention alpha": (2419, 2751, 2866),
    "0.5 * norm2(memory(key) - value)": (1705, 1908, 1894),
    "like(weights), optimizer of memory": (1740, 1979, 2030),
    "level 30 (slowest = 1)": (1080, 1210, 1293),
    "every 536870912 tokens": (1245, 1386, 1305),
    "the quick brown fox jumps over the lazy dog": (2214, 2508, 2565),
}
"""Widths in DejaVu Sans, its bold and its fixed-width face at 100 pixels, as a renderer gives them: the widest of the usual fonts."""

words = st.text(st.characters(codec="utf-8"), max_size=80)


@pytest.mark.parametrize("text", MEASURED)
def test_an_estimate_is_not_too_small_and_not_much_too_large(text: str) -> None:
    for font, measured in zip((REGULAR, BOLD, FIXED), MEASURED[text], strict=True):
        assert 1 <= font.width(text) / measured <= 1.15


@given(words, st.sampled_from(FONTS), st.floats(20, 400))
def test_a_shortened_text_fits_and_begins_like_the_whole(text: str, font: Font, width: float) -> None:
    cut = shortened(text, font, width)
    assert font.width(cut) <= width
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]) and font.width(text) > width)


def test_a_text_is_shortened_no_more_than_needed() -> None:
    text = "a long sentence that goes on"
    cut = shortened(text, NOTE, 100)
    assert cut == "a long senten…"
    assert NOTE.width(text[: len(cut)] + "…") > 100


@given(words, st.floats(30, 300), st.integers(1, 4))
def test_wrapped_lines_fit_and_keep_the_words(text: str, width: float, lines: int) -> None:
    found = wrapped(text, FORMULA, width, lines)
    assert len(found) <= lines
    assert all(FORMULA.width(line) <= width for line in found)
    if not any(line.endswith("…") for line in found):
        assert " ".join(found).split() == text.split()


def test_wrapping_breaks_between_words_and_ends_with_an_ellipsis() -> None:
    assert wrapped("one two three four", NAME, NAME.width("one two "), 3) == ("one two", "three", "four")
    assert wrapped("one two three four", NAME, NAME.width("one two "), 2) == ("one two", "three f…")
    assert wrapped("", CLOCK, 100, 2) == ()


def test_a_very_long_text_takes_no_time() -> None:
    assert len(wrapped("word " * 200_000, NOTE, 700, 3)) == 3
    assert shortened("x" * 1_000_000, NOTE, 100).startswith("xxx")


@pytest.mark.parametrize(("count", "text"), [(1, "a"), (2, "a and b"), (3, "a, b and c")])
def test_words_are_listed_as_in_a_sentence(count: int, text: str) -> None:
    assert listed(("a", "b", "c")[:count]) == text


def test_markup_and_forbidden_characters_cannot_get_out() -> None:
    assert xml_text('<a href="x">&\x00\ud800\t') == "&lt;a href=&quot;x&quot;&gt;&amp;\ufffd\ufffd\t"
