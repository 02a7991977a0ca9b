"""Wire formats: what a record holds, and how it becomes bytes. Knows no traffic, no model, no engine."""
