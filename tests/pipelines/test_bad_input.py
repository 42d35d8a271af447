"""What strangers put into a dataset's folder: every entry has its expected row, finding or one-line error."""

import html
import io
import json
import os
import resource
import struct
import zlib
from collections import Counter
from typing import ClassVar

import cv2
import numpy as np
import pytest
import yaml
from colour_world import Scene, draw
from mutants import mutated
from PIL import Image
from test_prepare import Watching, choices_for, rows

from h2d.annotate.captions import CAPTIONERS
from h2d.config import config
from h2d.errors import UserError
from h2d.images import MAX_PIXELS, DecodeError, decode_rgb, encode_jpeg, encode_png
from h2d.manifests.validate import validate
from h2d.pipelines.choices import CaptionChoice, MaskChoice, RunConfig
from h2d.pipelines.prepare import prepare
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.hagrid import HagridSource
from h2d.supervision.supervised import Supervised

HAND = draw(Scene(hands={"left": (0.5, 0.5)}), seed=1)
JPEG = encode_jpeg(HAND)
DECODE = ("pose", "error", "decode")
NO_PERSON = ("pose", "skipped", "no_person")
ACCEPTED = "accepted"


def png(width, height, compressed=b""):
    """A PNG whose header states any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(HAND), "JPEG", exif=exif, quality=95)


def sixteen_bit():
    return cv2.imencode(".png", cv2.cvtColor(HAND, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257)[1].tobytes()


def animated():
    frames = [Image.fromarray(np.roll(HAND, shift, axis=0)) for shift in (0, 20)]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


PICTURES = {
    "sound.jpg": (JPEG, ACCEPTED),
    "empty.jpg": (b"", DECODE),
    "truncated.jpg": (JPEG[: len(JPEG) // 2], DECODE),
    "truncated.png": (encode_png(HAND)[:200], DECODE),
    "only-a-start.jpg": (b"\xff\xd8\xff\xd9", DECODE),
    "no-picture.jpg": (b"<html>404 Not Found</html>", DECODE),
    "zeros.jpg": (bytes(5000), DECODE),
    "pickle.jpg": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", DECODE),
    "png-inside.jpg": (encode_png(HAND), ACCEPTED),
    "jpeg-inside.png": (JPEG, ACCEPTED),
    "grey.jpg": (saved(Image.fromarray(HAND).convert("L"), "JPEG"), NO_PERSON),
    "cmyk.jpg": (saved(Image.fromarray(HAND).convert("CMYK"), "JPEG", quality=95), ACCEPTED),
    "sixteen-bit.png": (sixteen_bit(), ACCEPTED),
    "alpha.png": (saved(Image.fromarray(HAND).convert("RGBA"), "PNG"), ACCEPTED),
    "palette.png": (saved(Image.fromarray(HAND).quantize(64), "PNG"), ACCEPTED),
    "one-bit.png": (saved(Image.fromarray(HAND).convert("1"), "PNG"), NO_PERSON),
    "rotated.jpg": (rotated(), ACCEPTED),
    "animated.png": (animated(), ACCEPTED),
    "webp.webp": (saved(Image.fromarray(HAND), "WEBP", quality=95), ACCEPTED),
    "bitmap.bmp": (saved(Image.fromarray(HAND), "BMP"), ACCEPTED),
    "one-pixel.png": (encode_png(HAND[:1, :1]), NO_PERSON),
    "strip.png": (encode_png(np.full((10, 20_000, 3), 120, np.uint8)), DECODE),
    "bomb.png": (png(30_000, 30_000, zlib.compress(bytes(1000))), DECODE),
    "bomb-beyond-32-bits.png": (png(2**31 - 1, 2**31 - 1), DECODE),
    "no-size.png": (png(0, 0), DECODE),
    "SHOUTING.JPG": (JPEG, ACCEPTED),
    "with spaces.jpg": (JPEG, ACCEPTED),
    "with 'quotes\".jpg": (JPEG, ACCEPTED),
    "with\nnewline\tand tab.jpg": (JPEG, ACCEPTED),
    "<script>alert(1)<_script>.jpg": (JPEG, ACCEPTED),
    "手-é-🖐.jpg": (JPEG, ACCEPTED),
    "-rf.jpg": (JPEG, ACCEPTED),
    "%2e%2e%2f{0}$HOME.jpg": (JPEG, ACCEPTED),
    "n" * 251 + ".jpg": (JPEG, ACCEPTED),
}
"""File name: its bytes, and what becomes of it."""


def write(root, pictures=PICTURES):
    root.mkdir(exist_ok=True)
    for name, (data, _) in pictures.items():
        (root / name).write_bytes(data)


def outcomes(out):
    """Each picture's path with what became of it; a picture in two tables fails."""
    accepted = [(row["source_path"], ACCEPTED) for row in rows(out, "images")]
    rejected = [(row["source_path"], (row["stage"], row["status"], row["reason"])) for row in rows(out, "rejects")]
    found = dict(accepted + rejected)
    assert len(found) == len(accepted) + len(rejected)
    return found


def prepared(tmp_path, **changes):
    return prepare(choices_for(tmp_path, mask=MaskChoice(name="none"), **changes), Watching())


def test_every_bad_picture_has_its_row(tmp_path):
    write(tmp_path / "pictures")
    outcome = prepared(tmp_path)
    assert outcomes(tmp_path / "out") == {name: expected for name, (_, expected) in PICTURES.items()}
    assert outcome.counts["indexed"] == len(PICTURES)
    assert validate(tmp_path / "out", tmp_path / "pictures") == []


def test_a_bomb_is_refused_before_it_is_unpacked():
    """A thousand bytes that state gigabytes: what OpenCV would reserve is never reserved."""
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(DecodeError, match="exceed the limit"):
        decode_rgb(png(side, side, zlib.compress(bytes(1000))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DecodeError, match="exceed the limit"):
        decode_rgb(png(30_000, 30_000, zlib.compress(bytes(1000))))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_what_is_no_file_is_named_and_never_opened(tmp_path):
    """A named pipe would wait for ever, a link to itself has no end."""
    root = tmp_path / "pictures"
    write(root, {"sound.jpg": PICTURES["sound.jpg"]})
    (root / "dangling.jpg").symlink_to("nowhere.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "folder.jpg").mkdir()
    (root / "folder.jpg" / "inner.jpg").write_bytes(JPEG)
    (root / "folder.jpg" / "up").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    (root / "notes.txt").write_text("not a picture")
    outcome = prepared(tmp_path)
    assert outcomes(tmp_path / "out") == {"sound.jpg": ACCEPTED, "folder.jpg/inner.jpg": ACCEPTED}
    assert outcome.findings == {"broken_link": 2, "folder_listed_already": 1, "not_a_picture": 2}


def test_a_picture_that_vanishes_or_turns_into_a_folder_is_a_row(tmp_path, monkeypatch):
    root = tmp_path / "pictures"
    write(root, dict.fromkeys(("kept.jpg", "vanished.jpg", "turned.jpg"), PICTURES["sound.jpg"]))
    setup = Supervised.setup

    def meddle(worker):
        (root / "vanished.jpg").unlink(missing_ok=True)
        if (root / "turned.jpg").is_file():
            (root / "turned.jpg").unlink()
            (root / "turned.jpg").mkdir()
        setup(worker)

    monkeypatch.setattr(Supervised, "setup", meddle)
    prepared(tmp_path)
    found = outcomes(tmp_path / "out")
    assert found["kept.jpg"] == ACCEPTED
    assert found["vanished.jpg"] == DECODE
    assert found["turned.jpg"][:2] == ("pose", "error")


BOX = [0.3, 0.3, 0.4, 0.4]
SOUND = {"bboxes": [BOX], "labels": ["call"], "user_id": "someone"}
ENTRIES = {
    "sound": (SOUND, None),
    "nan": ({**SOUND, "bboxes": [[float("nan"), 0.3, 0.4, 0.4]]}, "malformed_box"),
    "infinite": ({**SOUND, "bboxes": [[float("inf"), 0.3, 0.4, 0.4]]}, "malformed_box"),
    "huge-number": ({**SOUND, "bboxes": [[10**400, 0.3, 0.4, 0.4]]}, "malformed_box"),
    "text-box": ({**SOUND, "bboxes": ["0.3"]}, "malformed_box"),
    "nested-wrong": ({**SOUND, "bboxes": {"0": BOX}}, "malformed_entry"),
    "a-list": ([BOX], "malformed_entry"),
    "nothing": (None, "malformed_entry"),
    "half-a-letter": ({**SOUND, "user_id": "\ud800", "labels": ["\udfff"]}, "malformed_entry"),
    "text-points": ({**SOUND, "hand_landmarks": [[["x", "y"]] * 21]}, "malformed_landmarks"),
    "many-boxes": ({**SOUND, "bboxes": [BOX] * 3000, "labels": ["call"] * 3000}, None),
}
"""HaGRID entries: what they say, and the finding it makes. Their pictures are whole, so all have a row."""
STRANGE_IDS = ("../sound", "/etc/passwd", "..", "", "a\x00b", "\ud800", "<script>alert(1)</script>", "x" * 300)


def write_hagrid(root, text):
    (root / "images" / "call").mkdir(parents=True)
    (root / "annotations" / "train").mkdir(parents=True)
    for name in ENTRIES:
        (root / "images" / "call" / f"{name}.jpg").write_bytes(JPEG)
    (root / "annotations" / "train" / "call.json").write_text(text)


def test_every_bad_entry_has_its_finding_and_its_picture_a_row(tmp_path):
    entries = {name: entry for name, (entry, _) in ENTRIES.items()}
    write_hagrid(tmp_path / "pictures", json.dumps(entries | dict.fromkeys(STRANGE_IDS, SOUND)))
    outcome = prepared(tmp_path, source="hagrid")
    assert outcome.counts["indexed"] == len(ENTRIES)
    assert set(outcomes(tmp_path / "out").values()) == {ACCEPTED}
    expected = Counter(finding for _, finding in ENTRIES.values() if finding)
    assert outcome.findings == expected | {"entry_without_picture": len(STRANGE_IDS)}
    assert validate(tmp_path / "out", tmp_path / "pictures") == []


BROKEN_JSON = {
    "empty": "",
    "cut": json.dumps({"sound": SOUND})[:-3],
    "a list": "[]",
    "text": '"call"',
    "nested deeply": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "lists nested deeply": "[" * 100_000 + "]" * 100_000,
    "a number of 5000 digits": '{"sound": ' + "9" * 5000 + "}",
    "two documents": "{}{}",
}


@pytest.mark.parametrize("text", BROKEN_JSON.values(), ids=BROKEN_JSON)
def test_broken_annotations_stop_with_one_line(tmp_path, text):
    write_hagrid(tmp_path / "pictures", text)
    with pytest.raises(UserError, match=r"call\.json: ") as error:
        prepared(tmp_path, source="hagrid")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 500
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_of_an_id_that_stands_twice_the_last_entry_counts(tmp_path):
    first, last = json.dumps({**SOUND, "user_id": "first"}), json.dumps({**SOUND, "user_id": "last"})
    write_hagrid(tmp_path / "pictures", f'{{"sound": {first}, "sound": {last}}}')
    prepared(tmp_path, source="hagrid")
    assert [row["subject"] for row in rows(tmp_path / "out", "images")] == ["last"]


EVIL = "<img src=x onerror=alert(1)> & <script>alert(2)<_script>"


@config
class EvilCaptioner:
    """Says what a stranger's server may say."""

    batch_size: ClassVar = 1
    sees_pictures: ClassVar = True
    needs_gpu: ClassVar = False
    uses_all_cores: ClassVar = False

    def identity(self):
        return {"model": EVIL}

    def setup(self): ...

    def close(self): ...

    def caption(self, requests):
        return [f"{EVIL} {{{{ 7 * 7 }}}} ../../x\\n| a | b |" for _ in requests]


def test_strangers_words_are_text_wherever_they_are_shown(tmp_path, monkeypatch):
    """In file names, gestures, people, findings and captions: the page and the card show them, and nothing runs."""
    root = tmp_path / "pictures"
    entry = {**SOUND, "labels": [EVIL], "user_id": EVIL}
    write_hagrid(root, json.dumps({"sound": SOUND, EVIL: entry, f"lost {EVIL}": entry}))
    (root / "images" / "call" / f"{EVIL}.jpg").write_bytes(JPEG)
    (root / "images" / EVIL).mkdir()
    (root / "images" / EVIL / f"other {EVIL}.jpg").write_bytes(JPEG)
    (root / "images" / EVIL / f"broken {EVIL}.jpg").write_bytes(b"broken")
    names = [f"{name} {EVIL}" for name in ("other", "broken", "lost")]
    (root / "annotations" / "train" / f"{EVIL}.json").write_text(json.dumps(dict.fromkeys(names, entry)))
    monkeypatch.setitem(CAPTIONERS, "evil", f"{__name__}:EvilCaptioner")
    prepared(tmp_path, source="hagrid", caption=CaptionChoice(name="evil"), out=EVIL)
    out = tmp_path / EVIL
    captions = {row["caption"] for row in rows(out, "images")}
    assert captions == set(EvilCaptioner().caption([None])), "a caption is kept as it came"
    assert {row["gesture"] for row in rows(out, "images")} == {"call", EVIL}
    assert [row["id"] for row in rows(out, "rejects")] == [f"hagrid/{EVIL}/broken {EVIL}"]
    page = (out / "report.html").read_text()
    assert html.escape(EVIL, quote=False) in page
    assert "{{ 7 * 7 }}" in page, "it is no template"
    _, header, card = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["pretty_name"] == EVIL
    for text in (page, card.replace("\\<", "")):
        assert "<script" not in text
        assert "<img src=x" not in text
    assert validate(out, root) == []


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_leave_the_driver_alive_and_the_sums_right(tmp_path, count):
    """A third each of JPEG, PNG and JSON; every mutated JSON file either stops with one line or lists what it names."""
    rng = np.random.default_rng(count)
    small = cv2.resize(HAND, (96, 72))
    seeds = {"jpg": encode_jpeg(small), "png": encode_png(small)}
    root = tmp_path / "pictures"
    root.mkdir()
    num_pictures = count * 2 // 3
    for number in range(num_pictures):
        kind = ("jpg", "png")[number % 2]
        (root / f"{number:05d}.{kind}").write_bytes(mutated(seeds[kind], rng))
    outcome = prepared(tmp_path, run=RunConfig(shard_size=512, executor="inline", max_error_rate=1))
    assert outcome.counts["indexed"] == num_pictures == outcome.counts["images"] + outcome.counts["rejects"]
    assert len(outcomes(tmp_path / "out")) == num_pictures
    assert 0 < outcome.counts["rejects"] < num_pictures
    reasons = Counter(row["reason"] for row in rows(tmp_path / "out", "rejects"))
    # The last is the stand-in detector's, which raises when a corner turned green.
    assert set(reasons) <= {"decode", "no_person", "no_hand", "hand_too_small", "RuntimeError"}, reasons

    hagrid = tmp_path / "hagrid"
    entries = {name: entry for name, (entry, _) in ENTRIES.items() if name != "many-boxes"}
    write_hagrid(hagrid, "{}")
    text = json.dumps(entries).encode()
    stopped = []
    for _ in range(count - num_pictures):
        (hagrid / "annotations" / "train" / "call.json").write_bytes(mutated(text, rng))
        try:
            listed = list(HagridSource(root=hagrid).records())
        except UserError as error:
            stopped.append(str(error))
        else:
            ids = [item.id for item in listed if isinstance(item, Record)]
            unlisted = [item for item in listed if isinstance(item, Finding) and item.kind == "picture_without_entry"]
            assert len(set(ids)) == len(ids)
            assert len(ids) + len(unlisted) in (len(ENTRIES), 0)
    assert 0 < len(stopped) < count - num_pictures
    assert all(len(message.splitlines()) == 1 for message in stopped)
