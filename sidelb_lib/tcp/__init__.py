"""TCP: accept, find a server, relay, end."""
