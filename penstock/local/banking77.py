"""The banking77 messages (CC-BY-4.0, see data/banking77/README.md) and the one split that everything here uses.

A message's part depends on nothing but its text, so that training, calibration, demos and benchmarks can't mix them up.
"""

import csv
import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

Part = Literal["train", "calibrate", "unseen"]

TRAIN_SHARE = 0.55
CALIBRATE_SHARE = 0.20


@dataclass(frozen=True, slots=True)
class Message:
    """What one customer wrote, and the label that people gave it."""

    text: str
    label: str


def data_file(name: str) -> Traversable:
    """The shipped file of that name."""
    return files("penstock.local").joinpath("data", "banking77", name)


def part_of(text: str) -> Part:
    """The part a text belongs to: the first 8 bytes of its sha256, read as a fraction of 1."""
    fraction = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    if fraction < TRAIN_SHARE:
        return "train"
    return "calibrate" if fraction < TRAIN_SHARE + CALIBRATE_SHARE else "unseen"


@cache
def split(part: Part) -> tuple[Message, ...]:
    """The messages of one part, in file order; of identical texts only the first is kept."""
    raw = gzip.decompress(data_file("train.csv.gz").read_bytes()).decode()
    first: dict[str, Message] = {}
    for row in csv.DictReader(io.StringIO(raw, newline="")):
        first.setdefault(row["text"], Message(row["text"], row["category"]))
    return tuple(message for message in first.values() if part_of(message.text) == part)


@cache
def labels() -> tuple[str, ...]:
    """The 77 label names, in the original order."""
    return tuple(json.loads(data_file("categories.json").read_bytes()))


def described_labels() -> str:
    """The 77 labels as a list for a prompt: one line `- name: description` each."""
    return data_file("labels.md").read_text(encoding="utf-8")
