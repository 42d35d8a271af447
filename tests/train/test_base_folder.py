"""Where a base's name or path leads to."""

import h2d.train.base_folder as places
from h2d.models.tiny import write_tiny


def test_two_processes_may_write_the_tiny_base_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))

    def overtaken(folder, *, in_channels):
        write_tiny(folder, in_channels=in_channels)
        write_tiny(tmp_path / "tiny-4", in_channels=in_channels)

    monkeypatch.setattr(places, "write_tiny", overtaken)
    assert places.base_folder("tiny", in_channels=4) == tmp_path / "tiny-4"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-4"]
