"""The soak: thousands of connections, good and bad, and what they leave behind.

``python -m tests.soak`` runs a server process and client processes, all with trio_ws, on loopback.
"""
