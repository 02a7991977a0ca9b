"""What learned routing is worth on public answers of real models, beside simpler ways to choose.

Each data set has questions and, for each, whether a small and a large model answered rightly. The shipped trainer sees
one half and decides on the other, five times over. Rows: always the small model, always the large one, a random choice,
the longest questions first, the prior. APGR is the average share of what the large model adds that is recovered as the
share of its calls grows (random: 0.5), with the 95 % interval over all held-out questions.

--data is a folder with routellm/gsm8k_responses.csv.gz (lm-sys/RouteLLM) and llmrouter/dcrouter_train.json.gz and
default_llm.json (ulab-uiuc/LLMRouter).
"""

import argparse
import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from penstock.learned_routing import Floats, LearningError, Observed, apgr, interval, lengths, recovered, train
from schemas.base import json_text

SPLITS = 5
KEPT = 0.8
CHARS_PER_TOKEN = 4
ANSWER_TOKENS = 200
"""Where an answer's length is not known."""
VARIANTS = {"small": "0" * 64, "large": "1" * 64}


@dataclass(frozen=True)
class Data:
    """Questions with the answers of two models: right or not, and US dollars of a call of each."""

    name: str
    observed: list[Observed]
    usd: Floats

    @property
    def gain(self) -> Floats:
        """How much better the large model did, by question."""
        return np.array([one.right[1] - one.right[0] for one in self.observed])


def gsm8k(folder: Path) -> Data:
    """GSM8K, answered by Mixtral 8x7B and GPT-4 Turbo; prices of their time (0.24/0.24 and 10/30 USD a million)."""
    with gzip.open(folder / "routellm" / "gsm8k_responses.csv.gz") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file)))
    models = {"mistralai/Mixtral-8x7B-Instruct-v0.1": (0.24, 0.24), "gpt-4-1106-preview": (10.0, 30.0)}
    observed = [_observed(row["prompt"], *(row[model] == "True" for model in models)) for row in rows]
    usd = [
        [_usd(len(row["prompt"]), len(row[f"{model}_response"]), *price) for model, price in models.items()]
        for row in rows
    ]
    return Data("GSM8K, Mixtral 8x7B or GPT-4 Turbo", observed, np.array(usd))


def llmrouter(folder: Path, small: str, large: str) -> Data:
    """Fourteen public benchmarks together, answered by two models of the nine; prices from default_llm.json."""
    rows = json.loads(gzip.decompress((folder / "llmrouter" / "dcrouter_train.json.gz").read_bytes()))
    priced = json.loads((folder / "llmrouter" / "default_llm.json").read_text())
    prices = [(priced[model]["input_price"], priced[model]["output_price"]) for model in (small, large)]
    observed = [_observed(row["question"], row["scores"][small], row["scores"][large]) for row in rows]
    usd = [[_usd(len(row["question"]), ANSWER_TOKENS * CHARS_PER_TOKEN, *price) for price in prices] for row in rows]
    return Data(f"LLMRouter, {small} or {large}", observed, np.array(usd))


def _observed(question: str, *right: float) -> Observed:
    return Observed(json_text({"text": question}), tuple(map(float, right)))


def _usd(asked: int, answered: int, per_input: float, per_output: float) -> float:
    return (asked * per_input + answered * per_output) / CHARS_PER_TOKEN / 1e6


@dataclass(frozen=True)
class Way:
    """A way to choose: its scores on all held-out questions of all splits, and each split's APGR."""

    name: str
    scores: list[Floats]


def ways(data: Data, halves: list[tuple[Floats, Floats]]) -> Iterator[Way]:
    """Random, length, and the prior as it ships."""
    draw = np.random.default_rng(0)
    texts = np.array([one.text for one in data.observed], dtype=object)
    yield Way("random", [draw.random(len(test)) for _, test in halves])
    yield Way("longest first", [lengths(list(texts[test])) for _, test in halves])
    scores = []
    for seen, test in halves:
        try:
            prior = train(
                [data.observed[i] for i in seen],
                VARIANTS,
                recover=KEPT,
                source=data.name,
                today=datetime.now(UTC).date(),
            )
        except LearningError as error:
            raise SystemExit(f"{data.name}: {error}") from error
        scores.append(np.array([prior.gains(text)[0] for text in texts[test]]))
    yield Way("the prior", scores)


def measure(data: Data, console: Console) -> list[dict[str, object]]:
    """All ways on one data set, as a table and as plain values."""
    halves = []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(data.observed))
        halves.append((order[: len(order) // 2], order[len(order) // 2 :]))
    tests = [test for _, test in halves]
    gain = data.gain
    right = np.array([one.right for one in data.observed])
    quality = right.mean(axis=0)
    table = Table(
        title=f"{data.name}: {len(gain)} questions, right {quality[0]:.3f} and {quality[1]:.3f}", title_justify="left"
    )
    for column in ("", "APGR", "95 %", "of each split", f"cost for {KEPT:.0%} of the gain", "cost for all of it"):
        table.add_column(column, justify="left" if not column else "right")
    large_usd = sum(data.usd[test, 1].sum() for test in tests)
    small_usd = sum(data.usd[test, 0].sum() for test in tests)
    table.add_row("always small", "0", "", "", f"keeps none at {small_usd / large_usd:.1%}", "")
    table.add_row("always large", "", "", "", "", "100.0%")
    said: list[dict[str, object]] = []
    for way in ways(data, halves):
        each = [apgr(scores, gain[test]) for scores, test in zip(way.scores, tests, strict=True)]
        low, high = _interval(way, tests, gain)
        costs = [_cost(way, tests, data, kept) / large_usd for kept in (KEPT, 1.0)]
        mean = float(np.mean(each))
        cells = (f"{mean:.3f}", f"{low:.3f} to {high:.3f}", " ".join(f"{one:.3f}" for one in each))
        table.add_row(way.name, *cells, *(f"{cost:.1%}" for cost in costs))
        said.append({"data": data.name, "way": way.name, "apgr": mean, "low": low, "high": high, "splits": each,
                     "cost_80": costs[0], "cost_100": costs[1]})  # fmt: skip
    console.print(table)
    by_length, prior = (next(one for one in said if one["way"] == name) for name in ("longest first", "the prior"))
    worth = float(str(prior["low"])) > float(str(by_length["apgr"]))
    console.print(f"the prior's lower bound {'beats' if worth else 'does not beat'} what length reaches\n")
    return said


def _interval(way: Way, tests: list[Floats], gain: Floats) -> tuple[float, float]:
    """Of the mean over the splits: each resample draws questions anew within every split."""
    bounds = [
        interval(scores, gain[test], seed=n) for n, (scores, test) in enumerate(zip(way.scores, tests, strict=True))
    ]
    return float(np.mean([low for low, _ in bounds])), float(np.mean([high for _, high in bounds]))


def _cost(way: Way, tests: list[Floats], data: Data, kept: float) -> float:
    """US dollars over all splits, each with the fewest calls of the large model that keep so much of its gain."""
    total = 0.0
    for scores, test in zip(way.scores, tests, strict=True):
        up = int(np.argmax(recovered(scores, data.gain[test]) >= kept))
        order = test[np.argsort(-scores, kind="stable")]
        total += float(data.usd[order[:up], 1].sum() + data.usd[order[up:], 0].sum())
    return total


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    console = Console(stderr=told.json, width=None if sys.stdout.isatty() else 130)
    sets = (
        gsm8k(told.data),
        llmrouter(told.data, "qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"),
        llmrouter(told.data, "mistral-7b-instruct-v0.3", "llama-3.3-nemotron-super-49b-v1"),
    )
    said = [row for data in sets for row in measure(data, console)]
    if told.json:
        print(json.dumps(said, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
