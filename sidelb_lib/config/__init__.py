"""Settings: the table, where they come from, and every mistake at once."""
