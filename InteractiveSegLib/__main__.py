"""``python -m InteractiveSegLib``: the command line."""

import sys

from InteractiveSegLib.cli import main

if __name__ == "__main__":
    sys.exit(main())
