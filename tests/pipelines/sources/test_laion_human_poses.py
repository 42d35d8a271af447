"""Pose files: the labels come back, and a file that wants something run is refused with nothing run."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from h2d.pipelines.sources.laion_human_poses import PoseFileError, UnsafePoseFileError, decode_people, read_people
from h2d.synth.layouts.pose_npz import encode_archive, encode_poses

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "laion-human" / "demo.npz"


def person(seed, dtype=np.float32):
    random = np.random.default_rng(seed)
    return {
        "keypoints": random.uniform(0, 500, (17, 3)).astype(dtype),
        "score": np.float32(random.random()),
        "area": np.float32(random.uniform(1, 1e5)),
    }


def pickled(value):
    items = np.empty(1, object)
    items[0] = value
    return encode_archive(pickle.dumps(items, protocol=3), num_people=1)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_people_come_back_exactly(count):
    people = [person(seed) for seed in range(count)]
    back = decode_people(encode_poses(people))
    assert len(back) == count
    for one, expected in zip(back, people, strict=True):
        np.testing.assert_array_equal(one.keypoints, expected["keypoints"])
        assert (one.score, one.area) == (expected["score"], expected["area"])


@pytest.mark.parametrize("module_name", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_the_names_of_numpy_1_and_2(module_name):
    items = np.empty(1, object)
    items[0] = person(0)
    data = pickle.dumps(items, protocol=3)
    data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    data = data.replace(b"numpy.core.multiarray", module_name)
    (back,) = decode_people(encode_archive(data, num_people=1))
    np.testing.assert_array_equal(back.keypoints, person(0)["keypoints"])


@pytest.mark.parametrize("protocol", [0, 1, 2, 5])
def test_protocols_that_need_a_fifth_name_are_refused(protocol):
    items = np.empty(1, object)
    items[0] = person(0)
    with pytest.raises(UnsafePoseFileError, match=r"_codecs\.encode|copy_reg|copyreg|_frombuffer"):
        decode_people(encode_archive(pickle.dumps(items, protocol=protocol), num_people=1))


def test_a_real_file_reads_as_numpy_reads_it():
    if not SAMPLE.is_file():
        pytest.skip(f"no sample data at {SAMPLE}")
    people = read_people(SAMPLE)
    expected = np.load(SAMPLE, allow_pickle=True)["arr_0"]
    assert len(people) == len(expected) == 9
    for one, other in zip(people, expected, strict=True):
        np.testing.assert_array_equal(one.keypoints, other["keypoints"])
        assert (one.score, one.area) == (other["score"], other["area"])


class Call:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


class Build:
    """Pickles to a call followed by setting a state."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


def touch():
    return Call(Path.touch, Path("it-ran"))


def raw(text):
    """A pickle written by hand: protocol 2 and these operations."""
    return encode_archive(b"\x80\x02" + text, num_people=1)


def nested_archive():
    """A pose file as the bytes of a number inside a pose file."""
    return pickled({"keypoints": Call(pickle.loads, pickle.dumps(touch())), "score": 1.0})


ATTACKS = {
    "instead of a person": lambda: pickled(touch()),
    "instead of the array": lambda: encode_archive(pickle.dumps(touch(), protocol=3), num_people=1),
    "inside a person": lambda: pickled({**person(0), "extra": touch()}),
    "as a key": lambda: pickled({**person(0), "extra": {("a", touch()): 1}}),
    "nested in its own pickle": nested_archive,
    "os.system": lambda: raw(b"cos\nsystem\nX\x0c\x00\x00\x00touch it-ran\x85R."),
    "eval by STACK_GLOBAL": lambda: encode_archive(
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x1aopen('it-ran','w').close()\x85R.", num_people=1
    ),
    "INST": lambda: encode_archive(b"(S'touch it-ran'\nios\nsystem\n.", num_people=1),
    "OBJ": lambda: encode_archive(b"(cos\nsystem\nS'touch it-ran'\no.", num_people=1),
    "in the state of a build": lambda: pickled(Build(np.dtype, ("f4",), (3, touch(), None, None, None, -1, -1, 0))),
    "numpy's loader": lambda: pickled(Call(np.load, "x.npz", None, True)),
    "a dotted name": lambda: encode_archive(b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", num_people=1),
    "an alias in another module": lambda: raw(b"cnumpy._core.multiarray.os\nscalar\n."),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_malicious_file_runs_nothing(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoseFileError):
        decode_people(ATTACKS[attack]())
    assert list(tmp_path.iterdir()) == []


def test_the_attacks_work_on_the_careless(tmp_path, monkeypatch):
    """Else the test above could not fail."""
    monkeypatch.chdir(tmp_path)
    for attack in ("instead of a person", "os.system", "eval by STACK_GLOBAL", "INST", "OBJ"):
        with zipfile.ZipFile(io.BytesIO(ATTACKS[attack]())) as archive:
            member = io.BytesIO(archive.read("arr_0.npy"))
        np.lib.format.read_magic(member)
        np.lib.format.read_array_header_1_0(member)
        pickle.load(member)
        Path("it-ran").unlink()


def test_stand_ins_cannot_be_changed_by_a_file():
    """BUILD may set attributes of whatever it is given; the next file must be read as if nothing had been tried."""
    multiarray = b"numpy.core.multiarray\n"
    for name in (b"numpy\nndarray", b"numpy\ndtype", multiarray + b"scalar", multiarray + b"_reconstruct"):
        for state in (b"}X\x08\x00\x00\x00__call__Ns", b"N}X\x08\x00\x00\x00__call__Ns\x86"):
            with pytest.raises(PoseFileError):
                decode_people(raw(b"c" + name + b"\n" + state + b"b."))
    assert len(decode_people(encode_poses([person(0)]))) == 1


def npz(member, name="arr_0.npy"):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member)
    return data.getvalue()


def saved(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a whole numpy archive"),
        (encode_poses([person(0)])[:400], "not a whole numpy archive"),
        (npz(b"x", "other.npy"), "has no arr_0"),
        (npz(b"x" * 100), "no numpy header"),
        (npz(bytes(5_000_000)), "5,000,000 bytes"),
        (npz(saved(np.zeros((3, 3)))), "float64 numbers, not people"),
        (encode_archive(pickle.dumps([1]), num_people=1), "pickles a list"),
        (encode_archive(pickle.dumps(np.zeros(3), protocol=3), num_people=1), "no list of people"),
        (encode_archive(b"\x80\x03", num_people=1), "damaged pickle"),
        (pickled("a person"), "without keypoints"),
        (pickled({"keypoints": np.zeros((17, 2), np.float32)}), r"shape \(17, 2\)"),
        (pickled({"keypoints": np.zeros((17, 3), np.int16)}), "dtype 'i2'"),
        (pickled({"keypoints": np.zeros((17, 3), np.float32), "score": "high"}), "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_so(data, message):
    with pytest.raises(PoseFileError, match=message):
        decode_people(data)


def test_no_people_may_be_no_objects():
    assert decode_people(npz(saved(np.zeros(0)))) == []
    assert decode_people(npz(saved(np.zeros((0, 17, 3), np.float32)))) == []


def test_big_endian_and_double_precision():
    (back,) = decode_people(pickled(person(0, ">f8")))
    np.testing.assert_array_equal(back.keypoints, person(0, np.float64)["keypoints"].astype(np.float32))
