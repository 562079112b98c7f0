"""NLC3xx: levels that cannot run: clocks that do not fit together, and updates that wait for one another."""

from __future__ import annotations

from collections.abc import Sequence

from nlc.codes.code import Code
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def uneven_chunks(small: tuple[Span, str], large: tuple[Span, str]) -> Diagnostic:
    """A chunk that does not divide a slower one; each comes with its clock in words."""
    return Diagnostic(
        "NLC301",
        "a chunk does not divide a slower one",
        (Label(small[0], f"updated {small[1]}"), Label(large[0], f"updated {large[1]}, in the middle of such a chunk")),
        "make the slower period a multiple of the faster one",
    )


def uneven_reset(level: str, every: tuple[Span, str], reset: tuple[Span, str]) -> Diagnostic:
    return Diagnostic(
        "NLC302",
        f"`{level}` is reset in the middle of a chunk",
        (Label(reset[0], f"reset {reset[1]}"), Label(every[0], f"but updated {every[1]}")),
        "make the period of `reset` a multiple of the level's own",
    )


def reset_too_fast(level: str, every: tuple[Span, str], reset: tuple[Span, str]) -> Diagnostic:
    return Diagnostic(
        "NLC303",
        f"`{level}` is reset more often than it is updated",
        (Label(reset[0], f"reset {reset[1]}"), Label(every[0], f"but updated {every[1]}")),
        "what it writes would be lost before its next update; reset it on its own clock or on a slower one",
    )


def off_schedule(reader: str, read: Span, host: str, reader_clock: tuple[Span, str], host_clock: tuple[Span, str]) -> Diagnostic:
    """A level that reads a gradient more often than there is one."""
    labels = (
        Label(read, f"{reader} reads the gradient of {host} here"),
        Label(reader_clock[0], f"{reader} is updated {reader_clock[1]}"),
        Label(host_clock[0], f"{host} is updated {host_clock[1]}, and has a gradient only then"),
    )
    return Diagnostic(
        "NLC304",
        f"`{reader}` reads the gradient of `{host}` off schedule",
        labels,
        f"update {reader} with {host} or more slowly; a slower level reduces the gradients since its last update",
    )


def same_tick_cycle(reads: Sequence[tuple[str, str, Span]], tick: str, delayed: str) -> Diagnostic:
    """Levels that need one another's new state; each read is (reader, source, span), and `delayed` is the last with `prev`."""
    labels = tuple(
        Label(span, f"{'and ' if index else ''}{reader} needs the new {source} here") for index, (reader, source, span) in enumerate(reads)
    )
    return Diagnostic(
        "NLC305",
        f"{_needs([reader for reader, _, _ in reads])} new state at the same {tick}",
        labels,
        f"read the state before this {tick}'s write: {delayed}",
    )


def _needs(readers: Sequence[str]) -> str:
    match len(readers):
        case 1:
            return f"`{readers[0]}` needs its own"
        case 2:
            return "two levels need each other's"
        case count:
            return f"{count} levels need one another's"


def slow_reads_fast(reader: str, source: str, read: Span, reader_every: Span, source_every: Span) -> Diagnostic:
    labels = (
        Label(read, f"{reader} reads {source} here"),
        Label(reader_every, f"{reader} is slow: one state, shared by all sequences"),
        Label(source_every, f"{source} is fast: one state for every sequence"),
    )
    return Diagnostic(
        "NLC306",
        f"the update of slow level `{reader}` reads fast level `{source}`",
        labels,
        f"a slow level learns from data and gradients only; let it read inputs or other slow levels, or update {reader} on a token clock",
    )


def kept_state(place: Span, every: Span, level: str, what: str) -> Diagnostic:
    return Diagnostic(
        "NLC307",
        f"`{level}` is re-solved for every query and cannot have {what}",
        (Label(place, f"{what} acts on an old state"), Label(every, "but nothing is kept from one query to the next")),
        "take it out, or let the level keep a state with `every: token`",
    )


def not_closed_form(optimizer: Span, every: Span, level: str) -> Diagnostic:
    return Diagnostic(
        "NLC308",
        f"`{level}` is re-solved for every query and needs `optimizer: closed_form`",
        (Label(optimizer, "this takes a step from an old state"), Label(every, "but nothing is kept from one query to the next")),
        "write `optimizer: closed_form`, or let the level keep a state with `every: token`",
    )


def starts_in_a_ring(reads: Sequence[tuple[str, Span, str]]) -> Diagnostic:
    """Levels that start from one another; each comes with the place of its `init` and the level that it starts from."""
    labels = tuple(
        Label(span, f"{'and ' if index else ''}{level} starts from {source}") for index, (level, span, source) in enumerate(reads)
    )
    return Diagnostic(
        "NLC309",
        f"{'and '.join(f'`{level}` ' for level, _, _ in reads)}start from one another",
        labels,
        "give one of them a start that it does not get from the others: a number, a slow level, or a stream",
    )


CODES = (
    Code("NLC301", "uneven chunks", "Of two periods in tokens (or steps) the shorter must divide the longer, so that no slow update falls inside a faster level's chunk."),
    Code("NLC302", "reset inside a chunk", "The period of `reset` must be a multiple of the level's own, so that no chunk is cut short."),
    Code("NLC303", "reset faster than the updates", "A level that is reset more often than it is updated never keeps what it writes."),
    Code("NLC304", "gradient read off schedule", "A level has a gradient at its own updates. What reads it (momentum, say) moves as often or more slowly; then it reads the gradients since its last update, reduced as `reduce` says."),
    Code("NLC305", "same-tick cycle", "At a tick, a level sees the new state of a level that is as fast or faster, so levels that need one another's new state can never run. One of them must read an older state: `prev(level)`."),
    Code("NLC306", "slow level reads a fast one", "Fast levels (token and sequence clocks) have one state for every sequence, slow ones (step clocks) are shared: a slow update may use data and gradients, never one sequence's state."),
    Code("NLC307", "state on an `always` level", "A level on the clock `always` is non-parametric: it is solved anew for every query, so that a retention, or an optimizer with a state of its own, has nothing to act on."),
    Code("NLC308", "`always` without a closed form", "A level on the clock `always` has no old state, so only the minimiser of its objective (`closed_form`) gives it a value."),
    Code("NLC309", "initial states in a ring", "What a level starts from must be there before it: levels whose `init` reads lead back to where they began never start."),
)  # fmt: skip
