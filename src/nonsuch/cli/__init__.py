"""The command line: one thin file a command."""

from nonsuch.cli.main import main

__all__ = ["main"]
