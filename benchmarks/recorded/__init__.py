"""Recorded responses of real providers, and a second reading of them that shares nothing with Penstock's."""
