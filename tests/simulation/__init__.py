"""Deterministic simulation: one seed makes a world of clients, a server and their troubles."""
