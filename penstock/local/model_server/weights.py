"""What a trained model is: vocabularies and matrices, in one file that holds no code to be run by loading it."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """One model's learned numbers. Topics are what it learned to tell apart; their names are not kept."""

    vocabulary: dict[str, int]
    idf: Floats  # (feature,); ones for a model that counts
    unit_length: bool  # scale a text's features to length 1, with logarithmic counts
    coefficients: Floats  # (feature, topic)
    intercept: Floats  # (topic,)
    lexicon: dict[str, int]
    lexicon_idf: Floats  # (term,)
    centroids: Floats  # (term, topic): the average text of each topic, unit length

    def save(self, path: Path) -> None:
        """Write to `path` at once or not at all."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(
                file,
                vocabulary=_packed(self.vocabulary),
                idf=self.idf,
                unit_length=np.array([self.unit_length]),
                coefficients=self.coefficients,
                intercept=self.intercept,
                lexicon=_packed(self.lexicon),
                lexicon_idf=self.lexicon_idf,
                centroids=self.centroids,
            )
        part.replace(path)


def load(path: Path) -> Weights | None:
    """The weights in `path`; None if there are none, or none that can be read."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return Weights(
                vocabulary=_unpacked(file["vocabulary"]),
                idf=file["idf"],
                unit_length=bool(file["unit_length"][0]),
                coefficients=file["coefficients"],
                intercept=file["intercept"],
                lexicon=_unpacked(file["lexicon"]),
                lexicon_idf=file["lexicon_idf"],
                centroids=file["centroids"],
            )
    except (OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, zipfile.BadZipFile):
        return None


def _packed(vocabulary: dict[str, int]) -> NDArray[np.uint8]:
    return np.frombuffer(orjson.dumps(sorted(vocabulary, key=vocabulary.__getitem__)), dtype=np.uint8)


def _unpacked(raw: NDArray[Any]) -> dict[str, int]:
    return {term: index for index, term in enumerate(orjson.loads(raw.tobytes()))}
