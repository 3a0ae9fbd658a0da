"""The command line, as ``python -m gmdask``."""

from gmdask.cli.main import main

if __name__ == "__main__":
    main()
