"""Ray that does not start is one line, whatever it raises."""

import pytest

from h2d.errors import JobError
from h2d.ray_start import start_ray


@pytest.mark.parametrize("kind", [ConnectionError, Exception])
@pytest.mark.parametrize(("address", "where"), [(None, "a local Ray"), ("head:6379", "the Ray cluster at head:6379")])
def test_a_ray_that_does_not_start_is_told_in_one_line(monkeypatch, kind, address, where):
    import ray

    def fail(**options):
        raise kind("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(JobError, match=f"^cannot start on {where}: The current node timed out during startup.$"):
        start_ray(address, num_cpus=1)
