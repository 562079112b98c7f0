from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from nlc.diagnostics import CompileError
from nlc.train.data import find_texts, open_corpus, write_corpus
from nlc.train.evaluate import Losses, evaluate_run, positions_picture, stream_losses, window_losses
from nlc.train.recipe import Network, made_network
from nlc.train.tokens import ByteTokens, token_lengths
from tests.train.tiny import SETTINGS, recipe, write_text

DOUBLE = replace(SETTINGS, precision="float64")
BYTES = token_lengths(ByteTokens())
TEXT = torch.randint(256, (100,), generator=torch.Generator().manual_seed(0))
DOCUMENTS = (0, 30, 31, 55)
"""The second has one token, and none to predict."""


@pytest.fixture
def network() -> Network:
    made = made_network(recipe(DOUBLE), DOUBLE)
    torch.manual_seed(0)
    for parameter in made.module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def nats(network: Network, text: Tensor) -> float:
    """The sum over a sequence of its own."""
    with torch.no_grad():
        return float(network.loss(text[None])[0]) * (len(text) - 1)


def total(losses: Losses) -> float:
    return sum(losses.nats.values())


def test_windows_are_sequences_of_their_own(network: Network) -> None:
    windows = TEXT[:99].view(3, 33)
    found = window_losses(network, windows, BYTES, batch=2)
    assert total(found) == pytest.approx(sum(nats(network, window) for window in windows), rel=1e-12)
    assert found.tokens == 96 and found.mean == pytest.approx(total(found) / 96)


def test_a_position_has_the_mean_over_all_windows(network: Network) -> None:
    windows = TEXT[:99].view(3, 33)
    found = window_losses(network, windows, BYTES, batch=2)
    with torch.no_grad():
        logits, _ = network.logits(windows[:, :-1])
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), windows[:, 1:], reduction="none").mean(0)
    assert [place for place, _ in found.by_position] == list(range(32))
    assert [loss for _, loss in found.by_position] == pytest.approx(losses.tolist(), rel=1e-10)


def test_what_goes_on_is_one_long_sequence(network: Network) -> None:
    found = stream_losses(network, TEXT, DOCUMENTS, BYTES, 7, carries=True, resets=False)
    assert total(found) == pytest.approx(nats(network, TEXT), rel=1e-10)
    assert found.tokens == 99


def test_a_document_is_a_sequence_of_its_own(network: Network) -> None:
    found = stream_losses(network, TEXT, DOCUMENTS, BYTES, 7, carries=True, resets=True)
    documents = torch.tensor_split(TEXT, DOCUMENTS[1:])
    assert [len(document) for document in documents] == [30, 1, 24, 45]
    assert total(found) == pytest.approx(sum(nats(network, item) for item in documents if len(item) > 1), rel=1e-10)
    assert found.tokens == 29 + 23 + 44
    assert max(place for place, _ in found.by_position) == 42


def test_without_going_on_every_window_begins_afresh(network: Network) -> None:
    found = stream_losses(network, TEXT, (0,), BYTES, 33, carries=False, resets=True)
    assert total(found) == pytest.approx(sum(nats(network, TEXT[start : start + 34]) for start in (0, 33, 66)), rel=1e-10)


def test_a_run_is_evaluated_on_its_own_text_or_on_another(tmp_path: Path, network: Network) -> None:
    data = write_text(tmp_path / "data", count=40, words=40)
    write_corpus(tmp_path, *find_texts([data], 17), None)
    corpus = open_corpus(tmp_path)
    ((name, fresh),) = evaluate_run(network, corpus, None, 16, 4, 640, adapts=False, resets=True)
    assert name == "fresh in every window" and 600 <= fresh.tokens <= 640
    (_, plain), (name, adapted) = evaluate_run(network, corpus, None, 16, 4, 640, adapts=True, resets=True)
    assert name == "going on through each document" and plain.tokens == adapted.tokens and plain.mean != adapted.mean
    other = write_text(tmp_path / "other", words=100)
    (_, (name, found)) = evaluate_run(network, corpus, [other], 16, 4, 10**6, adapts=True, resets=False)
    assert name == "going on for good" and found.tokens == (other / "000.txt").stat().st_size - 1
    with pytest.raises(CompileError, match="NLC721: too few tokens"):
        evaluate_run(network, corpus, [other], 10**5, 4, 640, adapts=False, resets=True)


def test_the_picture_has_a_line_for_each_curve(network: Network) -> None:
    found = window_losses(network, TEXT[:99].view(3, 33), BYTES, batch=2)
    picture = positions_picture("A title", (("fresh", found), ("going on", found)), 2.5)
    lines = list(ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2 and len(lines[0].attrib["points"].split()) == 32
