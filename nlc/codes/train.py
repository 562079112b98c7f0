"""NLC7xx: settings, data and run folders that cannot be trained with, and training that fails."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from nlc.codes.code import Code, suggestion
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def not_a_pair(span: Span) -> Diagnostic:
    return Diagnostic("NLC701", "a setting is written key=value", (Label(span, "no = here"),), "for example: --set steps=200")


def unknown_setting(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    help = f"did you mean `{near[0]}`?" if near else f"settings: {', '.join(names)}"
    return Diagnostic("NLC702", f"there is no setting `{name}`", (Label(span, "not a setting of the run or the spec"),), help)


def not_a_number(name: str, span: Span, *, is_whole: bool) -> Diagnostic:
    kind = "a whole number" if is_whole else "a number"
    return Diagnostic("NLC703", f"`{name}` is {kind}", (Label(span, f"not {kind}"),))


def setting_out_of_range(name: str, span: Span, low: float | None, high: float | None) -> Diagnostic:
    bounds = [f"{bound:,.10g}" for bound in (low, high) if bound is not None]
    return Diagnostic("NLC704", f"`{name}` is out of range", (Label(span, f"allowed: {' to '.join(bounds)}"),))


def setting_twice(name: str, span: Span) -> Diagnostic:
    return Diagnostic("NLC705", f"`{name}` is set twice", (Label(span, "set before"),), "keep one of the two")


def no_such_data(path: str) -> Diagnostic:
    return Diagnostic("NLC706", f"there is no file or folder {path}", help="--data takes text files, and folders to look for them in")


def unreadable_data(path: str, reason: str) -> Diagnostic:
    return Diagnostic("NLC707", f"{path} cannot be read: {reason}")


def no_text(paths: Iterable[str]) -> Diagnostic:
    return Diagnostic(
        "NLC708", f"no text in {', '.join(paths)}", help="files that are empty, and in folders also binary and hidden files, do not count"
    )


def too_little_text(found: int, needed: int, length: int) -> Diagnostic:
    return Diagnostic(
        "NLC709",
        f"too little text: {found:,} bytes, and windows of {length} need about {needed:,}",
        help="give more files with --data, or shorter windows with --set length=32",
    )


def run_folder_taken(path: str, *, is_run: bool) -> Diagnostic:
    if is_run:
        return Diagnostic("NLC710", f"{path} already holds a run", help="choose another folder with -o, or replace the run with --force")
    return Diagnostic(
        "NLC710", f"{path} is not empty and holds no run", help="choose another folder with -o: nothing in this one is touched"
    )


def cannot_write(path: str, reason: str) -> Diagnostic:
    return Diagnostic("NLC711", f"{path} cannot be written: {reason}", help="free some space or choose another folder with -o")


def training_diverged(step: int, what: str) -> Diagnostic:
    return Diagnostic(
        "NLC712",
        f"the {what} is no longer a number at step {step:,}",
        help="checkpoints and metrics of the steps before are kept; try a smaller rate, a longer warm-up or a shorter gradient (--set clip=0.5)",
    )


def not_a_choice(name: str, span: Span, words: Iterable[str]) -> Diagnostic:
    listed = tuple(words)
    return Diagnostic(
        "NLC713", f"`{name}` is one of {', '.join(listed)}", (Label(span, "another word"),), suggestion(span.text, listed, "words")
    )


def fixed_setting(name: str, span: Span, changeable: Iterable[str]) -> Diagnostic:
    help = f"what can be changed: {', '.join(changeable)}; for anything else start a new run"
    return Diagnostic("NLC714", f"`{name}` cannot change when a run goes on", (Label(span, "the run has its own"),), help)


def no_run(path: str) -> Diagnostic:
    return Diagnostic("NLC715", f"{path} holds no run", help="name a folder that `nlc train` has written")


def no_checkpoint(path: str) -> Diagnostic:
    return Diagnostic("NLC716", f"the run in {path} has no checkpoint yet", help=f"`nlc train --resume {path}` starts it again")


def damaged_checkpoint(path: str, before: str) -> Diagnostic:
    way_out = f"remove it: {before} is whole, and the run goes on from there" if before else "no other checkpoint of this run is whole"
    return Diagnostic("NLC717", f"{path} was cut short or changed since it was written", help=way_out)


def other_spec(path: str, name: str) -> Diagnostic:
    return Diagnostic(
        "NLC718",
        f"{path} was not taken of {name} as its spec is now",
        help="give the spec that the run was started with, or start a new run; nothing was changed",
    )


def other_vocabulary(path: str) -> Diagnostic:
    return Diagnostic(
        "NLC719",
        f"{path} was taken with other tokens than the run has now",
        help="bring back the tokenizer.json of the run, or start a new run; nothing was changed",
    )


def small_vocabulary(name: str, known: int, needed: int) -> Diagnostic:
    return Diagnostic(
        "NLC720",
        f"{name} knows {known:,} tokens, and the text has {needed:,}",
        help=f"give the spec a vocabulary of {needed:,} or more, or the text fewer tokens",
    )


def too_few_tokens(found: int, length: int) -> Diagnostic:
    return Diagnostic(
        "NLC721",
        f"too few tokens: the training or the held-out text has {found:,}, and a window of {length:,} needs {length + 1:,}",
        help="give more text with --data, a smaller vocabulary, or shorter windows with --set length=32",
    )


def too_little_to_stream(found: int, batch: int, length: int) -> Diagnostic:
    return Diagnostic(
        "NLC722",
        f"{found:,} tokens cannot be read as {batch:,} streams in windows of {length:,}",
        help="make the batch or the windows smaller, or read at random with --set text=random",
    )


def damaged_text(path: str) -> Diagnostic:
    return Diagnostic(
        "NLC723",
        f"the text of the run in {path} is incomplete or has changed",
        help="start the run anew with --force; checkpoints are whole",
    )


def missing_package(what: str, package: str, extra: str) -> Diagnostic:
    return Diagnostic("NLC724", f"{what} needs the package `{package}`, which is not installed", help=f"pip install 'nlc[{extra}]'")


def uneven_batch(batch: int, processes: int) -> Diagnostic:
    return Diagnostic(
        "NLC725",
        f"a batch of {batch:,} cannot be shared evenly by {processes:,} processes",
        help=f"for example: --set batch={-(-batch // processes) * processes}",
    )


def no_device(name: str) -> Diagnostic:
    return Diagnostic("NLC726", f"torch sees no {name} device here", help="leave out --set device, or see what `nlc doctor` says")


def learns_in_context(name: str, level: str) -> Diagnostic:
    return Diagnostic(
        "NLC729",
        f"`{level}` of {name} learns from the task loss inside the context, and `nlc train` hands no loss to a layer",
        help="a model hands its layers its own loss: make it a layer of one, as models/hope_attention_in_context does",
    )


def compiled_learning(name: str) -> Diagnostic:
    return Diagnostic(
        "NLC730",
        f"levels of {name} learn from its loss inside the context, and torch.compile follows no gradient that is taken inside a model",
        help="leave out --set compiled",
    )


def no_steps_left(done: int, steps: int) -> Diagnostic:
    return Diagnostic(
        "NLC727", f"the run has done {done:,} steps, and is to end after {steps:,}", help=f"for example: --set steps={2 * max(done, steps)}"
    )


def processes_on_device(name: str, count: int) -> Diagnostic:
    return Diagnostic("NLC728", f"{count:,} processes train on the processor, not on {name}", help="leave out --set device, or torchrun")


CODES: tuple[Code, ...] = (
    Code("NLC701", "setting without a value", "A setting is a name, an equals sign and a number, without spaces."),
    Code("NLC702", "unknown setting", "Settings are those of the training run, and the dims and hyperparameters of the spec."),
    Code("NLC703", "setting is not a number", "Sizes and counts are whole numbers; rates are any finite numbers."),
    Code("NLC704", "setting out of range", "Each setting has bounds within which a run makes sense."),
    Code("NLC705", "setting given twice", "A run has one value for each setting."),
    Code("NLC706", "no such data", "Each `--data` names a file, or a folder that is searched for text files."),
    Code("NLC707", "unreadable data", "The file exists, but the system does not let nlc read it."),
    Code("NLC708", "no text", "Every file was empty, or none in the folders was a text file."),
    Code("NLC709", "too little text", "The text for training and the text held out must each fill a window and one byte more."),
    Code("NLC710", "run folder taken", "A run is written to a new or empty folder; an earlier run is replaced only with `--force`."),
    Code("NLC711", "run cannot be written", "The disk is full or the folder does not allow writing; what was written before is whole."),
    Code("NLC712", "training diverged", "The loss or its gradient became infinite or undefined, mostly because the rate is too high."),
    Code("NLC713", "no such choice", "Some settings are one of a few words."),
    Code("NLC714", "setting of a run cannot change", "A run that goes on is the same run: only its length, and how often it is measured and saved, may change."),
    Code("NLC715", "no run", "The folder does not exist, or holds nothing that `nlc train` of this version has written."),
    Code("NLC716", "no checkpoint", "The run was stopped before its first checkpoint, so there are no weights to use."),
    Code("NLC717", "damaged checkpoint", "A checkpoint is written beside its place and renamed, so this one was whole once; its digest says that it is not any more."),
    Code("NLC718", "checkpoint of another spec", "A checkpoint belongs to the spec, with the files it is made of and its settings, of which it was taken."),
    Code("NLC719", "checkpoint of another vocabulary", "The numbers of the tokens mean something else now, so that the weights would be of no use."),
    Code("NLC720", "vocabulary too small", "The tokens of the text must be among those that the model has an embedding for."),
    Code("NLC721", "too few tokens", "Joined bytes make fewer tokens than there are bytes; each part of the text must still fill a window."),
    Code("NLC722", "too little text for streams", "With `text=stream` each of the batch's sequences reads a part of the text of its own, which must fill a window."),
    Code("NLC723", "damaged text", "The text of a run is kept in its folder, as tokens; a file there is missing or has another size."),
    Code("NLC724", "missing package", "Some options need a package that nlc does not install by itself."),
    Code("NLC725", "batch cannot be shared", "Processes that train together take equally many of a batch's sequences, so that the mean of their gradients is the batch's."),
    Code("NLC726", "no such device", "The device was asked for with `--set device`, and torch does not find it."),
    Code("NLC727", "no steps left", "The run has gone on as long as it is to go on, or longer."),
    Code("NLC728", "several processes on a device", "Processes that train together exchange gradients through gloo, on the processor."),
    Code("NLC729", "learning in the context", "The network that `nlc train` puts around a memory has its loss above it. A level that learns from this loss inside the context would have to be handed it, as the layers of a model are."),
    Code("NLC730", "compiled learning in the context", "A model whose levels learn inside the context differentiates its own loss at every block, which torch.compile cannot trace."),
)  # fmt: skip
