"""Graders: from an answer to a score, a label or an assertion, each with its version and its reason."""
