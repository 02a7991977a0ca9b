"""The three models on offer: what each learns from, how it reads a prompt, how much it takes in, how long it takes."""

from dataclasses import dataclass
from typing import Literal

from penstock.local.model_server.features import Features, words, words_and_pieces


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one local model is made and served."""

    name: str
    learner: Literal["naive_bayes", "linear_svm"]
    features: Features
    training_texts: int | None  # of the train part, in the order of a hash; None: all of them
    max_features: int | None
    min_texts: int  # a feature seen in fewer texts is dropped
    sharpness: float  # what decision values are multiplied by before they become probabilities
    trust_in_wording: float  # weight of the likeness between a text and a label's description, in log odds
    context_window: int  # tokens
    latency_ms: float


RECIPES = (
    Recipe(
        name="local-small",
        learner="naive_bayes",
        features=words,
        training_texts=1_500,
        max_features=600,
        min_texts=1,
        sharpness=1.0,
        trust_in_wording=8.0,
        context_window=16_384,
        latency_ms=20.0,
    ),
    Recipe(
        name="local-mid",
        learner="linear_svm",
        features=words,
        training_texts=3_500,
        max_features=None,
        min_texts=1,
        sharpness=6.0,
        trust_in_wording=4.0,
        context_window=32_768,
        latency_ms=40.0,
    ),
    Recipe(
        name="local-large",
        learner="linear_svm",
        features=words_and_pieces,
        training_texts=None,
        max_features=None,
        min_texts=2,
        sharpness=6.0,
        trust_in_wording=2.0,
        context_window=131_072,
        latency_ms=80.0,
    ),
)
