"""Pure decisions: which rung, what after a failure, what the gate says. No clock, no I/O, no randomness."""
