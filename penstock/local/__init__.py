"""What runs on this machine instead of a cluster: broker, warehouse, model server, and the stack of all three."""
