"""Every check is seen to fail on a manifest broken in one way, and none on a good one."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.images import encode_jpeg
from h2d.manifests.files import write_parquet
from h2d.manifests.rle import decode_rle, encode_rle
from h2d.manifests.validate import MAX_PER_CHECK, validate


def parts(root, table="images"):
    return sorted((root / table).glob("*/part-*.parquet"))


def edit(root, table="images", **columns):
    """Change the first row of a table's first file: a value, or a function of the row."""
    path = parts(root, table)[0]
    data = pq.read_table(path)
    rows = data.to_pylist()
    for name, value in columns.items():
        rows[0][name] = value(rows[0]) if callable(value) else value
    write_parquet(path, pa.Table.from_pylist(rows, schema=data.schema))


def replace_table(root, change, table="images"):
    path = parts(root, table)[0]
    write_parquet(path, change(pq.read_table(path)))


def edit_counts(root, **counts):
    path = root / "manifest.json"
    facts = json.loads(path.read_text())
    facts["counts"] |= counts
    path.write_text(json.dumps(facts))


def points(name, change):
    def changed(row):
        values = np.asarray(row[name], np.float32).reshape(-1, 3).copy()
        change(values)
        return values.ravel().tolist()

    return {name: changed}


def set_x(value, rows=slice(0, 1)):
    def change(values):
        values[rows, 0] = value

    return change


def set_confidence(value):
    def change(values):
        values[0, 2] = value

    return change


def cut_short(root):
    path = parts(root)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def scribble(root):
    """Damage inside a row group: the footer is whole."""
    path = parts(root)[0]
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    body = next(column for column in columns if column.path_in_schema.startswith("body"))
    data = bytearray(path.read_bytes())
    start = body.data_page_offset + 40
    data[start : start + 400] = bytes(400)
    path.write_bytes(data)


def forget_facts(root):
    replace_table(root, lambda data: data.replace_schema_metadata(None))


def without_column(root):
    replace_table(root, lambda data: data.drop_columns(["persons"]))


def other_type(root):
    replace_table(
        root,
        lambda data: data.set_column(
            data.schema.get_field_index("width"),
            pa.field("width", pa.int64(), nullable=False),
            data["width"].cast(pa.int64()),
        ),
    )


def may_be_null(root):
    replace_table(
        root,
        lambda data: data.cast(
            data.schema.set(data.schema.get_field_index("split"), pa.field("split", pa.string(), nullable=True))
        ),
    )


def foreign_column(root):
    replace_table(root, lambda data: data.append_column("mood", pa.array(["good"] * data.num_rows)))


def lose_a_row(root):
    replace_table(root, lambda data: data.slice(1))


def repeat_a_row(root):
    replace_table(root, lambda data: pa.concat_tables([data, data.slice(0, 1)]))
    edit_counts(root, images=7, indexed=9)


def crop_of_nothing(root):
    edit(root, "hands", image_id="drawn/nowhere")


def crop_in_another_split(root):
    path = parts(root, "hands")[0]
    data = pq.read_table(path)
    moved = data.set_column(
        data.schema.get_field_index("split"), data.schema.field("split"), pa.array(["test"] * len(data))
    )
    write_parquet(root / "hands" / "test" / "part-00000.parquet", moved)
    path.unlink()


def smaller_mask(row):
    return encode_rle(decode_rle(row["mask_left"])[:, 1:])


def eaten_mask(row):
    return {"size": row["mask_left"]["size"], "counts": row["mask_left"]["counts"][:-3]}


PICTURE = {"bytes": encode_jpeg(np.zeros((32, 40, 3), np.uint8)), "path": None}
NAN = float("nan")

DAMAGES = {
    "cut short": ("whole", cut_short),
    "scribbled over": ("whole", scribble),
    "no facts": ("whole", forget_facts),
    "a column is missing": ("schema", without_column),
    "a column of another type": ("schema", other_type),
    "a column that may be null": ("schema", may_be_null),
    "a foreign column": ("schema", foreign_column),
    "a row is lost": ("sum", lose_a_row),
    "one more was indexed": ("sum", lambda root: edit_counts(root, indexed=9)),
    "rejects are not counted": ("sum", lambda root: edit_counts(root, rejects=0)),
    "an id twice": ("unique", repeat_a_row),
    "accepted and rejected": ("unique", lambda root: edit(root, "rejects", id="drawn/call/0000")),
    "two crops of one name": ("unique", lambda root: edit(root, "hands", id="drawn/call/0000/right")),
    "a crop of no picture": ("image_id", crop_of_nothing),
    "a crop in another split": ("split", crop_in_another_split),
    "a row in the wrong folder": ("split", lambda root: edit(root, split="val")),
    "a picture of another size": ("picture", lambda root: edit(root, image=PICTURE)),
    "a truncated picture": (
        "picture",
        lambda root: edit(root, image=lambda row: {"bytes": row["image"]["bytes"][:900], "path": None}),
    ),
    "an empty picture": ("picture", lambda root: edit(root, image={"bytes": None, "path": "elsewhere.jpg"})),
    "another original size": ("scale", lambda root: edit(root, source_width=700)),
    "another scale": ("scale", lambda root: edit(root, image_scale=0.25)),
    "no scale": ("scale", lambda root: edit(root, image_scale=NAN)),
    "a mask of another size": ("mask", lambda root: edit(root, mask_left=smaller_mask)),
    "a mask cut short": ("mask", lambda root: edit(root, mask_left=eaten_mask)),
    "mask pixels miscounted": ("mask", lambda root: edit(root, mask_left_px=7)),
    "pixels of no mask": ("mask", lambda root: edit(root, mask_left=None)),
    "a quality beyond 1": ("quality", lambda root: edit(root, mask_right_quality=1.5)),
    "infinite keypoint": ("keypoints", lambda root: edit(root, **points("body", set_x(float("inf"))))),
    "half missing keypoint": ("keypoints", lambda root: edit(root, **points("hand_left", set_x(NAN)))),
    "keypoint far outside": ("keypoints", lambda root: edit(root, **points("body", set_x(1e4)))),
    "face far outside": ("keypoints", lambda root: edit(root, **points("body", set_x(700, slice(30, 31))))),
    "hand outside": ("keypoints", lambda root: edit(root, **points("hand_left", set_x(-30, slice(0, 15))))),
    "confidence beyond 1": ("confidence", lambda root: edit(root, **points("hand_left", set_confidence(1.2)))),
    "confidence missing": ("confidence", lambda root: edit(root, **points("body", set_confidence(NAN)))),
    "found and has no points": (
        "found",
        lambda root: edit(root, hand_left=[NAN, NAN, 0.0] * 21),
    ),
    "not found and has points": ("found", lambda root: edit(root, hand_left_found=False)),
    "a box too few": ("boxes", lambda root: edit(root, hand_boxes_xywh=[])),
    "an odd hash": ("hash", lambda root: edit(root, source_sha256="ABC")),
    "a blank caption": ("caption", lambda root: edit(root, caption=" \n")),
    "no caption": ("caption", lambda root: edit(root, caption=None)),
    "a crop that is not square": ("crop", lambda root: edit(root, "hands", image=PICTURE)),
    "a crop of no picture file": ("picture", lambda root: edit(root, "hands", image={"bytes": b"?", "path": None})),
    "a box that is not square": ("crop", lambda root: edit(root, "hands", crop_box_xywh=[0.0, 0.0, 50.0, 51.0])),
    "a box without size": ("crop", lambda root: edit(root, "hands", crop_box_xywh=[0.0, 0.0, 0.0, 0.0])),
    "a third hand": ("found", lambda root: edit(root, "hands", hands="middle")),
    "a hand not there": ("found", lambda root: edit(root, "hands", hands="both")),
    "a hand not named": ("found", lambda root: edit(root, "hands", hands="right")),
    "a crop's hand outside": (
        "keypoints",
        lambda root: edit(root, "hands", **points("keypoints_left", set_x(300, slice(0, 15)))),
    ),
    "a crop's mask miscounted": ("mask", lambda root: edit(root, "hands", mask_px=None)),
    "a crop's caption blank": ("caption", lambda root: edit(root, "hands", caption="")),
    "a reject without reason": ("reason", lambda root: edit(root, "rejects", reason="")),
}


def test_a_good_manifest_has_no_problem(good_manifest):
    assert validate(good_manifest) == []
    assert validate(good_manifest, good_manifest.parent / "originals") == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(good_manifest, tmp_path, damage):
    check, break_it = DAMAGES[damage]
    root = shutil.copytree(good_manifest, tmp_path / "manifest")
    break_it(root)
    problems = validate(root)
    assert check in {problem.check for problem in problems}, [str(problem) for problem in problems]
    assert all("\n" not in str(problem) for problem in problems)


def test_a_hand_outside_is_no_problem_where_its_row_says_so(make_manifest):
    root = make_manifest()
    edit(root, **points("hand_left", set_x(-30, slice(0, 15))), hand_left_checks=["outside_picture"])
    assert "keypoints" not in {problem.check for problem in validate(root)}


def test_feet_may_be_guessed_below_the_picture(make_manifest):
    root = make_manifest(num_pictures=2)

    def guess(values):
        values[15:17] = (100, 700, 0.01)

    edit(root, **points("body", guess))
    assert validate(root) == []


def test_originals_are_hashed(make_manifest, tmp_path):
    originals = tmp_path / "originals"
    root = make_manifest(source_root=originals)
    files = sorted(originals.glob("pictures/[!r]*/*.jpg"))
    files[0].write_bytes(files[0].read_bytes() + b" ")
    files[1].unlink()
    assert [problem.check for problem in validate(root, originals)] == ["original", "original"]
    with pytest.raises(UserError, match="no such folder"):
        validate(root, tmp_path / "nowhere")


def test_many_problems_of_a_kind_are_counted(make_manifest):
    root = make_manifest(num_pictures=MAX_PER_CHECK + 3, splits=("train",))
    path = parts(root)[0]
    data = pq.read_table(path)
    write_parquet(
        path,
        data.set_column(
            data.schema.get_field_index("source_sha256"),
            data.schema.field("source_sha256"),
            pa.array(["x"] * len(data)),
        ),
    )
    problems = [problem for problem in validate(root) if problem.check == "hash"]
    assert len(problems) == MAX_PER_CHECK + 1
    assert "3 more" in problems[-1].message


def test_a_newer_minor_version_may_add_columns(make_manifest):
    root = make_manifest()

    def newer(data):
        metadata = dict(data.schema.metadata)
        metadata[b"h2d"] = json.dumps(json.loads(metadata[b"h2d"]) | {"schema_version": "1.9"}).encode()
        return data.append_column("mood", pa.array(["good"] * len(data))).replace_schema_metadata(metadata)

    replace_table(root, newer)
    assert validate(root) == []


def test_an_empty_manifest_is_valid(make_manifest):
    assert validate(make_manifest(num_pictures=0, num_rejects=0)) == []
