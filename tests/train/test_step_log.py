"""The log of a run whose steps are read one behind the device, as on a GPU."""

from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from stand_in import Silent

from h2d.train.run_log import read_log
from h2d.train.step_log import Measured, StepLog


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_found_at_a_step_is_logged_with_it(tmp_path, device):
    """At step 2 there is no checkpoint, so that a GPU's numbers are read after step 3 alone."""
    accelerator = Mock(spec=Accelerator, is_main_process=True, reduce=lambda values, _how: values)
    log = StepLog(tmp_path, accelerator, Silent(), steps=4, global_batch=1)
    for step in range(1, 5):
        accelerator.device = torch.device("cpu")  # numbers are taken in without a GPU
        log.add(step, Measured(values={"loss": torch.tensor(float(step))}, samples=[]))
        accelerator.device = torch.device(device)
        log.settle({"validation": step / 10} if step % 2 == 0 else {}, all_steps=step == 4)
        assert len(read_log(tmp_path)) == (step if device == "cpu" or step == 4 else step - 1)
    records = read_log(tmp_path)
    assert [record["loss"] for record in records] == [1, 2, 3, 4]
    assert {record["step"]: record["validation"] for record in records if "validation" in record} == {2: 0.2, 4: 0.4}
