"""Statements that are too long for a line are broken as `ruff format` breaks them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nlc.emit.layout import WIDTH, Lines, assignment, comprehension

LONG = "a_name_that_has_thirty_letters"
PRODUCT = f"{LONG}1 * ({LONG}2 + {LONG}3 + {LONG}4)"
STATEMENTS = {
    "a product with a sum in brackets": assignment(LONG, [PRODUCT], 0),
    "two products": assignment(LONG, [f"{LONG}1 * ({LONG}2 + {LONG}3) * {LONG}4"], 0),
    "a sum": assignment(LONG, [f"{LONG}1", f"+ {LONG}2", f"- {LONG}3", f"+ {LONG}4"], 0),
    "a call": assignment(LONG, [f"call({LONG}1, {LONG}2, {LONG}3, {LONG}4)"], 0),
    "a dict made in two lines": comprehension("x = ", ["k: v", f"for k, v in {LONG}.items()", f"if k not in {{{LONG}1, {LONG}2}}"], 0),
    "a dict made in four lines": comprehension(
        "x = ", [f"k: {LONG}4(v)", f"for k, v in {LONG}.items()", f"if k in {{{LONG}1, {LONG}2}}"], 0
    ),
    "what a call is given in two lines": comprehension("x = call", [f"{LONG}1({LONG}2, {LONG}3)", f"for _ in range({LONG}4)"], 0, "()"),
    "a dict on one line": comprehension("x = ", ["k: v", "for k, v in y.items()"], 0),
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_it_is_what_ruff_writes(what: str) -> None:
    lines: Lines = STATEMENTS[what]
    text = "\n".join(lines) + "\n"
    command = [sys.executable, "-m", "ruff", "format", "--line-length", str(WIDTH), "-"]
    formatted = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    assert formatted == text


def test_of_two_long_terms_the_second_is_added_unless_it_reads_the_target() -> None:
    first, second = f"a * ({'x' * 70})", f"+ b * ({'y' * 70})"
    assert assignment("sums", (first, second), 8) == (f"sums = {first}", f"sums = sums {second}")
    own = f"+ sums * ({'y' * 70})"
    assert assignment("sums", (first, own), 8) == ("sums = (", f"    {first}", f"    {own}", ")")
