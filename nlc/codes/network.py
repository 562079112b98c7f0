"""NLC26x: a model whose parts do not fit together, or keys that belong to another kind of spec."""

from __future__ import annotations

from collections.abc import Iterable

from nlc.codes.code import Code, quoted, suggestion
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def _one(code: str, message: str, span: Span, label: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, (Label(span, label),), help)


def key_of_another_kind(span: Span, key: str, kind: str) -> Diagnostic:
    message = f"`{key}` is not a key of specs of kind {kind}"
    if key == "network":
        return _one(
            "NLC260", message, span, "", "a network makes a spec a model: write `kind: model`, and levels in the specs of its layers"
        )
    return _one("NLC260", message, span, "", "a model is a network: what has levels of its own is a layer, in a spec of its own")


def not_a_part(span: Span, text: str) -> Diagnostic:
    help = "a part is rms_norm, head, head(tied), the path of a layer's spec, or a mapping with embed, residual or repeat"
    return _one("NLC261", f"{quoted(text)} is no part of a network", span, "", help)


def misplaced_end(span: Span, part: str, problem: str) -> Diagnostic:
    help = "a network begins with `embed: vocabulary -> d_model` and ends with `head` or `head(tied)`, each once"
    return _one("NLC262", f"`{part}` {problem}", span, "", help)


def not_a_layer(span: Span, path: str, reason: str) -> Diagnostic:
    help = "a layer is an architecture with one input, a vector without axes at every token, and one output of the same size"
    return _one("NLC263", f"{quoted(path)} is no layer: {reason}", span, "used as a layer here", help)


def width_differs(span: Span, layer: str, size: str, width: str) -> Diagnostic:
    help = f"bind a dim of the layer, as in {layer}(d_model = {width})"
    return _one("NLC264", f"{quoted(layer)} takes vectors of {size}, and the network has vectors of {width}", span, "", help)


def unknown_binding_of_layer(span: Span, layer: str, known: Iterable[str]) -> Diagnostic:
    help = suggestion(span.text, known, "dims and hyperparameters")
    return _one("NLC265", f"{quoted(layer)} has no dim or hyperparameter {quoted(span.text)} to bind", span, "", help)


def not_tokens(span: Span, problem: str) -> Diagnostic:
    return _one(
        "NLC266", f"{problem}", span, "", "a model has one input, `tokens: integer(vocabulary)`, of as many values as `embed` has rows"
    )


def integers_outside_model(span: Span) -> Diagnostic:
    help = "write sizes: [d_model], or [] for a number; a model embeds its tokens and gives its layers vectors"
    return _one("NLC267", "only a model takes integers", span, "", help)


def claim_about_no_level(span: Span) -> Diagnostic:
    help = "claims about equations belong to the specs of the layers; a model claims `order:` of its levels, as in layer.memory > embedding"
    return _one("NLC268", "a model claims nothing but the order of its levels", span, "", help)


CODES = (
    Code("NLC260", "key of another kind", "Models have a network, architectures and optimizers have levels; nothing has both."),
    Code("NLC261", "no part of a network", "The parts of a network are listed in the language reference."),
    Code("NLC262", "ends of a network", "A network goes from tokens to logits: first an embedding, last a head."),
    Code("NLC263", "not a layer", "A layer turns one stream of vectors into another of the same size, so that it can stand in a network."),
    Code("NLC264", "width of a layer", "All vectors between embedding and head have one size."),
    Code("NLC265", "unknown binding of a layer", "Dims and hyperparameters that a layer declares can be bound; others of the model's names are bound to theirs."),
    Code("NLC266", "tokens of a model", "What a model reads are whole numbers below the size of its vocabulary."),
    Code("NLC267", "integers outside of models", "Streams of architectures are vectors, matrices and numbers."),
    Code("NLC268", "claim of a model", "What a model computes is said by the specs of its layers, where it is claimed and proved."),
)  # fmt: skip
