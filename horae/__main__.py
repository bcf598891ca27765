"""`python -m horae` is the command `horae`."""

from horae.cli import main

if __name__ == "__main__":
    main()
