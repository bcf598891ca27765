"""The program of a template process."""

import sys

from horae.execution.template import main

if __name__ == "__main__":
    main(sys.argv[1:])
