"""What may stand between a job and the rung that it would be tried on otherwise."""

from enum import StrEnum


class Constraint(StrEnum):
    """In the order in which what would be without them is told."""

    RISK = "risk"
    RULES = "rules"
    SWITCHES = "switches"
    DATA = "data"
    MONEY = "money"
    LATENCY = "latency"
