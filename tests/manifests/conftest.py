"""Manifests of drawn people, for the tests of this folder."""

from pathlib import Path

import pytest
from manifest_builder import build_manifest


@pytest.fixture
def make_manifest(tmp_path):
    """A function that writes a manifest under the test's folder; keyword arguments as `build_manifest`."""

    def make(name: str = "manifest", **choices: object) -> Path:
        return build_manifest(tmp_path / name, **choices)

    return make


@pytest.fixture(scope="session")
def good_manifest(tmp_path_factory) -> Path:
    """A manifest to read only; its originals lie in `originals` beside it."""
    folder = tmp_path_factory.mktemp("good")
    return build_manifest(folder / "manifest", source_root=folder / "originals")
