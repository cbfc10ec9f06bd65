"""How a member is chosen out of those that may be. Pure."""
