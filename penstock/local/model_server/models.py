"""What a local model does with a text: it knows topics, and reads in the prompt what the labels mean.

A model never sees the names of the topics it learned. A label, known or new, is understood from its card (name,
description, examples): the card is compared with the average text of every topic, and the labels on offer share the
topics out among themselves. Then `P(label | text)` comes from the topics the text is about, and from how like the
label's wording and examples the text is. So a vague list of labels gives vaguer answers than a described one, by
itself.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from penstock.local.model_server.features import reading
from penstock.local.model_server.labels import Card
from penstock.local.model_server.recipes import Recipe
from penstock.local.model_server.weights import Floats, Weights

Probabilities = NDArray[np.float64]

_SHARING_SHARPNESS = 40.0
_SHARING_ROUNDS = 20
_STRANGE, _FAMILIAR = 0.15, 0.45
"""Average likeness of labels to their nearest topics: of labels from another field, and of labels from this one."""

_TRUST_WHEN_STRANGE = 14.0

_LEAST = 1e-6
"""Probability that no label falls below: a model is never certain, and a log probability is always a number."""


class Model:
    """One trained model. Safe to share: it keeps nothing of what it is asked."""

    def __init__(self, recipe: Recipe, weights: Weights, fingerprint: str = "fp_local") -> None:
        self.recipe = recipe
        self.weights = weights
        self.fingerprint = fingerprint

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        return self.recipe.name

    def topics(self, text: str) -> Floats:
        """How probable each topic is, by what was learned."""
        weights = self.weights
        counts = _counts(self.recipe.features(text), weights.vocabulary)
        if not counts:
            return softmax(weights.intercept)
        indices = np.fromiter(counts, np.intp, len(counts))
        values = np.fromiter(counts.values(), np.float32, len(counts))
        if weights.unit_length:
            values = (1 + np.log(values)) * weights.idf[indices]
            values /= np.linalg.norm(values)
        return softmax(self.recipe.sharpness * (values @ weights.coefficients[indices] + weights.intercept))

    def terms(self, text: str) -> dict[str, float]:
        """The text's weighted terms, scaled to length 1; a term never met in training counts as a rare one."""
        lexicon, idf = self.weights.lexicon, self.weights.lexicon_idf
        counts = Counter(reading(text))
        if not counts:
            return {}
        rare = len(idf)
        weighed = (1 + np.log(list(counts.values()))) * self._idf_or_rare[[lexicon.get(term, rare) for term in counts]]
        return dict(zip(counts, (weighed / np.linalg.norm(weighed)).tolist(), strict=True))

    @cached_property
    def _idf_or_rare(self) -> Floats:
        idf = self.weights.lexicon_idf
        return np.append(idf, idf.max()).astype(np.float32)

    def read(self, cards: tuple[Card, ...]) -> "Reader":
        """Understand a list of labels: some milliseconds the first time, nothing when these cards were read before."""
        return _read(self, cards)


@dataclass(frozen=True, slots=True, eq=False)
class _Wording:
    """The cards' and examples' terms as a matrix (term, row); rows of one label are neighbours."""

    index: dict[str, int]
    matrix: Floats
    starts: NDArray[np.intp]  # each label's first row


class Reader:
    """A model that has read one list of labels."""

    def __init__(self, model: Model, cards: tuple[Card, ...]) -> None:
        self.model = model
        self.cards = cards
        likeness = self._likeness_to_topics()
        self._shares = _share_out(likeness)
        self._wording = self._word()
        # How far the labels are about what the model has learned: the less they are, the more it goes by their wording.
        self._familiar = float(np.clip((likeness.max(axis=1).mean() - _STRANGE) / (_FAMILIAR - _STRANGE), 0.0, 1.0))
        trust = model.recipe.trust_in_wording
        self._trust_in_wording = trust + (1 - self._familiar) * (_TRUST_WHEN_STRANGE - trust)

    def probabilities(self, text: str) -> Probabilities:
        """`P(label | text)` for each card, in their order; sums to 1, each at least about 1e-6."""
        by_topic = np.log(self._shares @ self.model.topics(text) + _LEAST)
        score = self._familiar * by_topic + self._trust_in_wording * self._likeness_to_wording(text)
        probable = softmax(score).astype(np.float64) + _LEAST
        probable /= probable.sum()
        return probable

    def _likeness_to_topics(self) -> Floats:
        lexicon, centroids = self.model.weights.lexicon, self.model.weights.centroids
        rows = np.zeros((len(self.cards), centroids.shape[1]), np.float32)
        for place, card in enumerate(self.cards):
            everything = " ".join((card.text, *card.examples))
            terms = {term: weight for term, weight in self.model.terms(everything).items() if term in lexicon}
            if terms:
                rows[place] = np.fromiter(terms.values(), np.float32) @ centroids[[lexicon[term] for term in terms]]
        return rows

    def _word(self) -> _Wording:
        rows: list[dict[str, float]] = []
        starts = []
        for card in self.cards:
            starts.append(len(rows))
            rows += [self.model.terms(text) for text in (card.text, *card.examples)]
        index = {term: at for at, term in enumerate(dict.fromkeys(term for row in rows for term in row))}
        matrix = np.zeros((len(index), len(rows)), np.float32)
        for number, row in enumerate(rows):
            matrix[[index[term] for term in row], number] = list(row.values())
        return _Wording(index, matrix, np.array(starts, np.intp))

    def _likeness_to_wording(self, text: str) -> Floats:
        index = self._wording.index
        shared = {term: weight for term, weight in self.model.terms(text).items() if term in index}
        if not shared:
            return np.zeros(len(self.cards), np.float32)
        rows = np.fromiter(shared.values(), np.float32) @ self._wording.matrix[[index[term] for term in shared]]
        return np.maximum.reduceat(rows, self._wording.starts)


@lru_cache(maxsize=128)
def _read(model: Model, cards: tuple[Card, ...]) -> Reader:
    return Reader(model, cards)


def softmax(scores: Floats) -> Floats:
    """Scores as probabilities."""
    raised: Floats = np.exp(scores - scores.max())
    raised /= raised.sum()
    return raised


def _counts(features: list[str], vocabulary: dict[str, int]) -> dict[int, int]:
    counts = Counter(map(vocabulary.get, features))
    return {index: count for index, count in counts.items() if index is not None}


def _share_out(likeness: Floats) -> Floats:
    """Each topic (column) is shared among the labels (rows) that resemble it, none of which may take everything."""
    shares: Floats = np.exp(_SHARING_SHARPNESS * (likeness - likeness.max())) + 1e-12
    for _ in range(_SHARING_ROUNDS):
        shares /= shares.sum(axis=1, keepdims=True)
        shares /= shares.sum(axis=0, keepdims=True)
    return shares
