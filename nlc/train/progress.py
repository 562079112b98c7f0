"""Turns the measurements of a run into what people watch: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from nlc.train.loop import Status

Watcher = Callable[[Status], None]
SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Watcher]:
    """Something to hand every status to; live when the stream is a terminal, else the first, the last and a line every ten seconds."""
    if stream.isatty():
        with _live(Console(file=stream)) as watcher:
            yield watcher
    else:
        yield _plain(stream, clock)


def silent(status: Status) -> None:
    """Watches nothing."""


def status_text(status: Status, held_out_loss: float | None) -> str:
    """Losses, speed and the time left, in one line; the held-out loss is the latest that was measured."""
    parts = [f"train {status.train_loss:.3f}"]
    if held_out_loss is not None:
        parts.append(f"held out {held_out_loss:.3f} nats/byte")
    parts.append(f"{status.tokens_per_second:,.0f} tokens/s")
    parts.append(f"{_duration(status.seconds_left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _live(console: Console) -> Iterator[Watcher]:
    columns = (TextColumn("step {task.completed}/{task.total}"), BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=0)
        held_out_loss: float | None = None

        def watch(status: Status) -> None:
            nonlocal held_out_loss
            held_out_loss = held_out_loss if status.held_out_loss is None else status.held_out_loss
            bar.update(task, completed=status.step, total=status.steps, description=status_text(status, held_out_loss))

        yield watch


def _plain(stream: TextIO, clock: Callable[[], float]) -> Watcher:
    held_out_loss: float | None = None
    due = clock()

    def watch(status: Status) -> None:
        nonlocal held_out_loss, due
        held_out_loss = held_out_loss if status.held_out_loss is None else status.held_out_loss
        if clock() >= due or status.step == status.steps:
            due = clock() + SECONDS_BETWEEN_LINES
            print(f"step {status.step}/{status.steps}: {status_text(status, held_out_loss)}", file=stream, flush=True)

    return watch
