"""``python -m benchmarks``: see ``--help``."""

import sys

if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("The benchmarks need Linux: epoll, the CPU clocks of other processes, /proc.")
    from benchmarks.cli import main

    sys.exit(main())
