"""`python -m nlc` is `nlc`."""

import sys

from nlc.cli import main

if __name__ == "__main__":
    sys.exit(main())
