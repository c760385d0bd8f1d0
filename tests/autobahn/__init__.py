"""The Autobahn TestSuite against trio_ws, in both roles: ``python -m tests.autobahn``."""
