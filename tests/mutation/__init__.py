"""Mutation testing of the sans-I/O floor: small bugs, one at a time, that the tests must notice."""
