"""`nlc train SPEC --data FILE...`: a compiled memory in a small language model, trained by a compiled optimizer, and taken up again."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from nlc.commands.training import OPTIMIZER, new_run, old_run
from nlc.places import UsageError, usable_path

if TYPE_CHECKING:
    from nlc.train import Processes, TrainResult, Watcher

HELP = "train a compiled model, or a language model around a compiled sequence memory"
INTERRUPTED = 130


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument(
        "spec", nargs="?", help="a spec of a model or an architecture, or the name of a shipped one; with --resume, where it is now"
    )
    parser.add_argument("--data", nargs="+", default=[], metavar="FILE", help="text files, or folders of them, read as bytes")
    parser.add_argument("-o", "--output", metavar="DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a setting of the run, or of the spec; repeatable")
    parser.add_argument("--optimizer", metavar="SPEC", help=f"what moves all that has no optimizer of its own (default: {OPTIMIZER})")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in DIR from its last checkpoint")
    parser.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard too, to DIR/tensorboard")
    parser.add_argument("--force", action="store_true", help="replace an earlier run in the run folder")


def run(arguments: Namespace) -> int:
    """0 when the run ended as planned, 130 when it was stopped early; CompileError for bad settings, data or checkpoints."""
    if arguments.resume is None and (arguments.spec is None or not arguments.data):
        raise UsageError("say what to train and on which text: nlc train SPEC --data FILE..., or nlc train --resume DIR")
    if arguments.resume is not None and (arguments.data or arguments.output or arguments.optimizer or arguments.force):
        raise UsageError("--resume goes on with a run as it is, on its own text: without --data, --output, --optimizer and --force")
    from nlc.train import processes, show_progress, silent

    with processes() as own:
        if not own.writes:
            return _ended(_train(arguments, silent, own))
        with show_progress(sys.stderr) as progress:
            result = _train(arguments, progress, own)
        print(f"held-out loss {result.held_out_loss:.3f} nats per byte after {result.steps} steps in {result.seconds:.0f} s")
        print(f"(bigram counts of the same text give {result.bigram_loss:.3f}); the run is in {result.run}")
        return _ended(result)


def _train(arguments: Namespace, progress: Watcher, own: Processes) -> TrainResult:
    from nlc.train import resume, train
    from nlc.train.settings import changed_settings

    if arguments.resume is not None:
        folder = usable_path(arguments.resume)
        recipe, settings = old_run(folder, arguments.spec)
        changed = changed_settings(arguments.set, settings)
        return resume(recipe, folder, changed, progress, tensorboard=arguments.tensorboard, processes=own)
    recipe, settings = new_run(arguments.spec, arguments.optimizer, arguments.set)
    folder = usable_path(arguments.output or os.path.join("runs", recipe.name))
    files = [Path(item) for item in arguments.data]
    return train(recipe, files, folder, settings, progress, force=arguments.force, tensorboard=arguments.tensorboard, processes=own)


def _ended(result: TrainResult) -> int:
    return INTERRUPTED if result.is_interrupted else 0
