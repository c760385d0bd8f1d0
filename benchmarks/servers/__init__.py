"""Echo servers, one module a library: ``python -m benchmarks.servers.NAME``."""
