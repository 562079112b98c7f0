"""What an experiment found -> its page, its numbers and its picture below docs/experiments/, when its command line asks for them."""

from __future__ import annotations

import argparse
from pathlib import Path


def is_asked_to_write(says: str | None) -> bool:
    """Whether the command line has `--write`; `says` is what `--help` prints."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="rewrite the page, its numbers and its picture")
    return bool(parser.parse_args().write)


def write(page: Path, *, text: str, numbers: str, picture: str) -> None:
    """The three files, of one name."""
    page.with_suffix(".json").write_text(numbers, encoding="utf-8")
    page.with_suffix(".svg").write_text(picture, encoding="utf-8")
    page.write_text(text, encoding="utf-8")
