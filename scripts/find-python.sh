#!/bin/sh
# Print a Python 3.10 to 3.12 that can make virtual environments, or say what is missing.
for name in ${PYTHON_FOR_H2D:-} python3.12 python3.11 python3.10 python3 python; do
    path=$(command -v "$name" 2>/dev/null) || continue
    "$path" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || continue
    echo "$path"
    exit 0
done
echo "h2d needs Python 3.10, 3.11 or 3.12 with its venv module (Debian: apt-get install python3 python3-venv)." >&2
echo "Name another one with PYTHON_FOR_H2D=/path/to/python." >&2
exit 1
