"""Asking name servers. Knows nothing of members."""
