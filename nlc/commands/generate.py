"""`nlc generate RUN`: text that goes on from a prompt, one token at a time, by the network of a run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from codecs import getincrementaldecoder

from nlc.commands.training import old_run
from nlc.places import UsageError, usable_path

HELP = "go on from a prompt with the network of a run, one token at a time"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("--prompt", default="\n", metavar="TEXT", help="what to go on from (default: the start of a line)")
    parser.add_argument("--tokens", type=int, default=256, metavar="N", help="how many tokens to add (default: 256)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 takes the likeliest token (default: 0.8)")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="choose among the N likeliest tokens (default: among all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text (default: 0)")
    parser.add_argument("--spec", metavar="SPEC", help="where the run's spec is now, if it has moved")


def run(arguments: Namespace) -> int:
    """0 when the text was written; CompileError for what is no run."""
    if not arguments.prompt or arguments.tokens < 1 or not 0 <= arguments.temperature < float("inf") or arguments.top < 0:
        raise UsageError("a prompt is not empty, --tokens is 1 or more, --temperature and --top are 0 or more")
    folder = usable_path(arguments.run)
    recipe, settings = old_run(folder, arguments.spec)
    from nlc.train.generate import Sampling, generated
    from nlc.train.load import load_run

    network, corpus = load_run(folder, recipe, settings)
    prompt = corpus.tokenizer.encode(arguments.prompt.encode("utf-8", "surrogateescape")).long().to(settings.device)
    sampling = Sampling(arguments.temperature, arguments.top, arguments.seed)
    text = getincrementaldecoder("utf-8")(errors="replace")
    for token in generated(network, prompt, sampling, arguments.tokens):
        print(text.decode(corpus.tokenizer.decode([token])), end="", flush=True)
    print(text.decode(b"", final=True))
    return 0
