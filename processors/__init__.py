"""LLM work: what a stage decides about a job. Knows envelopes, prompts, models, policy; knows no topic and no table."""
