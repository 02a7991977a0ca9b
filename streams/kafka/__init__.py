"""The Kafka adapters of the ports: consumers with one thread each, transactions with one thread for all of them."""
