"""What can be seen from outside: status, metrics, page, log."""
