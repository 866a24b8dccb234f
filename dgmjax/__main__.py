"""`python -m dgmjax` is the command `dgmjax`."""

import sys

from dgmjax.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
