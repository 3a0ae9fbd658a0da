"""The command line, as ``python -m gmdask``."""

from gmdask.cli.main import program

if __name__ == "__main__":
    program()
