"""Which servers there are, how they do, and which of them takes the next session."""
