"""Run the demo, ``python -m ean_mm demo``."""

import sys

from ean_mm.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['demo', *sys.argv[1:]]))
