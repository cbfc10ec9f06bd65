"""Health checks: what each protocol asks, and when."""
