from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings, strategies as st

from nlc.diagnostics import CompileError
from nlc.train.tokens import ByteTokens, PairTokens, digest, token_lengths, tokenizer_from, train_pairs

TEXT = b"the cat and the dog and the bird sat on the mat, 12345 times; caf\xc3\xa9 \xff\x00\n" * 20


@pytest.fixture(scope="module")
def pairs() -> PairTokens:
    return train_pairs([TEXT[:300], TEXT[300:]], 290)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_come_back(pairs: PairTokens, text: bytes) -> None:
    for tokenizer in (ByteTokens(), pairs):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens.tolist()) == text
        assert int(token_lengths(tokenizer)[tokens.long()].sum()) == len(text)


def test_pairs_make_a_text_shorter(pairs: PairTokens) -> None:
    assert pairs.vocabulary == 290
    assert len(pairs.encode(TEXT)) < 0.6 * len(TEXT)
    assert int(pairs.encode(TEXT).max()) < 290


def test_no_more_is_joined_than_there_is() -> None:
    assert train_pairs([b"abab"], 1000).vocabulary < 262


def test_a_tokenizer_is_its_content(pairs: PairTokens) -> None:
    for tokenizer in (ByteTokens(), pairs):
        again = tokenizer_from(tokenizer.content)
        assert torch.equal(again.encode(TEXT), tokenizer.encode(TEXT))
        assert digest(again) == digest(tokenizer)
    assert digest(pairs) != digest(ByteTokens()) != digest(train_pairs([TEXT], 280))


def test_the_same_text_gives_the_same_tokenizer(pairs: PairTokens) -> None:
    assert train_pairs([TEXT[:300], TEXT[300:]], 290).content == pairs.content


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(CompileError, match="NLC724: tokens=bpe needs the package `tokenizers`, which is not installed") as caught:
        train_pairs([TEXT], 300)
    assert caught.value.diagnostics[0].help == "pip install 'nlc[bpe]'"
