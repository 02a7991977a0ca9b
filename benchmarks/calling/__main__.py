"""Calls per CPU-second through Penstock's whole attempt path, beside a bare loop and LiteLLM's Router.

All call one provider that answers at once with the same body, with the same prompt, 64 at a time, in processes of their
own, in turn; CPU is that of the process. LiteLLM is installed for this alone, in a folder that is removed again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from lab.children import running
from lab.site import ROOT
from rich.console import Console
from rich.table import Table

from calling.contestant import TEXT
from calling.ours import ask

LITELLM: Final = "litellm==1.83.7"
BENCHMARKS: Final = ROOT / "benchmarks"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m calling", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--peer", type=Path, help="a Python that has LiteLLM; default: one is made")
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    with tempfile.TemporaryDirectory(prefix="penstock-calling-") as folder:
        pythons = {"ours": Path(sys.executable), "bare": Path(sys.executable)}
        if not told.without_peer:
            pythons["litellm_router"] = told.peer or _peer(Path(folder), console)
        found = _contest(Path(folder), pythons, told.runs, told.calls, console)
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    if told.json:
        print(json.dumps({"calls per CPU-second": found, "medians": medians}, indent=2))
        return 0
    table = Table("calls per CPU-second", "median", "least to most", "Penstock's, of these", box=None, pad_edge=False)
    for name, figures in found.items():
        share = f"{medians['ours'] / medians[name]:.2f}" if name != "ours" else ""
        table.add_row(name, f"{medians[name]:,.0f}", f"{min(figures):,.0f} to {max(figures):,.0f}", share)
    console.print(table)
    return 0


def _contest(folder: Path, pythons: dict[str, Path], runs: int, calls: int, console: Console) -> dict[str, list[float]]:
    body = folder / "body.json"
    body.write_bytes(ask(TEXT))
    upstream = (sys.executable, str(BENCHMARKS / "lab" / "upstream.py"), "--latency-ms", "0")
    found: dict[str, list[float]] = {name: [] for name in pythons}
    with running(upstream, folder / "upstream.log") as provider:
        url = provider.wait_until_it_says("ready").split()[1] + "/v1"
        for turn in range(runs):
            for name, python in pythons.items():
                with console.status(f"run {turn + 1} of {runs}: {name}"):
                    found[name].append(_run(python, name, url, calls, body))
    return found


def _run(python: Path, name: str, url: str, calls: int, body: Path) -> float:
    command = (str(python), "-m", f"calling.{name}", url, "--calls", str(calls), "--body", str(body))
    environment = os.environ | {"PYTHONPATH": f"{BENCHMARKS}:{ROOT}" if name == "ours" else str(BENCHMARKS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=body.parent, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return float(said["calls"] / said["cpu_s"])


def _peer(folder: Path, console: Console) -> Path:
    """A Python with LiteLLM in it."""
    python = folder / "peer" / "bin" / "python"
    uv = (sys.executable, "-m", "uv")
    with console.status(f"installing {LITELLM} for this run"):
        subprocess.run((*uv, "venv", "--quiet", str(folder / "peer"), "--python", sys.executable), check=True)
        subprocess.run((*uv, "pip", "install", "--quiet", "--python", str(python), LITELLM), check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
