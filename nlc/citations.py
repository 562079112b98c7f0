"""The papers that specs, rules and laws cite: `nl:eq-65` is paper `nl`, place `eq-65`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

PAPERS: Mapping[str, str] = MappingProxyType(
    {
        "nl": "Behrouz, Razaviyayn, Zhong, Mirrokni: Nested Learning: The Illusion of Deep Learning Architectures, arXiv 2512.24695",
        "nl-neurips": "Behrouz, Razaviyayn, Zhong, Mirrokni: Nested Learning, NeurIPS 2025 camera-ready",
        "titans": "Behrouz, Zhong, Mirrokni: Titans: Learning to Memorize at Test Time, arXiv 2501.00663",
        "mesanet": "von Oswald et al.: MesaNet: Sequence Modeling by Locally Optimal Test-Time Training, arXiv 2506.05233",
        "miras": "Behrouz et al.: It's All Connected (MIRAS), arXiv 2504.13173",
        "atlas": "Behrouz et al.: Atlas, arXiv 2505.23735",
        "ttt": "Sun et al.: Learning to (Learn at Test Time), arXiv 2407.04620",
        "transformer": "Vaswani et al.: Attention Is All You Need, arXiv 1706.03762",
        "swiglu": "Shazeer: GLU Variants Improve Transformer, arXiv 2002.05202",
        "linear-attention": "Katharopoulos et al.: Transformers are RNNs, arXiv 2006.16236",
        "deltanet": "Yang et al.: Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484",
        "gated-deltanet": "Yang, Kautz, Hatamizadeh: Gated Delta Networks, arXiv 2412.06464",
        "gla": "Yang et al.: Gated Linear Attention Transformers, arXiv 2312.06635",
        "kda": "Kimi Team: Kimi Linear: An Expressive, Efficient Attention Architecture, arXiv 2510.26692",
        "retnet": "Sun et al.: Retentive Network, arXiv 2307.08621",
        "samba": "Ren et al.: Samba: Simple Hybrid State Space Models, arXiv 2406.07522",
        "mamba2": "Dao, Gu: Transformers are SSMs (Mamba-2), arXiv 2405.21060",
        "longhorn": "Liu et al.: Longhorn, arXiv 2407.14207",
        "deltaproduct": "Siems et al.: DeltaProduct, arXiv 2502.10297",
        "comba": "Hu et al.: Comba: Improving Bilinear RNNs with Closed-loop Control, arXiv 2506.02475",
        "rwkv7": "Peng et al.: RWKV-7, arXiv 2503.14456",
        "muon": "Jordan et al.: Muon, 2024",
        "adam": "Kingma, Ba: Adam: A Method for Stochastic Optimization, arXiv 1412.6980",
        "adamw": "Loshchilov, Hutter: Decoupled Weight Decay Regularization, arXiv 1711.05101",
        "rmsprop": "Tieleman, Hinton: Lecture 6.5, RMSProp, Coursera, 2012",
        "adagrad": "Duchi, Hazan, Singer: Adaptive Subgradient Methods, 2011",
        "nesterov": "Nesterov: A Method of Solving a Convex Programming Problem with Convergence Rate O(1/k^2), 1983",
        "polyak": "Polyak: Some Methods of Speeding up the Convergence of Iteration Methods, 1964",
        "sherman-morrison": "Sherman, Morrison: Adjustment of an Inverse Matrix Corresponding to a Change in One Element, 1950",
        "calculus": "Magnus, Neudecker: Matrix Differential Calculus",
        "nlc": "nlc's own derivation, proved in tests/rules",
    }
)


def resolve_citation(key: str) -> str | None:
    """The paper and place that a key names, as a sentence; None when the paper is not in the list."""
    paper, _, place = key.partition(":")
    if paper not in PAPERS:
        return None
    return f"{PAPERS[paper]}, {place}" if place else PAPERS[paper]


def resolve_citations(keys: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each paper that some keys name, with all their places in it; keys of unknown papers are left out."""
    places: dict[str, list[str]] = {}
    for key in keys:
        paper, _, place = key.partition(":")
        if paper in PAPERS:
            places.setdefault(paper, []).extend([place] if place else [])
    return tuple(", ".join((PAPERS[paper], *found)) for paper, found in places.items())
