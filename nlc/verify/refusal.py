"""A call that must be refused -> whether it is, and by the right exception."""

from __future__ import annotations

from collections.abc import Callable

from nlc.verify.observe import Pair
from nlc.verify.square import Square


def refusal(pair: Pair, what: str, call: Callable[[], object], error: type[Exception] = ValueError) -> Square:
    """A square that closes when the call raises this error and no other."""
    try:
        call()
    except error:
        return pair.square(f"refusal of {what}", 0.0, 0.0)
    except Exception as other:
        return pair.square(f"refusal of {what}", 1.0, 0.0, f"{type(other).__name__} is raised for {what}, not {error.__name__}")
    return pair.square(f"refusal of {what}", 1.0, 0.0, f"{what} is accepted")
