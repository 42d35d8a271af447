"""The scripts: tables over seeds, overlaps of masks, and the package's networks replaced whole or not at all."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))


def write_results(folder, values):
    import seeds_table

    measures = {short: {"value": values.get(short, 0.5)} for short in seeds_table.FIGURES}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"methods": [{"title": "Ours", "measures": measures}]}))


def test_seeds_without_a_number_are_counted_not_averaged(tmp_path):
    import seeds_table

    nothing = {"finger_count_found": None}
    write_results(tmp_path / "holistic-0", {"dap": 0.2, "mpjpe": None} | nothing)
    write_results(tmp_path / "holistic-1", {"dap": 0.4, "mpjpe": 0.1} | nothing)
    *_, row = seeds_table.tables(tmp_path)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    shown = dict(zip(["method", *seeds_table.FIGURES], cells, strict=True))
    assert shown["dap"] == "0.300 (0.200 to 0.400)"
    assert shown["mpjpe"] == "0.100 (0.100 to 0.100, none in 1 of 2)"
    assert shown["finger_count_found"] == "no number"
    with pytest.raises(SystemExit, match="no READER-SEED"):
        seeds_table.tables(tmp_path / "holistic-0")


def packed(out):
    return {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}


def test_folders_of_the_package_are_replaced_whole_or_not_at_all(tmp_path):
    from pack_miniature import replace_folders

    out = tmp_path / "assets"
    for name in ("card.md", "one/weights", "two/weights", "two/old"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("before")
    before = packed(out)

    def save(folder):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("after")

    def fail(folder):
        save(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folders(out, {out / "one": save, out / "two": fail})
    assert packed(out) == before
    with pytest.raises(SystemExit, match="is as it was"):
        replace_folders(out, {out / "one": save, out / "two": save}, limit_bytes=15)
    assert packed(out) == before
    assert replace_folders(out, {out / "one": save, out / "two": save}, limit_bytes=16) == 16
    assert packed(out) == {"card.md": "before", "one/weights": "after", "two/weights": "after"}
    assert [path.name for path in tmp_path.iterdir()] == ["assets"]


def test_two_empty_masks_agree():
    from mask_iou import overlaps

    predicted, truth = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    predicted[1:, :, :2] = truth[1] = 0.9
    assert overlaps(predicted, truth) == [1.0, 0.5, 0.0]
