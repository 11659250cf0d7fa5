"""Run the command line with ``python -m aekit``."""

from aekit.cli import main

if __name__ == "__main__":
    main()
