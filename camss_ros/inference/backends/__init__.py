"""Backends that run the network: PyTorch, and runtimes of exported graphs."""
