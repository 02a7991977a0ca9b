"""`python -m penstock.cli`: the command line of this very Python, for child processes."""

from penstock.cli.app import main

if __name__ == "__main__":
    main()
