import base64

from h2d.train.report import curve, write_report


def test_names_and_options_of_strangers_are_escaped(tmp_path):
    records = [{"step": 1, "loss": 2.0, "<b>": 1.0}, {"step": 2, "loss": 1.0}]
    page = write_report(
        tmp_path, records, {"stage": "hand", "caption": "<script>alert(1)</script>"}, panels=()
    ).read_text()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_a_falling_curve_goes_down_the_page_and_has_few_points():
    drawn = curve("loss", [(step, 1000.0 - step) for step in range(1000)])
    heights = [float(point.split(",")[1]) for point in drawn.points.split()]
    assert heights == sorted(heights)
    assert len(heights) == 500


def test_the_last_previews_are_within_the_page(tmp_path):
    (tmp_path / "previews").mkdir()
    pictures = {f"step-{step:07d}": f"picture {step}".encode() for step in range(1, 9)}
    for name, content in pictures.items():
        (tmp_path / f"previews/{name}.png").write_bytes(content)
    page = write_report(tmp_path, [{"step": 8, "loss": 1.0}], {"stage": "hand"}, panels=("pose", "target")).read_text()
    assert "From left to right: pose, target." in page
    within = [name for name, content in pictures.items() if base64.b64encode(content).decode() in page]
    assert within == [*pictures][-6:]
