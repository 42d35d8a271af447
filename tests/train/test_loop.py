import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stand_in
import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from manifest_builder import build_manifest
from safetensors.torch import load_file
from stand_in import Silent, losses, stand_in_config

from h2d.errors import JobError, UserError
from h2d.manifests.store import Manifest
from h2d.models.diffusion import mask_loss
from h2d.train.checkpoints import newest
from h2d.train.loop import train
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.plan import plan
from h2d.train.rows import Group, Rows, divide
from h2d.train.run_log import cut_log, read_log
from h2d.train.setting_up import place
from h2d.train.step_log import Measured, StepLog

STAGES = {
    "stand-in": {},
    "hand": {
        "stage": "hand",
        "options": {
            "base": "tiny", "mask_channels": [8, 8, 8], "mask_drop": 0.5, "caption_dropout": 0.5, "flip": 0.5,
        },
    },
}  # fmt: skip
"""A stage of a few weights, and a real one whose samples differ by all that is drawn for them."""


RARELY = {"checkpoint_every": 25, "validate_every": 10, "preview_every": 0, "num_validated": 2}


@pytest.fixture(autouse=True)
def tiny_base(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path_factory.getbasetemp() / "tiny_models"))


def start(manifest: Path, out: Path, **changes: Any) -> subprocess.Popen:
    script = Path(stand_in.__file__)
    return subprocess.Popen([sys.executable, str(script), str(manifest), str(out), json.dumps(changes)])


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "steps"), [("stand-in", 60), ("hand", 28)])
def test_killed_and_resumed_gives_the_same_losses(small_manifest, tmp_path, stage, steps):
    assert start(small_manifest, tmp_path / "whole", steps=steps, **STAGES[stage]).wait() == 0
    victim = start(small_manifest, tmp_path / "killed", steps=steps, **STAGES[stage])
    while len(losses(tmp_path / "killed") if (tmp_path / "killed/log.jsonl").exists() else ()) < 8:
        assert victim.poll() is None, "finished before it could be killed"
        time.sleep(0.002)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    reached = newest(tmp_path / "killed")
    assert reached is not None
    assert int(reached.name.split("-")[1]) <= steps - 20
    assert start(small_manifest, tmp_path / "killed", steps=steps, **STAGES[stage]).wait() == 0
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_killed_while_saving_goes_on_from_the_checkpoint_before(small_manifest, tmp_path, monkeypatch):
    out = tmp_path / "killed"
    monkeypatch.setenv("STAND_IN_HANGS_AT", "10")
    victim = start(small_manifest, out, steps=12)
    while not (out / "checkpoints/.tmp-step-0000010/model/net.safetensors").exists():
        assert victim.poll() is None, "finished before it could be killed"
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert newest(out) == out / "checkpoints/step-0000005"
    monkeypatch.delenv("STAND_IN_HANGS_AT")
    train(stand_in_config(small_manifest, out, steps=12), Silent())
    train(stand_in_config(small_manifest, tmp_path / "whole", steps=12), Silent())
    assert losses(out) == losses(tmp_path / "whole")
    assert not list((out / "checkpoints").glob(".tmp*"))


@pytest.mark.parametrize("harm", ["cut", "state", "missing"])
def test_a_damaged_checkpoint_is_passed_over_and_the_good_one_is_kept(small_manifest, tmp_path, caplog, harm):
    output = {"checkpoint_every": 5, "validate_every": 0, "preview_every": 0, "keep_checkpoints": 2}
    train(stand_in_config(small_manifest, tmp_path, steps=10, output=output), Silent())
    last = tmp_path / "checkpoints/step-0000010"
    if harm == "cut":
        with (last / "optimizer.safetensors").open("r+b") as file:
            file.truncate(200)
    elif harm == "state":
        (last / "state.json").write_text("{")
    else:
        (last / "weights.safetensors").unlink()
    assert newest(tmp_path) == tmp_path / "checkpoints/step-0000005"
    assert "step-0000010" in caplog.text
    output["keep_checkpoints"] = 1
    train(stand_in_config(small_manifest, tmp_path, steps=7, output=output), Silent())
    assert newest(tmp_path) == tmp_path / "checkpoints/step-0000007", "not deleted for a damaged later one"


def test_where_no_checkpoint_is_whole_the_remedy_is_said(small_manifest, tmp_path):
    (tmp_path / "checkpoints/step-0000005").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no checkpoint is whole .*: start anew with --fresh or another --out"):
        train(stand_in_config(small_manifest, tmp_path), Silent())


def test_a_file_where_the_run_would_be_is_one_line_and_stays(small_manifest, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UserError, match="run: it is a file: give another --out"):
        train(stand_in_config(small_manifest, tmp_path / "run"), Silent(), fresh=True)
    assert (tmp_path / "run").read_text() == "mine"


def test_fresh_deletes_the_old_run_only_when_all_is_ready_for_the_first_step(small_manifest, tmp_path, monkeypatch):
    outcome = train(stand_in_config(small_manifest, tmp_path, steps=3), Silent())
    with monkeypatch.context() as patched:
        patched.setattr(stand_in.StandIn, "build", Mock(side_effect=UserError("cannot be built")))
        with pytest.raises(UserError, match="cannot be built"):
            train(stand_in_config(small_manifest, tmp_path, steps=2), Silent(), fresh=True)
    assert newest(tmp_path) == outcome.model.parent
    assert len(losses(tmp_path)) == 3
    train(stand_in_config(small_manifest, tmp_path, steps=2), Silent(), fresh=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000002"]
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_training_of_a_run_is_refused_and_disturbs_nothing(small_manifest, tmp_path, fresh):
    config = stand_in_config(small_manifest, tmp_path, steps=3)
    train(config, Silent(), fresh=True)

    class Nested(Silent):
        def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
            with pytest.raises(UserError, match=f"another h2d train is at work here .*process {os.getpid()}"):
                train(config, Silent(), fresh=True)

    train(config, Nested(), fresh=True)
    train(replace(config, steps=5), Nested(), fresh=fresh)
    assert len(losses(tmp_path)) == 5


def test_what_was_planned_before_another_went_on_is_refused(small_manifest, tmp_path, monkeypatch):
    config = stand_in_config(small_manifest, tmp_path, steps=3)
    train(config, Silent())
    longer = replace(config, steps=5)
    planned = plan(longer)
    train(longer, Silent())
    monkeypatch.setattr("h2d.train.loop.plan", lambda *_arguments, **_options: planned)
    with pytest.raises(UserError, match="another h2d train went on here meanwhile: the same command goes on"):
        train(longer, Silent())
    assert len(losses(tmp_path)) == 5


@pytest.mark.parametrize("stage", STAGES)
def test_resumed_gives_the_same_losses(small_manifest, tmp_path, stage):
    for name, stops in {"whole": [25], "twice": [5, 25]}.items():
        for steps in stops:
            train(
                stand_in_config(small_manifest, tmp_path / name, steps=steps, output=RARELY, **STAGES[stage]), Silent()
            )
    assert len(losses(tmp_path / "whole")) == 25
    assert losses(tmp_path / "twice") == losses(tmp_path / "whole")


@pytest.mark.parametrize("speed", [{"micro_batch": 2, "loader_workers": 0}, {"loader_workers": 2}])
@pytest.mark.slow
def test_accumulation_and_loader_processes_change_nothing(small_manifest, tmp_path, speed):
    train(stand_in_config(small_manifest, tmp_path / "plain", steps=6), Silent())
    train(stand_in_config(small_manifest, tmp_path / "other", steps=6, speed=speed), Silent())
    for step, loss in losses(tmp_path / "plain").items():
        assert losses(tmp_path / "other")[step] == pytest.approx(loss, rel=1e-6)


@pytest.mark.slow
def test_it_learns_and_leaves_what_it_promises(small_manifest, tmp_path):
    outcome = train(stand_in_config(small_manifest, tmp_path / "run", steps=60), Silent())
    by_step = losses(tmp_path / "run")
    assert sum(list(by_step.values())[-10:]) < 0.9 * sum(list(by_step.values())[:10])
    assert outcome.model == tmp_path / "run/checkpoints/step-0000060/model"
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"step-0000055", "step-0000060"}
    assert json.loads((outcome.model / "facts.json").read_text())["step"] == 60
    average = load_file(outcome.model / "net.safetensors")
    raw = load_file(outcome.model.parent / "weights.safetensors")
    assert not torch.equal(average["net.weight"], raw["net.weight"])
    again = train(stand_in_config(small_manifest, tmp_path / "run", steps=60), Silent())
    assert again.did_nothing


def test_a_checkpoint_may_be_read_by_whom_new_files_may_be_read(small_manifest, tmp_path):
    (tmp_path / "new").touch()
    train(stand_in_config(small_manifest, tmp_path / "run", steps=1), Silent())
    written = [*(tmp_path / "run/checkpoints").rglob("*.safetensors")]
    assert len(written) > 3
    assert {path.stat().st_mode for path in written} == {(tmp_path / "new").stat().st_mode}


def test_non_finite_loss_names_step_part_and_sample(small_manifest, tmp_path):
    poisoned = Manifest(small_manifest).table("hands", ["id"], "train")["id"][0].as_py()
    with pytest.raises(JobError, match=rf"step \d+: loss, noise.* not finite; samples: {poisoned}:"):
        train(stand_in_config(small_manifest, tmp_path, options={"poison": poisoned}), Silent())


def test_where_a_part_of_the_loss_is_not_finite_its_sample_is_named(small_manifest, tmp_path, monkeypatch):
    def spoilt(predicted, mask):
        losses = mask_loss(predicted, mask)
        losses[-1] = float("nan")
        return losses

    monkeypatch.setattr("h2d.train.hand.mask_loss", spoilt)
    quiet = {"validate_every": 0, "preview_every": 0}
    asked = {"stage": "hand", "steps": 1, "options": {"base": "tiny", "mask_channels": [8, 8, 8]}, "output": quiet}
    with pytest.raises(JobError, match=r"step 1: loss, mask.* not finite; samples: [^,]+: the last"):
        train(stand_in_config(small_manifest, tmp_path, **asked), Silent())


def test_each_process_names_the_samples_that_are_not_finite_elsewhere(tmp_path, monkeypatch):
    elsewhere = [("bad", float("nan")), ("good", 0.5)]
    monkeypatch.setattr("h2d.train.step_log.gather_object", lambda ours: [*ours, *elsewhere])
    log = StepLog(tmp_path, Accelerator(cpu=True), Silent(), steps=1, global_batch=4)
    samples = [(("innocent", "too"), torch.tensor([1.0, 2.0]))]
    log.add(1, Measured(values={"loss": torch.tensor(float("nan"))}, samples=samples))
    with pytest.raises(JobError, match=r"step 1: loss not finite; samples: bad: "):
        log.settle({}, all_steps=True)


def test_the_log_is_cut_whole_or_not_at_all(tmp_path, monkeypatch):
    lines = "".join(f'{{"step": {step}}}\n' for step in (1, 2, 3))
    (tmp_path / "log.jsonl").write_text(lines)
    with monkeypatch.context() as patched:
        patched.setattr("h2d.manifests.files.os.fsync", Mock(side_effect=OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            cut_log(tmp_path, 2)
    assert (tmp_path / "log.jsonl").read_text() == lines
    cut_log(tmp_path, 2)
    assert [record["step"] for record in read_log(tmp_path)] == [1, 2]


@pytest.mark.parametrize("speed", [{"loader_workers": 0}, {"loader_workers": 1}])
def test_a_row_that_cannot_be_decoded_stops_the_run_in_one_line(small_manifest, tmp_path, speed):
    shutil.copytree(small_manifest, tmp_path / "rows")
    (part, *_) = sorted((tmp_path / "rows/hands/train").glob("*.parquet"))
    table = pq.read_table(part)
    rows = table.to_pylist()
    for row in rows:
        row["image"]["bytes"] = b"no jpeg"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), part)
    with pytest.raises(JobError) as told:
        train(stand_in_config(tmp_path / "rows", tmp_path / "run", speed=speed), Silent())
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(f"{part}: row {rows[0]['id'].split('/')[0]}/")
    assert "DecodeError: not a picture that can be decoded: the last checkpoint is whole" in str(told.value)


def test_other_steps_are_refused_where_the_rate_falls_towards_the_last(small_manifest, tmp_path):
    optimizer = {"learning_rate": 1e-2, "warmup_steps": 1, "decay": "cosine"}
    train(stand_in_config(small_manifest, tmp_path, steps=2, optimizer=optimizer), Silent())
    with pytest.raises(UserError, match=r"falls to zero at step 2 \(optimizer\.decay = cosine\), now steps = 3"):
        train(stand_in_config(small_manifest, tmp_path, steps=3, optimizer=optimizer), Silent())


def test_another_seed_is_refused_on_resume(small_manifest, tmp_path):
    train(stand_in_config(small_manifest, tmp_path, steps=3), Silent())
    with pytest.raises(UserError, match=r"seed was 0 and is 1: use the old values, another --out, or --fresh"):
        train(stand_in_config(small_manifest, tmp_path, steps=6, seed=1), Silent())


def test_only_what_differs_of_a_section_is_named_on_resume(small_manifest, tmp_path):
    optimizer = {"learning_rate": 1e-2, "warmup_steps": 1}
    train(stand_in_config(small_manifest, tmp_path, steps=1, optimizer=optimizer), Silent())
    with pytest.raises(UserError, match=r": optimizer\.learning_rate was 0\.01 and is 1e-05: use the old values"):
        train(
            stand_in_config(small_manifest, tmp_path, steps=2, optimizer={**optimizer, "learning_rate": 1e-5}), Silent()
        )


def test_rows_prepared_anew_are_refused_on_resume(small_manifest, tmp_path):
    shutil.copytree(small_manifest, tmp_path / "rows")
    train(stand_in_config(tmp_path / "rows", tmp_path / "run", steps=3), Silent())
    facts = json.loads((tmp_path / "run/checkpoints/step-0000003/model/facts.json").read_text())
    assert list(facts["manifests"]) == [str(tmp_path / "rows")]
    about = tmp_path / "rows/manifest.json"
    about.write_text(about.read_text().replace("2024-05-01", "2024-05-02"))
    with pytest.raises(UserError, match=r"rows was prepared anew since: use another --out, or --fresh"):
        train(stand_in_config(tmp_path / "rows", tmp_path / "run", steps=6), Silent())


def test_every_epoch_gives_every_row_once_and_none_that_is_held_out(small_manifest):
    stage = stand_in.StandIn(stand_in.StandInOptions(), size_px=64)
    parts = divide([Manifest(small_manifest)], stage, seed=0, held_out_share=0.3, window_groups=2)
    epochs = [
        [parts.training.row(n + e * len(parts.training))["id"] for n in range(len(parts.training))] for e in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert len(set(epochs[0])) == len(epochs[0])
    assert epochs[0] != epochs[1]
    held_out = {parts.validation.row_in_order(n)["id"] for n in range(len(parts.validation))}
    assert held_out
    assert not held_out & set(epochs[0])


def test_without_a_validation_split_whole_subjects_are_held_out(tmp_path):
    manifest = Manifest(build_manifest(tmp_path, num_pictures=16, splits=("train",)))
    table = manifest.table("hands", ["id", "subject"], "train")
    subject_of = dict(zip(table["id"].to_pylist(), table["subject"].to_pylist(), strict=True))
    stage = stand_in.StandIn(stand_in.StandInOptions(), size_px=64)
    found = set()
    for seed in (0, 2, 4):
        parts = divide([manifest], stage, seed=seed, held_out_share=0.3, window_groups=2)
        held_out, learnt = (
            {subject_of[rows.row_in_order(number)["id"]] for number in range(len(rows))}
            for rows in (parts.validation, parts.training)
        )
        assert not held_out & learnt
        assert held_out | learnt == set(subject_of.values())
        found.add(frozenset(held_out))
    assert len(found) == 3, "drawn by the seed"
    with pytest.raises(UserError, match=r"every subject of split train is held out: .*data\.held_out_share \(0\.9"):
        divide([manifest], stage, seed=0, held_out_share=0.9999, window_groups=2)


def test_who_changes_a_row_does_not_change_it_for_the_next_time(small_manifest):
    groups = [
        Group(path=place.path, number=place.group, rows=tuple(range(len(rows))))
        for place, rows in Manifest(small_manifest).row_groups("hands", ["id"], "train")
    ]
    rows = Rows(groups, ("keypoints_left", "crop_box_xywh"), seed=0, window_groups=2)
    first = {name: value.copy() for name, value in rows.row(0).items()}
    for value in rows.row(0).values():
        value[:] = -1
    for name, value in first.items():
        np.testing.assert_array_equal(rows.row(0)[name], value)


def test_gradient_checkpointing_reaches_every_network_that_gradients_pass(tmp_path):
    stage = OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny"), size_px=64)
    networks = stage.build(seed=0)
    config = stand_in_config(tmp_path, tmp_path, speed={"gradient_checkpointing": True})
    place(networks, config, Accelerator(cpu=True))
    assert networks.trained["outpainter"].controlnet.is_gradient_checkpointing
    assert networks.frozen["unet"].is_gradient_checkpointing


def test_a_column_that_is_missing_is_found_before_the_first_step(small_manifest, tmp_path):
    shutil.copytree(small_manifest, tmp_path / "rows")
    part = tmp_path / "rows/hands/train/part-00000.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["image"]), part)
    with pytest.raises(UserError, match=r"part-00000\.parquet: column image is missing: hands are trained with it"):
        train(stand_in_config(tmp_path / "rows", tmp_path / "run"), Silent())
    assert not (tmp_path / "run").exists()


def test_a_light_column_that_is_missing_is_said_as_others_are(small_manifest, tmp_path):
    shutil.copytree(small_manifest, tmp_path / "rows")
    for part in (tmp_path / "rows/hands").rglob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["subject"]), part)
    with pytest.raises(UserError, match=r"part-00000\.parquet: column subject is missing: hands are trained with it"):
        train(stand_in_config(tmp_path / "rows", tmp_path / "run"), Silent())


def test_a_row_in_memory_does_not_ask_for_its_window(small_manifest, monkeypatch):
    stage = stand_in.StandIn(stand_in.StandInOptions(), size_px=64)
    parts = divide([Manifest(small_manifest)], stage, seed=0, held_out_share=0, window_groups=2)
    first = parts.training.row(0)["id"]
    monkeypatch.setattr(Rows, "_window_of", Mock(side_effect=AssertionError))
    assert parts.training.row(0)["id"] == first


@pytest.mark.parametrize(("precision", "processor"), [("bf16", AttnProcessor), ("no", AttnProcessor2_0)])
def test_attention_is_written_out_on_a_cpu_in_bfloat16_alone(tmp_path, precision, processor):
    networks = OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny"), size_px=64).build(seed=0)
    cpu = Mock(spec=Accelerator, device=torch.device("cpu"), mixed_precision=precision)
    place(networks, stand_in_config(tmp_path, tmp_path), cpu)
    for network in (networks.frozen["unet"], networks.trained["outpainter"].controlnet):
        assert {type(used) for used in network.attn_processors.values()} == {processor}
