"""NLC7xx: settings, data and run folders that cannot be trained with, and training that fails."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from nlc.codes.code import Code
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


def training_diverged(step: int, what: str, learning_rate: float) -> Diagnostic:
    return Diagnostic(
        "NLC712",
        f"the {what} is no longer a number at step {step:,}",
        help=f"the run keeps the weights of its last measurement; try a smaller rate: --set learning_rate={learning_rate / 4:.3g}",
    )


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
)  # fmt: skip
