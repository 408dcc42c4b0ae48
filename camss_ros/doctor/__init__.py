"""What a user runs first: whether this machine has what the node needs."""
