"""demo: a thousand real messages through the whole pipeline, and an honest account of what came of them."""

from penstock.cli.demo.command import register

__all__ = ["register"]
