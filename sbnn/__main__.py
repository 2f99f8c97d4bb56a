"""The command line: `python -m sbnn report counts.csv features.csv -o report.html`."""

import sys

from sbnn.reporting.command import main

if __name__ == "__main__":
    sys.exit(main())
