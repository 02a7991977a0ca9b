"""The Kafka room: topics, partitions, offsets, transactions. Knows nothing of prompts, models or tables."""
