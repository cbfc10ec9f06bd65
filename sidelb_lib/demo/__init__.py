"""Name server, servers, clients and a real service in one process."""
