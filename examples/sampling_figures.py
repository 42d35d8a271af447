"""Makes the pictures of `docs/sampling.md`: each step of sampling, blends, arms, enlarged hands, latents handed on.

python examples/sampling_figures.py [--out docs/images]

What is made is the miniature's that comes with h2d. Blends and the enlarged canvas are at 512 pixels, with the hand of
a drawn person given as a photograph, where networks play no part.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from make_poses import SCENES
from PIL import Image, ImageDraw, ImageFont

from h2d.images import encode_jpeg, encode_png, resize
from h2d.infer.arms import with_arms
from h2d.infer.blending import BLENDS
from h2d.infer.choosing import default_models
from h2d.infer.loading import load_checkpoints, load_models
from h2d.infer.options import SampleOptions
from h2d.infer.sheet import contact_sheet, mask_picture, shown_steps
from h2d.infer.two_stage import TwoStagePipeline
from h2d.infer.zoom import enlarged_canvas, small_windows
from h2d.models.reading import quiet_libraries
from h2d.models.tiny import write_tiny
from h2d.pose.draw import draw_pose
from h2d.pose.examples import EXAMPLES, read_example
from h2d.pose.pose import Pose
from h2d.registry import resolve
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene

PROMPT: Final = (
    "A person with brown skin and long black hair, in a yellow top with long sleeves, is spreading all five fingers"
    " with the left hand, palm to the camera, in front of a plain dark blue background."
)

_SIZE: Final = 512
_LABEL_PX: Final = 30
_SHOWN: Final = 200


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        pipe = random_pipeline(Path(folder))
        photo = Path(folder) / "drawn.png"
        photo.write_bytes(encode_png(drawn("palm")))
        options = SampleOptions(num_inference_steps=1, hand_photo=photo)
        output = pipe(EXAMPLES["palm"], read_example("palm"), seed=1, options=options)
        masks = [hand.as_picture() for hand in output.hands[0]]
        save(out / "sampling_blends.png", blends(output.masks[0] > 0, [hand.crop.box_xywh for hand in masks]))
        enlarged = enlargement(pipe, options)
    trained = load_models(default_models(Path("no runs")))
    trained.set_progress_bar_config(disable=True)
    save(out / "sampling_arms.jpg", arms(trained))
    save(out / "sampling_zoom.jpg", np.concatenate([enlarged, zoomed(trained)], axis=1))
    contact_sheet(trained(PROMPT, read_example("palm"), seed=1), 0, PROMPT).save(out / "sampling_steps.png")
    save(out / "sampling_handover.jpg", handed_on(trained))


def random_pipeline(folder: Path) -> TwoStagePipeline:
    """Stage 2 of the miniature at 512 pixels; hands come from a photograph."""
    write_tiny(folder / "base", in_channels=9)
    pipe = load_checkpoints(outpaint=folder / "base" / "controlnet", base=folder / "base")
    pipe.register_to_config(size_px=_SIZE, hand_size_px=_SIZE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(name: str) -> np.ndarray:
    """The drawn person that an example pose was taken from."""
    options = dict(SCENES[name])
    return np.asarray(render(sample_scene(options.pop("seed"), background="plain", **options)).picture)


def blends(mask: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """What each strategy puts back after a few of fifty steps."""
    rows = []
    for name in BLENDS:
        steps = resolve(BLENDS, name, kind="blending")().step_masks(mask[None], [boxes], 50)[:, 0]
        cells = {f"{name}, step {step + 1}": mask_picture(steps[step]) for step in [*shown_steps(48)[:5:2], 47, 48]}
        rows.append(row_of({label: resize_nearest(cell, 160) for label, cell in cells.items()}))
    return np.concatenate(rows)


def arms(pipe: TwoStagePipeline) -> np.ndarray:
    """A hand that belongs to no arm, before and after: the skeletons, and what is made of them."""
    pose = read_example("palm")
    people = pose.people.copy()
    people[0, [7, 8, 9, 10]] = (np.nan, np.nan, 0)
    bare = replace(pose, people=people)
    made = [picture_of(pipe, bare, SampleOptions(add_arms=on)) for on in (False, True)]
    skeletons = [resize(draw_pose(one), (_SHOWN, _SHOWN)) for one in (bare, with_arms(bare)[0])]
    return row_of(
        {
            "as given": skeletons[0],
            "add_arms=false": resize_nearest(made[0], _SHOWN),
            "with the arm added": skeletons[1],
            "add_arms=true": resize_nearest(made[1], _SHOWN),
        }
    )


def enlargement(pipe: TwoStagePipeline, options: SampleOptions) -> np.ndarray:
    """A small hand: what the networks see of it in the whole picture, and in its window."""
    pose = read_example("wave").moved(scale=0.6, shift=(170.0, 250.0), width=512, height=768)
    output = pipe("x", pose, seed=1, options=options)
    window = small_windows(output.hands[0], 0, (768, 512), _SIZE)[0]
    plain = np.ascontiguousarray(output.canvas[0][window.slices])
    return row_of(
        {
            "in the canvas": resize_nearest(plain, _SHOWN),
            "what --zoom-hands sees": resize(enlarged_canvas(window, _SIZE).picture, (_SHOWN, _SHOWN)),
        }
    )


def zoomed(pipe: TwoStagePipeline) -> np.ndarray:
    """A small hand's surroundings in the finished picture, without and with the option."""
    pose = read_example("palm")
    far = pose.moved(scale=0.6, shift=(0.2 * pose.width, 0.4 * pose.height), width=pose.width, height=pose.height)
    size = pipe.config.size_px
    hands = pipe(PROMPT, far, seed=1, options=SampleOptions(num_inference_steps=1)).hands[0]
    window = small_windows(hands, 0, (size, size), size, cell_px=pipe.cell_px)[0].slices
    made = [picture_of(pipe, far, SampleOptions(zoom_hands=on))[window] for on in (False, True)]
    labels = ("made without it", "made with it")
    return row_of({label: resize_nearest(one, _SHOWN) for label, one in zip(labels, made, strict=True)})


def picture_of(pipe: TwoStagePipeline, pose: Pose, options: SampleOptions) -> np.ndarray:
    """What is made of a pose."""
    return np.asarray(pipe(PROMPT, pose, seed=1, options=options).images[0])


def handed_on(pipe: TwoStagePipeline) -> np.ndarray:
    """The hand's surroundings before the paste, with its latents encoded anew and handed on."""
    given = SampleOptions(height=256, width=256)
    outputs = [
        pipe(PROMPT, read_example("palm"), seed=1, options=replace(given, latent_handover=on)) for on in (False, True)
    ]
    hand = outputs[1].hands[0][0]
    left, top, side, _ = hand.crop.box_xywh
    window = slice(top, top + side), slice(left, left + side)
    mask = hand.mask[..., None]
    errors = [
        float(np.abs(output.decoded[0][window].astype(float) - hand.picture)[hand.mask].mean()) for output in outputs
    ]
    return row_of(
        {
            "the generated hand": resize_nearest(np.where(mask, hand.picture, 128).astype(np.uint8), 256),
            f"encoded again: off by {errors[0]:.1f}": resize_nearest(outputs[0].decoded[0][window], 256),
            f"handed on: off by {errors[1]:.1f}": resize_nearest(outputs[1].decoded[0][window], 256),
        }
    )


def resize_nearest(picture: np.ndarray, height: int) -> np.ndarray:
    """Enlarged with its pixels' edges."""
    width = round(picture.shape[1] * height / picture.shape[0])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))


def row_of(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side, each under its label."""
    font = ImageFont.load_default(size=15)
    columns = []
    for label, picture in pictures.items():
        height, width = picture.shape[:2]
        column = Image.new("RGB", (width + 12, height + _LABEL_PX + 8), (255, 255, 255))
        ImageDraw.Draw(column).text((0, 6), label, (32, 33, 36), font)
        column.paste(Image.fromarray(picture), (0, _LABEL_PX))
        columns.append(np.asarray(column))
    return np.concatenate(columns, axis=1)


def save(path: Path, picture: np.ndarray) -> None:
    """In the form that the name says."""
    whole = np.ascontiguousarray(picture)
    path.write_bytes(encode_jpeg(whole, quality=85) if path.suffix == ".jpg" else encode_png(whole))


if __name__ == "__main__":
    main()
