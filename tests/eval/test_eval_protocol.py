"""The list on which methods are compared."""

import json
from dataclasses import replace

import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.picture_list import PictureList, read_list
from h2d.eval.protocol import draw_list, quotas
from h2d.images import decode_rgb
from h2d.manifests.store import Manifest, points_of
from h2d.pose.points import present


def draw(root, count=8, seed=0, **options):
    return draw_list(Manifest(root), split="test", count=count, seed=seed, size=96, **options)


def test_the_same_seed_draws_the_same_list_and_another_another(test_manifest, picture_list):
    assert draw(test_manifest).sha256 == picture_list.sha256
    assert draw(test_manifest, seed=1).sha256 != picture_list.sha256
    assert [entry.number for entry in picture_list.entries] == list(range(8))


def test_seeds_of_pictures_differ_and_stay_when_the_list_grows(test_manifest):
    short, long = draw(test_manifest, count=3), draw(test_manifest, count=12)
    seeds = {entry.id: entry.seed for entry in long.entries}
    assert len(set(seeds.values())) == 12
    assert all(seeds[entry.id] == entry.seed for entry in short.entries)


def test_gestures_keep_their_distribution_by_largest_remainder():
    shares = quotas({"a": 600, "b": 300, "c": 99, "d": 1}, 10, seed=0)
    assert shares == {"a": 6, "b": 3, "c": 1, "d": 0}
    assert sum(quotas({"a": 1, "b": 1, "c": 1}, 2, seed=5).values()) == 2
    drawn = {name for seed in range(20) for name, share in quotas({"a": 1, "b": 1}, 1, seed=seed).items() if share}
    assert drawn == {"a", "b"}, "equal remainders must not always go to the same gesture"


def test_poses_are_those_of_the_square_that_is_shown(test_manifest, picture_list):
    entry = picture_list.entries[0]
    row = Manifest(test_manifest).row(entry.id)
    picture = decode_rgb(row["image"]["bytes"])
    left, top, side = entry.place["square"]
    assert side == min(picture.shape[:2])
    body = points_of(row["body"])
    there = present(body)
    expected = (body[there, :2] - (left, top)) * 96 / side
    np.testing.assert_allclose(entry.pose.people[0][there, :2], expected, atol=2e-3)
    assert not present(entry.pose.people[0])[~there].any()
    assert (entry.pose.width, entry.pose.height) == (96, 96)


def test_a_list_comes_back_from_its_file(picture_list, tmp_path):
    picture_list.write(tmp_path / "list.jsonl")
    back = read_list(tmp_path / "list.jsonl")
    assert back.sha256 == picture_list.sha256
    assert back.facts["gestures"] == picture_list.facts["gestures"]
    np.testing.assert_array_equal(back.entries[3].pose.people, picture_list.entries[3].pose.people)
    assert back.entries[3].prompt == "A person shows a hand."


def test_line_breaks_of_other_alphabets_do_not_cut_a_list(picture_list, tmp_path):
    """JSON leaves U+0085, U+2028 and U+2029 as they are, and Python's `splitlines` breaks at them."""
    odd = replace(picture_list.entries[0], gesture="thumb\u2028up", id="drawn\u0085/0", subject="a\u2029b")
    PictureList(entries=(odd, *picture_list.entries[1:]), facts=picture_list.facts).write(tmp_path / "list.jsonl")
    back = read_list(tmp_path / "list.jsonl")
    assert len(back) == len(picture_list)
    assert (back.entries[0].gesture, back.entries[0].id, back.entries[0].subject) == (odd.gesture, odd.id, odd.subject)


def test_too_few_pictures_is_one_line_with_counts(test_manifest):
    with pytest.raises(UserError, match=r"has 12 pictures to compare on, 13 were asked for: give -n 12 or fewer$"):
        draw(test_manifest, count=13)
    with pytest.raises(UserError, match="no split 'val': choose from test"):
        draw_list(Manifest(test_manifest), split="val", count=1, seed=0)


def test_pictures_without_caption_are_counted(tmp_path):
    from manifest_builder import build_manifest

    root = build_manifest(tmp_path / "some", num_pictures=6, splits=("test",), captions=("A hand.", " "))
    assert draw(root, count=3).facts["left_out"] == {"a caption": 3, "a hand in the square": 0}
    with pytest.raises(UserError, match=r"3 without a caption, 4 were asked .* h2d prepare"):
        draw(root, count=4)


def test_a_changed_or_cut_list_is_refused(picture_list, tmp_path):
    path = tmp_path / "list.jsonl"
    picture_list.write(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    with pytest.raises(UserError, match="7 of 8 lines: it is cut short"):
        read_list(path)
    changed = json.loads(lines[1])
    changed["prompt"] = "Somebody else."
    path.write_text("\n".join([lines[0], json.dumps(changed), *lines[2:]]) + "\n")
    with pytest.raises(UserError, match="a list is fixed"):
        read_list(path)
    path.write_text("hello\n")
    with pytest.raises(UserError, match="not a list of pictures"):
        read_list(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "none")
