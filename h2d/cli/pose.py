"""`h2d pose`: poses out of photographs, drawn, in other dialects, checked, and examples."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.output import print_json, say, write_png
from h2d.cli.photographs import as_plain, parts_listed, tell_found
from h2d.cli.wording import counted
from h2d.errors import UserError

if TYPE_CHECKING:
    from h2d.annotate.extract import Extracted
    from h2d.pose.pose import Pose

app = typer.Typer(no_args_is_help=True, help="Extract, draw, convert and check poses; examples of them.")


PoseFile = Annotated[
    Path, typer.Argument(metavar="POSE.json", help="OpenPose JSON in any dialect, or an example's name.")
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WIDTHxHEIGHT", help="Of the picture, where the file names no canvas; as 512x768."),
]
Frame = Annotated[int | None, typer.Option(metavar="N", help="Which pose of a list of several, from 0.")]
Resize = Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Stretch to a canvas of another size.")]
Dialect = Annotated[
    str, typer.Option(help="webui (sd-webui and its editors), comfyui or openpose (keeps confidences).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def extract(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture of a person.")],
    out: Annotated[
        Path | None, typer.Option(metavar="POSE.json", help="Where to write. Default: PHOTO.pose.json here.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw the pose over the photograph.")
    ] = None,
    dialect: Dialect = "webui",
    json: Json = False,
) -> None:
    """Find the pose of the most prominent person in a photograph, with MediaPipe."""
    from h2d.annotate.extract import extract_pose, read_photograph
    from h2d.pose.openpose_json import check_dialect, read_pose, write_pose

    check_dialect(dialect)
    picture = read_photograph(photo)
    found = extract_pose(picture, name=str(photo))
    path = out or Path(f"{photo.stem}.pose.json")
    write_pose(found.pose, path, dialect=dialect)
    if draw:
        write_png(draw, _over(picture, found), option="--draw")
    written = read_pose(path, size_hw=found.pose.size_hw)
    told = _told(written)
    if json:
        print_json({"pose": path, "overlay": draw, **as_plain(found), **told})
        return
    tell_found(photo, found, told["people"][0])
    for finding in told["findings"]:
        say(f"  {finding['level']:8} {finding['line']}")
    say(f"wrote {path}" + (f" and {draw}" if draw else ""))


@app.command()
def draw(
    file: PoseFile,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where to write. Default: POSE.png here.")
    ] = None,
    style: Annotated[
        str, typer.Option(help="v1.1 (ControlNet 1.1), v1.0 (first ControlNet, T2I-Adapter), humansd.")
    ] = ("v1.1"),
    hands: Annotated[bool, typer.Option(help="Draw the hands.")] = True,
    face: Annotated[bool, typer.Option(help="Draw the faces.")] = True,
    resize: Resize = None,
    size: Size = None,
    frame: Frame = None,
) -> None:
    """Draw the skeleton picture that pose networks take, pixel by pixel as they were trained on it."""
    from h2d.pose.draw import draw_pose, read_style

    chosen = read_style(style)
    pose = _read(file, size, frame, resize)
    path = out or Path(f"{file.stem}.png")
    write_png(path, draw_pose(pose, style=chosen, hands=hands, face=face))
    say(f"wrote {path}: {_people(pose)} at {pose.width}x{pose.height}, style {style}")
    _tell_guess(pose)


@app.command()
def convert(
    file: PoseFile,
    out: Annotated[Path, typer.Option(metavar="POSE.json", help="Where to write.")],
    dialect: Dialect = "webui",
    resize: Resize = None,
    swap_hands: Annotated[
        int | None, typer.Option(metavar="PERSON", help="Exchange this person's left and right hand.")
    ] = None,
    size: Size = None,
    frame: Frame = None,
) -> None:
    """Write a pose in another dialect, on another canvas, or with hands swapped."""
    from h2d.pose.openpose_json import write_pose

    pose = _read(file, size, frame, resize)
    if swap_hands is not None:
        if not 0 <= swap_hands < pose.num_people:
            raise UserError(f"--swap-hands {swap_hands}: {file} has {_people(pose)}: count from 0")
        pose = pose.with_hands_swapped(swap_hands)
    write_pose(pose, out, dialect=dialect)
    say(f"wrote {out}: {_people(pose)} at {pose.width}x{pose.height}, dialect {dialect}")
    _tell_guess(pose)
    unsure = _num_points(pose) - _num_points(pose.shown())
    if unsure and dialect != "openpose":
        say(f"  left out {counted(unsure, 'point')} too unsure to be drawn; --dialect openpose keeps them")


@app.command()
def validate(
    files: Annotated[
        list[Path], typer.Argument(metavar="POSE.json ...", help="OpenPose JSON in any dialect, or examples' names.")
    ],
    resize: Resize = None,
    size: Size = None,
    frame: Frame = None,
    json: Json = False,
) -> None:
    """Say what is missing in poses and what cannot be; exit code 2 when something cannot be."""
    reports = [_report(file, size, frame, resize) for file in files]
    if json:
        print_json({"ok": all(report["ok"] for report in reports), "poses": reports})
    else:
        for report in reports:
            _tell(report)
    if not all(report["ok"] for report in reports):
        raise typer.Exit(2)


@app.command()
def examples(
    write: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy them into a folder.")] = None,
    json: Json = False,
) -> None:
    """List the poses that come with h2d, each with a prompt that suits it."""
    from h2d.pose.examples import EXAMPLES, read_example, write_examples

    poses = {name: read_example(name) for name in EXAMPLES}
    written = dict(zip(EXAMPLES, write_examples(write), strict=True)) if write else {}
    if json:
        print_json(
            [
                {
                    "name": name,
                    "prompt": EXAMPLES[name],
                    "file": written.get(name),
                    "people": pose.num_people,
                    "hands": [{"person": person, "side": side} for person, side in pose.hands()],
                    "width": pose.width,
                    "height": pose.height,
                    "hash": pose.pose_hash(),
                }
                for name, pose in poses.items()
            ]
        )
        return
    for name, pose in poses.items():
        about = f"{_people(pose)}, {counted(len(list(pose.hands())), 'hand')}"
        say(f"{name:11} {pose.width}x{pose.height}  {about}")
        say(f"            {EXAMPLES[name]}")
    say(f"wrote {len(written)} files into {write}" if write else "Copy them:  h2d pose examples --write poses")


def _read(file: Path, size: str | None, frame: int | None, resize: str | None) -> "Pose":
    from h2d.pose.examples import find_pose

    new_hw = _size_hw(resize, "--resize")
    pose = find_pose(file, size_hw=_size_hw(size, "--size"), frame=frame)
    return pose.resized(new_hw[1], new_hw[0]) if new_hw else pose


def _size_hw(text: str | None, option: str) -> tuple[int, int] | None:
    """WIDTHxHEIGHT as (height, width)."""
    from h2d.pose.openpose_people import LARGEST_PX

    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 1 <= int(side) <= LARGEST_PX for side in sides):
        raise UserError(f"{option} {text!r}: give WIDTHxHEIGHT in pixels, 1 to {LARGEST_PX}, as 512x768")
    return int(sides[1]), int(sides[0])


def _report(file: Path, size: str | None, frame: int | None, resize: str | None) -> dict[str, Any]:
    """What is told of one file; one that cannot be read is not ok, and the others go on."""
    try:
        pose = _read(file, size, frame, resize)
    except UserError as error:
        return {"file": file, "ok": False, "error": str(error)}
    told = _told(pose)
    ok = all(finding["level"] != "error" for finding in told["findings"])
    return {"file": file, "ok": ok, "error": None, **told}


def _told(pose: "Pose") -> dict[str, Any]:
    from h2d.pose.checks import CHECKS, inventory
    from h2d.pose.checks import validate as find

    findings = [
        {
            "level": finding.level,
            **asdict(finding),
            "unit": CHECKS[finding.name].unit,
            "bound": CHECKS[finding.name].bound,
            "line": finding.line(),
        }
        for finding in find(pose)
    ]
    return {
        "width": pose.width,
        "height": pose.height,
        "canvas_stated": pose.canvas_stated,
        "hash": pose.pose_hash(),
        "people": inventory(pose),
        "findings": findings,
    }


def _tell(report: dict[str, Any]) -> None:
    if report["error"]:
        say(report["error"])
        return
    errors = sum(finding["level"] == "error" for finding in report["findings"])
    warnings = len(report["findings"]) - errors
    verdict = "ok" if report["ok"] else "not ok"
    counts = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    say(f"{report['file']}: {verdict}: {report['width']}x{report['height']}, {counts}")
    for person, parts in enumerate(report["people"]):
        say(f"  person {person}: {parts_listed(parts)}")
    for finding in report["findings"]:
        say(f"  {finding['level']:8} {finding['line']}")


def _tell_guess(pose: "Pose") -> None:
    if not pose.canvas_stated:
        say("  the file names no canvas: the smallest that holds its points was taken; --size WIDTHxHEIGHT states it")


def _over(picture: Any, found: "Extracted") -> Any:
    """The photograph with the body, and each hand with its side."""
    from h2d.manifests.overlay import draw_body, draw_hand

    drawn = draw_body(picture, found.pose.people[0])
    for _, side in found.pose.hands():
        drawn = draw_hand(drawn, found.pose.hand(0, side), side)
    return drawn


def _people(pose: "Pose") -> str:
    return f"{pose.num_people} {'person' if pose.num_people == 1 else 'people'}"


def _num_points(pose: "Pose") -> int:
    return int((pose.people[..., 2] > 0).sum())
