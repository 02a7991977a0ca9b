"""The gate: what becomes of a valid answer, on its calibrated confidence. Pure; an unknown confidence never accepts."""

from dataclasses import dataclass
from enum import StrEnum

from processors.settings import Gate


class Passage(StrEnum):
    """What the gate decides."""

    ACCEPT = "accept"
    CLIMB = "climb"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Ruling:
    """The gate's decision and its reason."""

    passage: Passage
    reason: str


def rule(gate: Gate, confidence: float | str, *, higher: bool) -> Ruling:
    """The decision on a confidence, or on the reason why there is none; `higher`: a higher rung stands open."""
    if isinstance(confidence, str):
        return _onwards(f"confidence unknown: {confidence}", higher=higher)
    if confidence >= gate.accept_at:
        return Ruling(Passage.ACCEPT, f"confidence {confidence:.3f} ≥ {gate.accept_at}")
    if confidence < gate.climb_below:
        return _onwards(f"confidence {confidence:.3f} < {gate.climb_below}", higher=higher)
    between = f"confidence {confidence:.3f} between {gate.climb_below} and {gate.accept_at}"
    if gate.middle == "review":
        return Ruling(Passage.ESCALATE, f"{between}: a person reviews")
    return _onwards(between, higher=higher)


def _onwards(reason: str, *, higher: bool) -> Ruling:
    if higher:
        return Ruling(Passage.CLIMB, reason)
    return Ruling(Passage.ESCALATE, f"{reason}, and no higher rung stands open")
