import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from h2d.images import decode_rgb
from h2d.manifests import report_figures
from h2d.manifests.charts import Rate, histogram
from h2d.manifests.report import write_report
from h2d.manifests.report_figures import MAX_PICTURES
from h2d.manifests.spread import Spread

VOID = {"meta", "img", "link", "br"}
EVIL = "<script>alert('caption')</script> \"quoted\" & <img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The page's elements, nesting checked, and its visible text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    from manifest_builder import build_manifest

    folder = tmp_path_factory.mktemp("report")
    root = build_manifest(
        folder / "<b>bold",
        num_pictures=40,
        num_rejects=12,
        source_root=folder / "originals",
        captions=(EVIL, "A hand."),
    )
    path = write_report(root, folder / "originals")
    return path, Page(path.read_text(encoding="utf-8"))


def test_the_page_is_whole_and_needs_no_network(written):
    path, page = written
    assert path.stat().st_size < 8e6
    assert page.all("script") == []
    assert page.all("link") == []
    for attrs in page.all("img"):
        assert attrs["src"].startswith("data:image/jpeg;base64,")
    assert "url(" not in path.read_text()
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", path.read_text()))
    assert {attrs["id"] for attrs in page.all("h2")} == {attrs["href"].removeprefix("#") for attrs in page.all("a")}


def test_pictures_are_few_and_decode(written):
    pictures = written[1].all("img")
    assert 20 <= len(pictures) <= MAX_PICTURES
    for attrs in pictures:
        height, width, _ = decode_rgb(base64.b64decode(attrs["src"].partition(",")[2])).shape
        assert (str(height), str(width)) == (attrs["height"], attrs["width"])


def test_the_sum_the_tools_and_the_reasons_are_said(written):
    words = written[1].words
    assert "52 pictures indexed 40 accepted 12 left out ✓ adds up" in words
    for text in ("GrabCut (no model weights)", "template captions (no model)", "MediaPipe Holistic", "no hand",
                 "the JPEG is truncated", "entry without picture", "call/missing-1"):  # fmt: skip
        assert text in words
    assert len(written[1].all("svg")) == 4


def test_strangers_text_is_text(written):
    path, page = written
    assert EVIL.split()[0] in page.words
    assert "<script" not in path.read_text()
    assert "<img src=x" not in path.read_text()
    assert "<b>bold" not in path.read_text()


def test_the_same_seed_gives_the_same_page(make_manifest):
    root = make_manifest(num_pictures=20)
    pages = [write_report(root, seed=seed).read_text() for seed in (1, 1, 2)]
    assert pages[0] == pages[1] != pages[2]


def test_a_sum_that_is_wrong_is_shown_so(make_manifest):
    root = make_manifest()
    path = root / "manifest.json"
    path.write_text(path.read_text().replace('"indexed": 8', '"indexed": 9'))
    words = Page(write_report(root).read_text()).words
    assert "✗ does not add up" in words
    assert "not given when this page was made" in words


def test_a_manifest_without_rows_has_a_page(make_manifest):
    page = Page(write_report(make_manifest(num_pictures=0, num_rejects=0)).read_text())
    assert "Every indexed picture was accepted" in page.words
    assert page.all("img") == []


def test_no_original_outside_the_datasets_folder_is_shown(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    row = {"id": "x", "source_path": "../secret.jpg", "reason": "no_hand", "stage": "pose"}
    figure = report_figures._reject_figure(row, tmp_path / "dataset")
    assert (figure.data_uri, figure.problem) == (None, "the original is not there")


def test_pictures_keep_to_their_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    assert len(report_figures._small_jpeg(noise)) <= report_figures._PICTURE_BYTES
    assert report_figures._PICTURE_BYTES * MAX_PICTURES * 4 / 3 < 7e6


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1, 2, 3.5, 900], list(range(1000)), [0.1, float("nan"), 0.9]])
def test_histograms_count_every_value_inside_the_drawing(values):
    spread = Spread()
    spread.add(np.asarray(values, np.float64))
    chart = histogram("sizes", spread)
    counted = sum(int(bar.about.rsplit(": ", 1)[1].replace(",", "")) for bar in chart.bars)
    assert counted == np.isfinite(values).sum()
    assert len(chart.bars) <= 41
    for bar in chart.bars:
        assert bar.width > 0
        assert 0 <= bar.x <= bar.x + bar.width <= 480
        assert 0 <= bar.y <= bar.y + bar.height <= 200
    assert histogram("sizes", Spread()) is None


def test_rates_round_to_all_or_nothing_only_when_exact():
    texts = [Rate(part=part, whole=1000).text for part in (0, 1, 500, 999, 1000)]
    assert texts == ["0 %", "1 %", "50 %", "99 %", "100 %"]
    assert Rate(part=0, whole=0).text == "–"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_the_page(written, tmp_path):
    """Light and dark, desk and phone: something is drawn down to the bottom, and nothing is wider than the screen."""
    backgrounds = []
    for width, scheme in ((1280, 1), (1280, 0), (500, 1)):
        picture = tmp_path / f"{width}-{scheme}.png"
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / picture.stem}", f"--window-size={width},2400",
            f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}", written[0].as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert picture.exists(), done.stderr.decode()[-500:]
        shot = decode_rgb(picture.read_bytes())
        assert shot.shape == (2400, width, 3)
        assert all(band.std() > 5 for band in np.split(shot, 6))
        assert (shot[:, -1].astype(int) - shot[0, -1]).any(axis=1).mean() < 0.01
        backgrounds.append(int(shot[200, 2].mean()))
    assert backgrounds[0] > 230
    assert backgrounds[1] < 40
