"""Sockets and addresses; knows nothing of balancing."""
