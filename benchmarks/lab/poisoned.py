"""A worker in which some inputs end the process, as a crash in a native library would; otherwise as `penstock`.

Run it with the arguments of `penstock`.
"""

import os
from typing import Any

from penstock.cli import main
from processors.inference import Inference
from schemas.envelope import Envelope

WORD = "poison-pill"
CRASHED = 134
"""The exit code of a process that aborts."""

_healthy = Inference.__call__


async def _call(self: Inference, envelope: Envelope[Any]) -> Any:
    if WORD in envelope.payload.job.input:
        os._exit(CRASHED)
    return await _healthy(self, envelope)


Inference.__call__ = _call  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
