"""Recorded conversations, replayed into the library with their input torn in every way.

::

    python -m tests.torn                       every split, and some at random
    python -m tests.torn --random 200          more at random
    python -m tests.torn own/fragments-client  one conversation, or those with this in their name
    python -m tests.torn --sabotage            the library broken on purpose: each bug is found
    python -m tests.torn --record              write the recordings anew
"""
