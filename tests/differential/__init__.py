"""The core beside those of `wsproto` and `websockets`: the same frames, what each makes of them.

::

    python -m tests.differential                  all systematic sequences, some at random
    python -m tests.differential --random 20000   more at random
    python -m tests.differential --only 17        one of them, with what each has made of it
    python -m tests.differential --sabotage       the library broken on purpose: each bug is found

Every kind of disagreement is explained once, in `table`; one that is not there is a failure, and
so is a row that never happens.
"""
