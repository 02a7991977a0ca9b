"""Breaks a running pipeline by a seeded plan while it works, and has the checker account for every job afterwards."""
