"""A recipe, settings and text, or the folder of a run that was stopped -> a trained network and the folder that says how.

What is measured is written as it is measured; a checkpoint holds all that the rest of the run depends on, so that a run that was killed
goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.board import Board, open_board, require_board
from nlc.train.checkpoint import Checkpoint, checkpoints, clear_old, latest_checkpoint, save_checkpoint
from nlc.train.data import Corpus, find_texts, open_corpus, write_corpus
from nlc.train.files import clear_partial
from nlc.train.interruption import stop_requests
from nlc.train.levels import Levels
from nlc.train.loop import Status, Training, state_norms, update_counts
from nlc.train.parallel import Processes
from nlc.train.progress import Watcher, silent
from nlc.train.recipe import Recipe, made_network
from nlc.train.run import Metric, RunFolder, open_run, read_settings
from nlc.train.settings import TrainSettings
from nlc.train.tokens import ALPHABET, digest

STEPS_PER_METRIC = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a run ended. Losses are in nats per byte; `is_interrupted` when Ctrl-C ended it early, with everything written."""

    run: Path
    steps: int
    train_loss: float
    held_out_loss: float
    bigram_loss: float
    tokens_per_second: float
    seconds: float
    is_interrupted: bool


@dataclass(slots=True)
class _Recorder:
    """Gathers the losses of a few steps into one metric, and writes what is new to the run folder: one process does."""

    folder: RunFolder
    recipe: Recipe
    training: Training
    board: Board
    metrics: list[Metric] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)

    def record(self, status: Status) -> None:
        self.train_losses.append(status.train_loss)
        if status.held_out_loss is None and status.step % STEPS_PER_METRIC:
            return
        metric = Metric(
            step=status.step,
            train_loss=sum(self.train_losses) / len(self.train_losses),
            held_out_loss=status.held_out_loss,
            tokens_per_second=round(status.tokens_per_second, 1),
            seconds=round(status.seconds, 3),
            learning_rate=status.learning_rate,
            gradient_norm=status.gradient_norm,
            updates=update_counts(self.recipe.fast, self.training),
            state_norms=state_norms(self.training),
        )
        self.train_losses.clear()
        self.metrics.append(metric)
        if self.training.processes.writes:
            self.folder.add_metric(metric)
            self.board(metric)

    def save(self) -> None:
        """A checkpoint: all processes take part, one writes."""
        tree = {**self.training.tree(), "train_losses": self.train_losses}
        if self.training.processes.writes:
            save_checkpoint(self.folder.path, self.training.step, identity_of(self.recipe, self.training.corpus), tree)


def train(
    recipe: Recipe,
    files: Sequence[Path],
    run: Path,
    settings: TrainSettings,
    progress: Watcher = silent,
    *,
    force: bool = False,
    tensorboard: bool = False,
    processes: Processes | None = None,
) -> TrainResult:
    """Train a network and leave settings, text, metrics, a picture, checkpoints, a summary and weights in the folder `run`.

    Raises CompileError: for bad data or a taken folder before anything is written; for a full disk, or a loss that is no number,
    with what was written before intact.
    """
    own = processes or Processes()
    check_settings(settings, own, tensorboard)
    wanted = ALPHABET + 1 if settings.tokens == "bpe" else ALPHABET
    if recipe.vocabulary < wanted:
        raise CompileError(codes.small_vocabulary(recipe.name, recipe.vocabulary, wanted))
    if own.writes:
        training_text, held_out_text = find_texts(files, settings.length + 1)
        folder = open_run(run, force=force)
        folder.write_settings(settings, recipe, files)
        write_corpus(run, training_text, held_out_text, recipe.vocabulary if settings.tokens == "bpe" else None)
    own.wait()
    with _recording(recipe, run, settings, own, tensorboard, None) as recorder:
        return _trained(recorder, progress)


def resume(
    recipe: Recipe,
    run: Path,
    settings: TrainSettings,
    progress: Watcher = silent,
    *,
    tensorboard: bool = False,
    processes: Processes | None = None,
) -> TrainResult:
    """Go on with a run where its last checkpoint was taken, or at its beginning when it has none yet.

    Raises CompileError when the folder holds no run, or one of another spec or vocabulary, or its last checkpoint is damaged.
    """
    own = processes or Processes()
    check_settings(settings, own, tensorboard)
    read_settings(run)
    found = checkpoint_of(run, recipe, open_corpus(run))
    if found and found.step > settings.steps:
        raise CompileError(codes.no_steps_left(found.step, settings.steps))
    if own.writes:
        clear_partial(run)
        clear_old(run)
        RunFolder(run).change_settings(settings, recipe)
    own.wait()
    with _recording(recipe, run, settings, own, tensorboard, found) as recorder:
        return _trained(recorder, progress)


def check_settings(settings: TrainSettings, processes: Processes, tensorboard: bool) -> None:
    """Raises CompileError for what cannot be, before anything is written."""
    if settings.batch % processes.count:
        raise CompileError(codes.uneven_batch(settings.batch, processes.count))
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise CompileError(codes.no_device(settings.device))
    if settings.device != "cpu" and processes.count > 1:
        raise CompileError(codes.processes_on_device(settings.device, processes.count))
    if tensorboard:
        require_board()


def identity_of(recipe: Recipe, corpus: Corpus) -> Mapping[str, str]:
    """What a checkpoint must have been taken of to be gone on from."""
    return {"name": recipe.name, "spec": recipe.digest, "tokenizer": digest(corpus.tokenizer)}


def checkpoint_of(run: Path, recipe: Recipe, corpus: Corpus) -> Checkpoint | None:
    """The newest checkpoint of a run, None before the first; raises CompileError when it is damaged or of something else."""
    if not checkpoints(run):
        return None
    found = latest_checkpoint(run)
    expected = identity_of(recipe, corpus)
    if found.identity.get("tokenizer") != expected["tokenizer"]:
        raise CompileError(codes.other_vocabulary(str(found.path)))
    if dict(found.identity) != dict(expected):
        raise CompileError(codes.other_spec(str(found.path), recipe.name))
    return found


@contextmanager
def _recording(
    recipe: Recipe, run: Path, settings: TrainSettings, processes: Processes, tensorboard: bool, found: Checkpoint | None
) -> Iterator[_Recorder]:
    """A training run ready to go, new or as a checkpoint left it, in its own stream of random numbers."""
    corpus = open_corpus(run)
    if recipe.vocabulary < corpus.tokenizer.vocabulary:
        raise CompileError(codes.other_vocabulary(str(run)))
    if min(len(corpus.training), len(corpus.held_out)) <= settings.length:
        raise CompileError(codes.too_few_tokens(min(len(corpus.training), len(corpus.held_out)), settings.length))
    network = made_network(recipe, settings)
    levels = Levels(recipe.optimizers(network.module), processes)
    training = Training(network=network, levels=levels, corpus=corpus, settings=settings, processes=processes)
    folder = RunFolder(run)
    with torch.random.fork_rng(), open_board(run, tensorboard and processes.writes, found.step if found else 0) as board:
        torch.manual_seed(settings.seed + processes.rank)
        recorder = _Recorder(folder, recipe, training, board)
        if found:
            try:
                training.load(found.tree)
            except (KeyError, ValueError, RuntimeError) as error:
                raise CompileError(codes.other_spec(str(found.path), recipe.name)) from error
            recorder.train_losses = list(found.tree["train_losses"])
        if processes.writes:
            recorder.metrics = folder.metrics_until(training.step)
        yield recorder


def _trained(recorder: _Recorder, progress: Watcher) -> TrainResult:
    training, folder = recorder.training, recorder.folder
    writes = training.processes.writes
    try:
        with stop_requests() as stop:
            for status in training.run(stop):
                recorder.record(status)
                progress(status)
                if status.step % training.settings.save_every == 0 or status.step == status.steps:
                    recorder.save()
            if training.step % training.settings.save_every and training.step < training.settings.steps:
                recorder.save()  # stopped early
    finally:
        if writes and recorder.metrics:
            folder.write_picture(f"{recorder.recipe.name}: loss on text", recorder.metrics, training.corpus.bigram_loss)
    if not recorder.metrics or recorder.metrics[-1].step != training.step:
        raise CompileError(codes.no_steps_left(training.step, training.settings.steps))
    result = _result(folder.path, recorder.metrics, training)
    if writes:
        folder.write_weights(training.network.module)
        folder.write_summary(_summary(result, training))
    return result


def _result(run: Path, metrics: Sequence[Metric], training: Training) -> TrainResult:
    """The last metric as a result: the last step is always measured."""
    last = metrics[-1]
    return TrainResult(
        run=run,
        steps=last.step,
        train_loss=last.train_loss,
        held_out_loss=float("nan") if last.held_out_loss is None else last.held_out_loss,
        bigram_loss=training.corpus.bigram_loss,
        tokens_per_second=last.tokens_per_second,
        seconds=last.seconds,
        is_interrupted=last.step < training.settings.steps,
    )


def _summary(result: TrainResult, training: Training) -> dict[str, object]:
    numbers = {name: value for name, value in asdict(result).items() if name != "run"}
    return {
        **numbers,
        "parameters": sum(parameter.numel() for parameter in training.network.module.parameters()),
        "training_bytes": training.corpus.training_bytes,
        "held_out_bytes": training.corpus.held_out_bytes,
        "processes": training.processes.count,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
