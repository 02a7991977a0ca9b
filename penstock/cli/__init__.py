"""The command line, and the only composition root: it makes the rooms' parts and fits them together."""

from penstock.cli.app import main

__all__ = ["main"]
