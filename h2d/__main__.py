"""`python -m h2d`, the same as the installed command."""

from h2d.cli import main

main()
