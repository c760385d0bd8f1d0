"""Clients of an echo server, one module a library: ``python -m benchmarks.clients.NAME``."""
