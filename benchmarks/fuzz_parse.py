"""Five minutes of mutated responses against `processors.providers.parse`, guided by coverage (atheris).

`parse` may raise nothing, take no longer than 50 ms of CPU for a response of up to 64 KiB, and hold no memory. Ends
otherwise than with 0 if one of these is broken, and leaves the input that did it in the folder named by `--findings`.
Atheris is no dependency of the project: install it beside the others for this.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["processors.providers"]):
    from processors.models import Dialect
    from processors.providers import Completion, ProviderFailure, parse

from recorded.readings import recordings

DIALECTS = tuple(Dialect)
KINDS = ("application/json", "text/event-stream", "application/vnd.amazon.eventstream", "")
STATUSES = (200, 200, 400, 429, 500, 503)
LONGEST_S = 0.05
MOST_BYTES = 64 * 1024
SAY_EVERY = 20_000


class Seen:
    """What was found so far."""

    runs = 0
    slowest_s = 0.0
    began = time.monotonic()
    first_mib = 0.0


def one(data: bytes) -> None:
    """Parse one input: three bytes choose dialect, content type and status, the rest is the body."""
    if len(data) < 3:
        return
    dialect, kind = DIALECTS[data[0] % len(DIALECTS)], KINDS[data[1] % len(KINDS)]
    began = time.process_time()
    found = parse(
        dialect, STATUSES[data[2] % len(STATUSES)], {"Content-Type": kind}, data[3:], stream=bool(data[2] & 64)
    )
    took_s = time.process_time() - began
    assert isinstance(found, Completion | ProviderFailure)
    Seen.slowest_s = max(Seen.slowest_s, took_s)
    Seen.runs += 1
    if Seen.runs == 5_000:
        Seen.first_mib = _mib()
    if Seen.runs % SAY_EVERY == 0:
        _say()
    assert took_s < LONGEST_S, f"{took_s * 1000:.0f} ms for {len(data)} bytes"


def _mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run for as long as told, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    told = parser.parse_args()
    told.findings.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        _seed(Path(folder))
        options = [f"-max_total_time={told.seconds}", f"-max_len={MOST_BYTES}", f"-artifact_prefix={told.findings}/"]
        atheris.Setup([sys.argv[0], folder, *options, "-timeout=10", "-print_final_stats=1"], one)
        atheris.Fuzz()


def _seed(folder: Path) -> None:
    """Recorded responses, small ones of each dialect."""
    counts: dict[Any, int] = {}
    for recording in recordings():
        kind = (recording.dialect, recording.streamed)
        if recording.dialect is None or len(recording.body) > 4096 or counts.get(kind, 0) >= 25:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        said = recording.headers.get("content-type", "")
        chosen = next((n for n, name in enumerate(KINDS) if name and said.startswith(name)), 3)
        head = bytes([DIALECTS.index(Dialect(recording.dialect)), chosen, 0])
        (folder / str(len(list(folder.iterdir())))).write_bytes(head + recording.body)


def _say() -> None:
    """How it goes: libFuzzer ends the process itself, so nothing can be said at the end."""
    took_s = time.monotonic() - Seen.began
    grown = _mib() - Seen.first_mib
    print(
        f"{Seen.runs:,} inputs in {took_s:.0f} s, none raised; slowest {Seen.slowest_s * 1000:.1f} ms of CPU; "
        f"{_mib():.0f} MiB at most, {grown:.0f} more than after 5,000",
        flush=True,
    )


if __name__ == "__main__":
    main()
