"""UDP: listeners, sessions, replies."""
