"""`python -m nonsuch` is the command line."""

from nonsuch.cli import main

if __name__ == "__main__":
    main()
