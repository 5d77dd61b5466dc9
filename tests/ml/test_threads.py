"""Threads that wait give their core away, unless somebody decided otherwise; a run has the number that it is given."""

import os
import subprocess
import sys

import pytest


def test_who_set_another_policy_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.threads import share_cores

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("module", ["jobs.worker", "ml.__main__"])
def test_what_trains_decides_it_before_torch_is_imported(module: str) -> None:
    code = (
        f"import os, sys; import {module}; assert 'torch' not in sys.modules\n"
        f"from ml import threads; import {module} as module\n"
        "assert module.share_cores is threads.share_cores"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_number_of_threads_holds_for_the_block_also_above_that_of_the_cores_and_where_it_fails() -> None:
    import torch

    from ml.threads import counted

    own = torch.get_num_threads()
    with counted(own + 3):
        assert torch.get_num_threads() == own + 3
        with counted(0):
            assert torch.get_num_threads() == own + 3
    with pytest.raises(KeyError), counted(own + 1):
        raise KeyError
    assert torch.get_num_threads() == own
