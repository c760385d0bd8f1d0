"""trio_ws against real peers: see cases.py for what is proved, conftest.py for how to run it."""
