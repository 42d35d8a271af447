"""`python -m h2d`, the same as the installed command."""

from h2d.cli import main

if __name__ == "__main__":
    main()
