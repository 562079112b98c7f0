"""The folder of a run -> its network as the last checkpoint left it, and its text: what generating and evaluating begin with."""

from __future__ import annotations

from pathlib import Path

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.data import Corpus, open_corpus
from nlc.train.loop import load_tensors
from nlc.train.recipe import Network, Recipe, made_network
from nlc.train.session import checkpoint_of
from nlc.train.settings import TrainSettings


def load_run(run: Path, recipe: Recipe, settings: TrainSettings) -> tuple[Network, Corpus]:
    """Raises CompileError when there is no checkpoint yet, or it is damaged or of something else."""
    corpus = open_corpus(run)
    found = checkpoint_of(run, recipe, corpus)
    if found is None:
        raise CompileError(codes.no_checkpoint(str(run)))
    network = made_network(recipe, settings)
    try:
        load_tensors(network, found.tree["network"])
    except (KeyError, ValueError) as error:
        raise CompileError(codes.other_spec(str(found.path), recipe.name)) from error
    return network, corpus
