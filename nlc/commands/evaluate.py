"""`nlc evaluate RUN`: the loss of a run's network on text that it has not seen, by position, from fresh states or going on."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlc.commands.training import old_run
from nlc.places import UsageError, usable_path

if TYPE_CHECKING:
    from nlc.train.evaluate import Losses

HELP = "measure the network of a run on held-out text: its loss, and its loss by position"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("--data", nargs="+", metavar="FILE", help="text files, or folders of them (default: the held-out text of the run)")
    parser.add_argument("--length", type=int, metavar="N", help="tokens of a window (default: as the run was trained)")
    parser.add_argument("--tokens", type=int, default=65536, metavar="N", help="read at most about so many tokens (default: 65536)")
    parser.add_argument(
        "--adapt", action="store_true", help="read in order, and let the levels of the context go on learning between windows"
    )
    parser.add_argument(
        "--reset", choices=("document", "never"), default="document", help="with --adapt: when what was learned is forgotten"
    )
    parser.add_argument("--spec", metavar="SPEC", help="where the run's spec is now, if it has moved")


def run(arguments: Namespace) -> int:
    """0 when it was measured; CompileError for what is no run, or no text."""
    if (arguments.length is not None and arguments.length < 1) or arguments.tokens < 2:
        raise UsageError("--length is 1 or more, --tokens 2 or more")
    folder = usable_path(arguments.run)
    recipe, settings = old_run(folder, arguments.spec)
    from nlc.train.evaluate import evaluate_run
    from nlc.train.load import load_run

    network, corpus = load_run(folder, recipe, settings)
    length = arguments.length or settings.length
    files = None if arguments.data is None else [Path(item) for item in arguments.data]
    curves = evaluate_run(
        network, corpus, files, length, settings.batch, arguments.tokens, adapts=arguments.adapt, resets=arguments.reset == "document"
    )
    for name, losses in curves:
        rate = losses.tokens / max(losses.seconds, 1e-9)
        print(f"{name}: {losses.mean:.4f} nats per byte over {losses.tokens:,} tokens, {rate:,.0f} tokens/s")
    if arguments.adapt:
        print(f"going on learning changes the loss by {curves[1][1].mean - curves[0][1].mean:+.4f} nats per byte")
    _write(folder, recipe.name, curves, corpus.bigram_loss)
    return 0


def _write(folder: Path, name: str, curves: tuple[tuple[str, Losses], ...], bigram_loss: float) -> None:
    from nlc.train.evaluate import positions_picture
    from nlc.train.files import write_whole
    from nlc.train.run import EVALUATION, POSITIONS

    write_whole(folder / POSITIONS, positions_picture(f"{name}: loss by position", curves, bigram_loss).encode())
    report: dict[str, Any] = {
        title: {"loss": losses.mean, "tokens": losses.tokens, "seconds": losses.seconds, "by_position": losses.by_position}
        for title, losses in curves
    }
    write_whole(folder / EVALUATION, (json.dumps(report, indent=2) + "\n").encode())
    print(f"the loss by position is drawn in {folder / POSITIONS}")
