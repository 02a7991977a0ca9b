"""How a local model learns, from the train part alone, and where that is kept. The only user of scikit-learn here.

A cached model is found by a key over the data, this package's own source, the recipe and scikit-learn's version. A file
that is missing or can't be read is made again.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from penstock.local.banking77 import Message, data_file, split
from penstock.local.model_server.features import reading
from penstock.local.model_server.recipes import Recipe
from penstock.local.model_server.weights import Weights, load

_LEARNING_CODE = ("features.py", "training.py", "weights.py")

log = structlog.get_logger(__name__)


def trained(recipe: Recipe, folder: Path) -> Weights:
    """The recipe's weights from `folder`, trained now (2 to 3 seconds at most) and kept there if they are missing."""
    path = folder / f"{recipe.name}-{cache_key(recipe)}.npz"
    found = load(path)
    if found is not None:
        return found
    log.info("training a local model", model=recipe.name, damaged_cache=path.exists())
    weights = train(recipe, split("train"))
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{recipe.name}-*.npz"):
        stale.unlink(missing_ok=True)
    weights.save(path)
    return weights


def cache_key(recipe: Recipe) -> str:
    """What the weights depend on, as 16 hexadecimal digits."""
    digest = hashlib.sha256(data_file("train.csv.gz").read_bytes())
    for name in _LEARNING_CODE:
        digest.update(files("penstock.local.model_server").joinpath(name).read_bytes())
    learned = (
        recipe.name,
        recipe.learner,
        recipe.features.__name__,
        recipe.training_texts,
        recipe.max_features,
        recipe.min_texts,
    )
    digest.update(repr((learned, version("scikit-learn"))).encode())
    return digest.hexdigest()[:16]


def train(recipe: Recipe, messages: Sequence[Message]) -> Weights:
    """Learn from the first `training_texts` of the messages in the order of their hashes, which mixes the labels."""
    mixed = sorted(messages, key=lambda message: hashlib.sha256(b"order" + message.text.encode()).digest())
    texts = [message.text for message in mixed[: recipe.training_texts]]
    topics = [message.label for message in mixed[: recipe.training_texts]]
    vectorizer, coefficients, intercept = _fit(recipe, texts, topics)
    lexicon, centroids = _fit_lexicon(texts, topics)
    counts = recipe.learner == "naive_bayes"
    return Weights(
        vocabulary=_indices(vectorizer),
        idf=np.ones(coefficients.shape[1], np.float32) if counts else vectorizer.idf_.astype(np.float32),
        unit_length=not counts,
        coefficients=np.ascontiguousarray(coefficients.T, np.float32),
        intercept=intercept.astype(np.float32),
        lexicon=_indices(lexicon),
        lexicon_idf=lexicon.idf_.astype(np.float32),
        centroids=centroids,
    )


def _fit(recipe: Recipe, texts: list[str], topics: list[str]) -> tuple[Any, Any, Any]:
    """The fitted vectoriser, and the learner as a matrix (topic, feature) and an intercept: both are linear."""
    # A second to import, and needed only when something is learned.
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer  # noqa: PLC0415
    from sklearn.naive_bayes import MultinomialNB  # noqa: PLC0415
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    if recipe.learner == "naive_bayes":
        counter = CountVectorizer(analyzer=recipe.features, max_features=recipe.max_features, min_df=recipe.min_texts)
        bayes = MultinomialNB(alpha=0.3).fit(counter.fit_transform(texts), topics)
        return counter, bayes.feature_log_prob_, bayes.class_log_prior_
    weigher = TfidfVectorizer(
        analyzer=recipe.features, sublinear_tf=True, max_features=recipe.max_features, min_df=recipe.min_texts
    )
    machine = LinearSVC(C=0.5, random_state=0).fit(weigher.fit_transform(texts), topics)
    return weigher, machine.coef_, machine.intercept_


def _fit_lexicon(texts: list[str], topics: list[str]) -> tuple[Any, Any]:
    """The words a model can compare by, and the average text of each topic in them (term, topic)."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

    lexicon = TfidfVectorizer(analyzer=reading, sublinear_tf=True)
    matrix = lexicon.fit_transform(texts).toarray()
    names, which = np.unique(np.array(topics), return_inverse=True)
    sums = np.zeros((len(names), matrix.shape[1]))
    np.add.at(sums, which, matrix)
    centroids = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return lexicon, np.ascontiguousarray(centroids.T, np.float32)


def _indices(vectorizer: Any) -> dict[str, int]:
    return {term: int(index) for term, index in vectorizer.vocabulary_.items()}
