import os

import pytest

from h2d.errors import UserError
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.folder import FolderSource


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"xyz")


def listed(root, **choices):
    found = list(FolderSource(root=root, **choices).records())
    records = {item.id: item.path for item in found if isinstance(item, Record)}
    findings = [(item.kind, item.name) for item in found if isinstance(item, Finding)]
    assert len(records) + len(findings) == len(found)
    return records, findings


def test_every_picture_is_listed_by_its_path(tmp_path):
    put(tmp_path, "b.JPG", "a.png", "deep/er/c.webp", ".hidden.jpg", ".git/d.jpg", "notes.txt", "deep/readme")
    records, findings = listed(tmp_path)
    assert records == {"folder/a": "a.png", "folder/b": "b.JPG", "folder/deep/er/c": "deep/er/c.webp"}
    assert findings == [("not_a_picture", "notes.txt"), ("not_a_picture", "deep/readme")]
    assert {record.size_bytes for record in FolderSource(root=tmp_path).records() if isinstance(record, Record)} == {3}


def test_subfolders_can_be_left_out(tmp_path):
    put(tmp_path, "a.png", "deep/b.png")
    assert listed(tmp_path, recursive=False)[0] == {"folder/a": "a.png"}


def test_ids_that_would_collide_keep_the_extension(tmp_path):
    put(tmp_path, "a.jpg", "a.png", "a.jpg.png", "b.jpg", "c/a.jpg")
    assert set(listed(tmp_path)[0]) == {"folder/a.jpg", "folder/a.png", "folder/a.jpg.png", "folder/b", "folder/c/a"}


def test_a_file_of_another_kind_does_not_change_an_id(tmp_path):
    put(tmp_path, "a.jpg", "a.txt")
    assert set(listed(tmp_path)[0]) == {"folder/a"}


def test_links_neither_hang_nor_list_twice(tmp_path):
    put(tmp_path, "z/a.jpg", "z/b.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "also").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "up").symlink_to(tmp_path)
    (tmp_path / "c.jpg").symlink_to(tmp_path / "z" / "a.jpg")
    (tmp_path / "broken.jpg").symlink_to("gone.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    records, findings = listed(tmp_path)
    assert set(records) == {"folder/c", "folder/z/a", "folder/z/b"}
    assert sorted(findings) == [("broken_link", "broken.jpg"), ("broken_link", "self.jpg")] + [
        ("folder_listed_already", name) for name in ("also/", "loop/", "z/up/")
    ]


def test_a_linked_folder_from_elsewhere_is_entered_when_asked_to(tmp_path):
    put(tmp_path, "far/a.jpg", "near/b.jpg")
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
    assert [(set(records), findings) for records, findings in [listed(tmp_path / "near")]] == [
        ({"folder/b"}, [("link_leads_out", "link/")])
    ]
    assert set(listed(tmp_path / "near", follow_links=True)[0]) == {"folder/b", "folder/link/a"}


def test_a_name_that_is_not_utf8_is_a_finding(tmp_path):
    put(tmp_path, "a.jpg")
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    records, findings = listed(tmp_path)
    assert set(records) == {"folder/a"}
    assert findings == [("name_not_utf8", "\\udcff.jpg")]


def test_the_description_counts_and_the_options_are_plain(tmp_path):
    put(tmp_path, "a.jpg", "deep/b.jpg")
    assert FolderSource(root=tmp_path, split="val").describe() == "2 pictures in this folder or below it, split val"
    assert FolderSource(root=tmp_path).options() == {"recursive": True, "split": "train"}


def test_what_the_user_got_wrong_is_said(tmp_path):
    put(tmp_path, "notes.txt", "deep/b.jpg")
    with pytest.raises(UserError, match="no such folder"):
        FolderSource(root=tmp_path / "gone").describe()
    with pytest.raises(UserError, match="no picture in this folder"):
        FolderSource(root=tmp_path, recursive=False).describe()
    with pytest.raises(UserError, match="split = 'dev': choose one of train, val, test"):
        FolderSource(root=tmp_path, split="dev")
