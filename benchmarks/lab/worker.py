"""A worker as `penstock run` starts it, for benchmarks: with the signals that begin and end its profile."""

import argparse
import logging
import signal
from pathlib import Path

import structlog

from lab.sampling import Sampler
from penstock.run import run_worker
from penstock.settings import load_settings


def main() -> None:
    """The child process: SIGUSR1 begins the profile, SIGUSR2 ends and writes it."""
    parser = argparse.ArgumentParser(description="Run stages of a project; settings come from the environment.")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--parts", required=True)
    parser.add_argument("--profile", type=Path)
    told = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if told.profile is not None:
        _profile_on_signals(told.profile)
    run_worker(load_settings(told.project), tuple(told.parts.split(",")), on_ready=lambda: print("ready", flush=True))


def _profile_on_signals(path: Path) -> None:
    sampler = Sampler()

    def end(*_: object) -> None:
        sampler.stop()
        sampler.save(path)
        print("profiled", flush=True)

    signal.signal(signal.SIGUSR1, lambda *_: sampler.start())
    signal.signal(signal.SIGUSR2, end)


if __name__ == "__main__":
    main()
