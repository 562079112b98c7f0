"""NLC6xx: what cannot be emitted, and files that nlc will not write."""

from __future__ import annotations

from pathlib import Path

from nlc.codes.code import Code
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def reserved_in_emitted_code(span: Span, what: str, name: str) -> Diagnostic:
    return Diagnostic(
        "NLC601", f"{what} cannot be called `{name}` in the emitted code", (Label(span, "the emitted code needs this word itself"),),
        f"give it another name, say `{name}_value`",
    )  # fmt: skip


def not_emitted(span: Span, what: str) -> Diagnostic:
    return Diagnostic(
        "NLC602", f"the torch backend cannot write {what}", (Label(span, "in this spec"),),
        "`nlc check` and `nlc explain` still work on this spec",
    )  # fmt: skip


def edited_by_hand(path: Path) -> Diagnostic:
    return Diagnostic(
        "NLC603",
        f"{path} was compiled by nlc and then edited by hand",
        (),
        f"build with --force to replace it; it is kept as {path.name}.orig",
    )


def foreign_file(path: Path) -> Diagnostic:
    return Diagnostic("NLC604", f"{path} exists and was not made by nlc", (), "move it away, or build into another folder with -o")


def symbolic_link(path: Path) -> Diagnostic:
    return Diagnostic(
        "NLC605", f"{path} is a symbolic link, and nlc does not write through links", (), "build into a folder without links with -o"
    )


def case_clash(path: Path, other: Path) -> Diagnostic:
    return Diagnostic(
        "NLC606", f"{path} and {other} differ in upper and lower case alone", (),
        "rename one of the specs: on some file systems the two are one file",
    )  # fmt: skip


def cannot_write(path: Path, reason: str) -> Diagnostic:
    return Diagnostic("NLC607", f"cannot write {path}: {reason}", (), "nothing was changed; build into another folder with -o")


CODES: tuple[Code, ...] = (
    Code(
        "NLC601",
        "a word of the emitted code",
        "A few names are needed by the emitted module itself (`math`, a hyperparameter `chunk` or `params`), so a spec that is compiled cannot give them to its own things.",
    ),
    Code("NLC602", "not written in torch", "The expression is well-formed, and the torch backend of this version has no way to write it."),
    Code(
        "NLC603",
        "edited by hand",
        "The last line of a generated file is a digest of everything above it. When the two do not agree somebody has changed the file, and nlc replaces it only with --force. Change the spec instead, or move the edited file to another name.",
    ),
    Code("NLC604", "a file that is not nlc's", "nlc replaces only files that it made itself, not even with --force."),
    Code(
        "NLC605",
        "a symbolic link",
        "A generated file, or a folder between it and the output folder, is a symbolic link. Writing through it could change files elsewhere.",
    ),
    Code(
        "NLC606",
        "file names that differ in case alone",
        "On file systems that do not tell upper from lower case the two files would be one.",
    ),
    Code(
        "NLC607",
        "cannot write",
        "The operating system refused to write the file. Files are written beside their place and moved into it, so no partial file is left.",
    ),
)
