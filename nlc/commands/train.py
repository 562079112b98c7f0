"""`nlc train SPEC --data FILE...`: a compiled memory in a small language model, trained by the compiled momentum."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from nlc import pipeline
from nlc.ir.program import Program
from nlc.places import UsageError, find_spec

HELP = "train a byte-level language model around a compiled sequence memory"
OPTIMIZER = "optimizers/momentum"
INTERRUPTED = 130


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("spec", help="an architecture's spec, or the name of a shipped one")
    parser.add_argument("--data", nargs="+", required=True, metavar="FILE", help="text files, or folders of them, read as bytes")
    parser.add_argument("-o", "--output", metavar="DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a setting of the run, or a dim of the memory")
    parser.add_argument("--force", action="store_true", help="replace an earlier run in the run folder")


def run(arguments: Namespace) -> int:
    """0 when the run ended as planned, 130 when it was stopped early; CompileError for bad settings or data."""
    place = find_spec(arguments.spec)
    program = pipeline.compile_program(place.spec)
    if program.model.kind != "architecture":
        raise UsageError(f"{arguments.spec} is an {program.model.kind}; only architectures are trained")
    return _train(program, arguments)


def _train(program: Program, arguments: Namespace) -> int:
    from nlc.train import memory_interface, memory_settings, settings_from_pairs, show_progress, train

    model = program.model
    settings, chosen = settings_from_pairs(arguments.set, memory_settings(model, has_chunk=program.has_chunk))
    try:
        memory = memory_interface(model, settings, chosen)
    except ValueError as error:
        raise UsageError(str(error)) from error
    run_folder = Path(arguments.output) if arguments.output else Path("runs") / model.name
    with show_progress(sys.stderr) as progress:
        result = train(
            compiled_class(program),
            compiled_class(pipeline.compile_program(find_spec(OPTIMIZER).spec)),
            memory,
            [Path(item) for item in arguments.data],
            run_folder,
            settings,
            progress,
            force=arguments.force,
        )
    print(f"held-out loss {result.held_out_loss:.3f} nats per byte after {result.steps} steps in {result.seconds:.0f} s")
    print(f"(bigram counts of the same text give {result.bigram_loss:.3f}); the run is in {run_folder}")
    return INTERRUPTED if result.is_interrupted else 0


def compiled_class(program: Program) -> Any:
    """The class that a program compiles to."""
    module = pipeline.Compiled(program, pipeline.emit(program)).load()
    return getattr(module, program.model.name)
