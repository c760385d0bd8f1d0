"""Fuzzing: bytes that a coverage-guided fuzzer (atheris) invents, and properties that must hold.

A target turns any bytes into a case, runs it, and raises `properties.Broken` if a property does not
hold. The tests run the kept corpora and mutations of them, without atheris::

    python -m tests.fuzz all --seconds 60
    python -m tests.fuzz frames --replay FILE
"""
