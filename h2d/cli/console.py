"""The two consoles of the command line; nothing below `h2d.cli` prints."""

from rich.console import Console

console = Console()
"""Standard output: results."""

errors = Console(stderr=True)
"""Standard error: mistakes and progress."""
