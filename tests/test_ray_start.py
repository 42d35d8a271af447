"""Ray: one that does not start is one line; workers have GPUs by what the cluster has, not by what this machine has."""

from unittest.mock import Mock

import pytest

from h2d.errors import JobError, UserError
from h2d.ray_start import cluster_device, on_gpus, start_ray


@pytest.mark.parametrize("kind", [ConnectionError, Exception])
@pytest.mark.parametrize(("address", "where"), [(None, "a local Ray"), ("head:6379", "the Ray cluster at head:6379")])
def test_a_ray_that_does_not_start_is_told_in_one_line(monkeypatch, kind, address, where):
    import ray

    def fail(**options):
        raise kind("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(JobError, match=f"^cannot start on {where}: The current node timed out during startup.$"):
        start_ray(address, num_cpus=1)


@pytest.mark.parametrize(
    ("device", "num_gpus", "on_gpu"),
    [("auto", 0, False), ("auto", 2, True), ("cpu", 2, False), ("mps", 2, False), ("cuda", 4, True)],
)
def test_workers_have_gpus_where_ray_has_them(device, num_gpus, on_gpu):
    assert on_gpus(device, num_gpus, 2) is on_gpu


@pytest.mark.parametrize(
    ("device", "num_gpus", "told"),
    [
        ("auto", 1.0, "--workers 2: each takes a GPU, and Ray has 1: give fewer --workers, or --device cpu"),
        ("cuda", 1.0, "--workers 2: each takes a GPU, and Ray has 1: give fewer --workers, or --device cpu"),
        ("cuda", 0, "device 'cuda': Ray has no GPU: give --device cpu"),
    ],
)
def test_workers_that_would_wait_for_a_gpu_for_ever_are_refused(device, num_gpus, told):
    with pytest.raises(UserError) as caught:
        on_gpus(device, num_gpus, 2)
    assert str(caught.value) == told


@pytest.mark.parametrize(("resources", "device"), [({"CPU": 4.0, "GPU": 2.0}, "cuda"), ({"CPU": 4.0}, "cpu")])
def test_a_cluster_is_asked_and_left(monkeypatch, resources, device):
    cluster = Mock(cluster_resources=lambda: resources)
    monkeypatch.setattr("h2d.ray_start.start_ray", lambda address: cluster)
    assert cluster_device("auto", "head:6379", workers=2) == device
    cluster.shutdown.assert_called_once_with()


@pytest.mark.parametrize("name", ["tpu", "cuda:1", "mps", ""])
def test_a_device_that_no_cluster_gives_is_refused_before_it_is_asked(name):
    with pytest.raises(UserError, match=f"^device '{name}': Ray chooses each worker's GPU: give auto, cpu, cuda$"):
        cluster_device(name, "nowhere:1", workers=1)
