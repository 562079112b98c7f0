"""Bytes of text <-> tokens: the bytes themselves, or pairs of them that were joined because the training text has them often (BPE).

Both lose nothing, whatever the bytes. The library `tokenizers` is needed for BPE alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import CompileError

ALPHABET = 256
WORDS = r"\s?[A-Za-z\x80-\xff]+|\s?[0-9]{1,3}|\s?[^\sA-Za-z0-9\x80-\xff]+|\s+"
"""Pairs are joined only inside of these: a word, a few digits, or signs, each with a space before it, or a run of spaces."""


class Tokenizer(Protocol):
    """What turns bytes into whole numbers below `vocabulary`, and back."""

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def content(self) -> str:
        """All there is to know about it, as JSON."""

    def encode(self, text: bytes) -> Tensor: ...

    def decode(self, tokens: Sequence[int]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ByteTokens:
    """Every byte is a token."""

    name: str = "bytes"
    vocabulary: int = ALPHABET
    content: str = '{"name": "bytes"}'

    def encode(self, text: bytes) -> Tensor:
        return torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(0, dtype=torch.uint8)

    def decode(self, tokens: Sequence[int]) -> bytes:
        return bytes(tokens)


@dataclass(frozen=True, slots=True)
class PairTokens:
    """Byte pair encoding: a byte is seen as the character of the same number, so that any bytes are text."""

    library: Any
    name: str = "bpe"

    @property
    def vocabulary(self) -> int:
        return int(self.library.get_vocab_size())

    @property
    def content(self) -> str:
        return json.dumps({"name": self.name, "tokenizer": json.loads(self.library.to_str())})

    def encode(self, text: bytes) -> Tensor:
        return torch.tensor(self.library.encode(text.decode("latin-1")).ids, dtype=torch.int32)

    def decode(self, tokens: Sequence[int]) -> bytes:
        return "".join(self.library.id_to_token(token) for token in tokens).encode("latin-1")


def train_pairs(texts: Iterable[bytes], vocabulary: int) -> PairTokens:
    """Join pairs, the most frequent first, until there are `vocabulary` tokens or nothing is left to join."""
    library = _library()
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(WORDS), "isolated")
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=[chr(byte) for byte in range(ALPHABET)], show_progress=False
    )
    made.train_from_iterator((text.decode("latin-1") for text in texts), trainer)
    return PairTokens(made)


def tokenizer_from(content: str) -> Tokenizer:
    """The tokenizer whose `content` this is; raises ValueError or KeyError when it is none."""
    found = json.loads(content)
    if found["name"] == "bytes":
        return ByteTokens()
    return PairTokens(_library().Tokenizer.from_str(json.dumps(found["tokenizer"])))


def digest(tokenizer: Tokenizer) -> str:
    """Tells one tokenizer from another."""
    return sha256(tokenizer.content.encode()).hexdigest()


def token_lengths(tokenizer: Tokenizer) -> Tensor:
    """How many bytes each token stands for: (vocabulary,)."""
    return torch.tensor([len(tokenizer.decode([token])) for token in range(tokenizer.vocabulary)])


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise CompileError(codes.missing_package("tokens=bpe", "tokenizers", "bpe")) from error
    return tokenizers
