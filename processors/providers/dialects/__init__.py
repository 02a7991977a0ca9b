"""The dialects of model providers, one file each: what a body says, and a stream's events as the same body."""
