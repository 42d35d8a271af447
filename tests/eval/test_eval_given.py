"""Pictures of other programs: matched to the list's rows, and refused in one line where they cannot be."""

import cv2
import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.generate import method_folder
from h2d.eval.given import matched_files, read_picture
from h2d.eval.placing import Silent
from h2d.eval.run import Placing, evaluate_folder


def write(folder, names, size=(80, 80), levels=None):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        picture = np.full((*size, 3), 10 * number if levels is None else levels, np.uint8)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    return folder


@pytest.mark.parametrize(
    "name_of",
    [
        lambda entry: f"{entry.id}.png",
        lambda entry: f"{entry.id.replace('/', '_')}.png",
        lambda entry: f"{entry.name}.jpg",
    ],
)
def test_files_are_matched_by_id_or_number(picture_list, tmp_path, name_of):
    names = [name_of(entry) for entry in picture_list.entries]
    write(tmp_path / "theirs", sorted(names))
    files = matched_files(tmp_path / "theirs", picture_list, "auto")
    assert [file.relative_to(tmp_path / "theirs").as_posix() for file in files] == names


def test_other_names_go_by_order_with_numbers_counted(picture_list, tmp_path):
    write(tmp_path / "theirs", [f"picture-{number}.png" for number in range(3, 11)])
    files = matched_files(tmp_path / "theirs", picture_list, "auto")
    assert [file.stem for file in files] == [f"picture-{number}" for number in range(3, 11)]


def test_unequal_lists_are_one_line(picture_list, tmp_path):
    write(tmp_path / "seven", [f"x{number}.png" for number in range(7)])
    with pytest.raises(UserError, match="7 pictures for the 8 rows of the list: give one for each"):
        matched_files(tmp_path / "seven", picture_list, "auto")
    write(tmp_path / "ids", [f"{entry.name}.png" for entry in picture_list.entries[:6]])
    first = picture_list.entries[6].id
    with pytest.raises(UserError, match=f"6 pictures for the 8 rows of the list: 2 have none, first {first}"):
        matched_files(tmp_path / "ids", picture_list, "auto")
    write(tmp_path / "twice", [f"{entry.name}.png" for entry in picture_list.entries] + ["00003.jpg"])
    with pytest.raises(UserError, match="two pictures for"):
        matched_files(tmp_path / "twice", picture_list, "auto")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures: give files that end in"):
        matched_files(tmp_path / "empty", picture_list, "auto")
    with pytest.raises(UserError, match="no such folder"):
        matched_files(tmp_path / "none", picture_list, "auto")


def test_bad_pictures_are_one_line(tmp_path):
    folder = write(tmp_path / "bad", ["wide.png"], size=(80, 120))
    with pytest.raises(UserError, match=r"wide.png: 120 x 80 pixels, the list's pictures are 96 x 96"):
        read_picture(folder / "wide.png", 96)
    write(folder, ["tiny.png"], size=(8, 8))
    with pytest.raises(UserError, match="8 x 8 pixels show nothing"):
        read_picture(folder / "tiny.png", 96)
    (folder / "broken.png").write_bytes(b"not a picture at all")
    with pytest.raises(UserError, match=r"broken.png: not a picture .*: make it again, then the same command$"):
        read_picture(folder / "broken.png", 96)


def test_transparent_pictures_lie_on_white_and_say_so(tmp_path):
    clear = np.zeros((64, 64, 4), np.uint8)
    clear[..., 2] = 255
    clear[:32, :, 3] = 255
    cv2.imwrite(str(tmp_path / "half.png"), clear)
    picture, notes = read_picture(tmp_path / "half.png", 96)
    assert tuple(picture[0, 0]) == (255, 0, 0)
    assert tuple(picture[-1, 0]) == (255, 255, 255), "the red beneath is not shown"
    assert notes == ("transparent: laid on white",)
    clear[..., 3] = 255
    cv2.imwrite(str(tmp_path / "opaque.png"), clear)
    picture, notes = read_picture(tmp_path / "opaque.png", 96)
    assert (tuple(picture[-1, 0]), notes) == ((255, 0, 0), ())


def test_a_damaged_picture_is_made_again_and_the_same_command_goes_on(fakes, picture_list, choices, tmp_path):
    source = write(tmp_path / "theirs", [f"{entry.name}.png" for entry in picture_list.entries])
    whole = (source / "00003.png").read_bytes()
    (source / "00003.png").write_bytes(whole[:60])
    out = tmp_path / "run"
    with pytest.raises(UserError, match=r"00003.png: .*: make it again, then the same command$"):
        evaluate_folder(source, picture_list, out, choices, Silent(), Placing())
    assert not method_folder(out, "theirs").path.exists(), "nothing is taken over before all is read"
    (source / "00003.png").write_bytes(whole)
    results = evaluate_folder(source, picture_list, out, choices, Silent(), Placing())
    assert [method.name for method in results.methods] == ["real", "theirs"]


def test_a_folder_becomes_a_method_of_the_run(fakes, picture_list, choices, tmp_path):
    source = write(tmp_path / "My Model v2", [f"{entry.name}.png" for entry in picture_list.entries])
    out = tmp_path / "run"
    results = evaluate_folder(source, picture_list, out, choices, Silent(), Placing())
    assert results is not None
    method = results.methods[1]
    assert (method.name, method.title) == ("my-model-v2", "My Model v2")
    assert method.measures["found"].value == 0
    assert method_folder(out, "my-model-v2").about("00002")["file"] == "00002.png"
    cv2.imwrite(str(source / "00004.png"), np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(UserError, match=r"made with identity.sha256 = .*--fresh"):
        evaluate_folder(source, picture_list, out, choices, Silent(), Placing())
    assert evaluate_folder(source, picture_list, out, choices, Silent(), Placing(), fresh=True) is not None


def test_sizes_must_not_be_mixed(fakes, picture_list, choices, tmp_path):
    source = write(tmp_path / "mixed", [f"{entry.name}.png" for entry in picture_list.entries])
    write(source, ["00005.png"], size=(96, 96))
    with pytest.raises(UserError, match=r"00005.png: 96 x 96 pixels, the one before it has 80"):
        evaluate_folder(source, picture_list, tmp_path / "run", choices, Silent(), Placing())


def test_names_of_our_own_methods_are_kept_for_them(fakes, picture_list, choices, tmp_path):
    source = write(tmp_path / "theirs", [f"{entry.name}.png" for entry in picture_list.entries])
    for name, reason in (("two-stage", "one of our own methods"), ("real", "other than real"), ("///", "letters")):
        with pytest.raises(UserError, match=reason):
            evaluate_folder(source, picture_list, tmp_path / "run", choices, Silent(), Placing(), name=name)
