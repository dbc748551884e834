"""Real servers for tests: on loopback, on free ports, ended by whoever started them."""
