"""What runs of several seeds say together: the mean of each figure, and the least and the largest beside it.

python scripts/seeds_table.py FOLDER      with READER-SEED/results.json in it, as scripts/evaluate_miniature.sh leaves
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

FIGURES = {
    "hands_found": "hands found",
    "found_hands": "pictures with a hand found",
    "dap_hands": "DAP hands",
    "mpjpe_hands": "MPJPE hands",
    "dap": "DAP",
    "mpjpe": "MPJPE",
    "finger_count_found": "fingers as asked, of hands found",
}


def main() -> None:
    """Print a Markdown table for each reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print("\n".join(tables(parser.parse_args().folder)))


def tables(folder: Path) -> list[str]:
    """The lines of a table for each reader."""
    readers: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.glob("*-*/results.json")):
        readers[file.parent.name.rsplit("-", 1)[0]].append(file)
    if not readers:
        raise SystemExit(f"{folder}: no READER-SEED/results.json: run scripts/evaluate_miniature.sh")
    lines = []
    for reader, files in readers.items():
        lines += ["", f"{reader}, {len(files)} seeds", ""]
        lines += [f"| method | {' | '.join(FIGURES.values())} |", f"|---|{'--:|' * len(FIGURES)}"]
        values: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
        for file in files:
            for method in json.loads(file.read_text())["methods"]:
                for short in FIGURES:
                    values[method["title"]][short].append(method["measures"][short]["value"])
        for title, measured in values.items():
            lines.append(f"| {title} | {' | '.join(_cell(measured[short]) for short in FIGURES)} |")
    return lines


def _cell(values: list[float | None]) -> str:
    """Of the seeds that have a number; how many lack one is said."""
    numbers = [value for value in values if value is not None]
    lacking = f", none in {len(values) - len(numbers)} of {len(values)}" if len(numbers) < len(values) else ""
    if not numbers:
        return "no number"
    low, middle, high = min(numbers), statistics.mean(numbers), max(numbers)
    return f"{middle:.3f}" + (f" ({low:.3f} to {high:.3f}{lacking})" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
