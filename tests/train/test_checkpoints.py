"""What a checkpoint holds of an optimizer, whatever shape its state has."""

import sys
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from stand_in import Silent, losses, stand_in_config

from h2d.train.loop import train

NESTED = "__quantised__"


class NestingAdam(torch.optim.AdamW):
    """Gives its averages as bitsandbytes' 8-bit Adam does: nested, beside a table that all parameters share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = torch.linspace(-1, 1, 256)

    def state_dict(self) -> dict[str, Any]:
        whole = super().state_dict()
        averages = ("exp_avg", "exp_avg_sq")
        whole["state"] = {
            number: {
                **{key: value for key, value in values.items() if key not in averages},
                "name": "8 bits",
                NESTED: {**{key: values[key] for key in averages}, "table": self.table},
            }
            for number, values in whole["state"].items()
        }
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for values in state_dict["state"].values():
            assert values.pop("name") == "8 bits"
            values.update(values.pop(NESTED))
            assert torch.equal(values.pop("table"), self.table)
        super().load_state_dict(state_dict)


def test_a_nested_optimizer_state_is_saved_and_gone_on_with_to_the_bit(small_manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=SimpleNamespace(AdamW8bit=NestingAdam)))
    own = {"optimizer": {"name": "adamw8bit", "learning_rate": 1e-2, "warmup_steps": 5}}
    for name, stops in {"whole": [10], "twice": [5, 10]}.items():
        for steps in stops:
            train(stand_in_config(small_manifest, tmp_path / name, steps=steps, **own), Silent())
    assert losses(tmp_path / "twice") == losses(tmp_path / "whole")
    saved = load_file(tmp_path / "whole/checkpoints/step-0000010/optimizer.safetensors")
    assert {f"{number}.{NESTED}.exp_avg" for number in (0, 1)} <= saved.keys()
