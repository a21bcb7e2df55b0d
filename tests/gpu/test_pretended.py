"""Networks, trainings and evaluations on a GPU that is pretended: devices, waits of the host, precision.

What runs is in ``rows.py``, ``trainings.py``, ``graphs.py`` and ``evaluation.py``, in a process of its own.
"""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetloom.catalogue import cards
from tests.support.look import seen
from tests.support.project import ROOT

pytestmark = pytest.mark.timeout(1800)
"""The first test waits for all that is looked at, a minute of one core."""
ROWS = [f"{name} {kind}" for name in cards.names("models") for kind in cards.model_card(name).inputs]
TASKS = [
    "classification", "classification, clipped", "regression", "combined", "tokenisation", "tokenisation by clusters",
    "next_token", "masked_token", "contrastive",
]  # fmt: skip
RANDOM = {"reformer"}
"""Rows whose training draws random numbers, which a GPU draws otherwise."""
WRONG = 0.1
"""Of a gradient in half precision, relative to that in single precision."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What :mod:`tests.gpu.look` has seen."""
    return seen("tests.gpu.look", tmp_path_factory.mktemp("pretended_gpu"), OMP_NUM_THREADS="1")


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_a_row_runs_on_one_device_and_the_host_never_waits(found, row) -> None:
    result = found["rows"][row]
    assert "error" not in result, result.get("error")
    for step in result.values():
        assert step["waits"] == []


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_and_learns_what_it_does_on_a_cpu(found, row) -> None:
    result = found["rows"][row]
    assert result["prediction"]["answer"] < 1e-5
    for precision in ("32", "bf16", "16"):
        assert math.isfinite(result[precision]["gradient"]) and not result[precision]["without"]
    if row.split()[0] not in RANDOM:
        assert result["32"]["answer"] < 1e-5 and result["32"]["gradient"] < 1e-4
        assert result["16"]["gradient"] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row.split()[0] not in RANDOM])
def test_presets_ask_for_a_precision_in_which_the_gradient_is_right(found, row) -> None:
    name, _ = row.split()
    if found["rows"][row]["bf16"]["gradient"] > WRONG:
        recipes = [preset.training for preset in cards.model_card(name).presets.values()]
        assert all(recipe.get("precision") == "32" for recipe in recipes)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["part jets", "parmat jets", "pfn jets", "transformer jets"])
def test_packing_takes_each_gradient_from_one_place(found, row) -> None:
    """No sorted sums of gradients but those of embeddings and of the few numbers of a position bias."""
    sums = found["rows"][row]["bf16"]["sorted"]
    assert len(sums) == (1 if row.startswith("parmat") else 0), sums


@pytest.mark.slow
@pytest.mark.parametrize("row", ["part jets", "parmat jets", "transformer jets", "omnijet tokens"])
def test_fused_attention_takes_what_it_gets(found, row) -> None:
    assert found["rows"][row]["bf16"]["unfused"] == []


@pytest.mark.slow
@pytest.mark.parametrize("row", ["part jets", "parmat jets", "mipart jets", "transformer jets", "perceiver jets"])
def test_nothing_is_cast_in_a_block(found, row) -> None:
    """No weight, no normalisation, no stream of particles."""
    casts = found["rows"][row]["bf16"]["casts"]
    blocks = ("normformer", "feedforward", "self_attention", "layer_norm", "readout")
    assert not [cast for cast in casts if any(file in cast for file in blocks)]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_step_of_a_training_does_not_wait(found, task) -> None:
    result = found["trainings"][task]
    assert result["step"] == []
    assert result["validation"] == []
    # Batches come from page-locked memory.
    assert result["copied"]
    assert all(map(math.isfinite, result["losses"]))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_steps_are_recorded_once_for_each_bucket(found, task) -> None:
    assert found["trainings"][task]["graphs"] == found["recorded"]["buckets"]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "error"), [("32", 1e-5), ("bf16", 2**-8)])
def test_recorded_steps_learn_what_others_do(found, precision, error) -> None:
    """Also clipped, while the encoder is frozen and when it is no more, and as batches become smaller.

    Recorded ones add in another order, which the last bit of bf16 sees.
    """
    off, graphs = found["recorded"][precision]["off"], found["recorded"][precision]["graphs"]
    assert graphs["losses"] == pytest.approx(off["losses"], rel=error)
    assert graphs["step"] == []
    assert graphs["graphs"] == 3 * found["recorded"]["buckets"] and not off["graphs"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_recorded_steps_that_were_ended_go_on(found, precision) -> None:
    """Ended by SIGTERM in mid-epoch, the second try records anew and comes to the same; MLflow's thread reads along."""
    stopped, graphs = found["recorded"][precision]["stopped"], found["recorded"][precision]["graphs"]
    assert (stopped["status"], graphs["status"]) == (143, 0)
    assert stopped["losses"] == pytest.approx(graphs["losses"], rel=1e-5)
    assert stopped["graphs"] >= graphs["graphs"]
    assert stopped["tracked"] == pytest.approx(stopped["losses"][1::2], rel=1e-6)


@pytest.mark.slow
def test_steps_are_played_back_where_that_is_no_slower(found) -> None:
    faster, slower = found["graphs"]["faster"], found["graphs"]["slower"]
    before = found["graphs"]["before"]
    assert faster == {"done": [True] * 12, "ran": before + 1, "graphs": 1, "error": 0.0}
    # The second one of those played back is timed.
    assert slower == {"done": [True] * (before + 2) + [False] * (10 - before), "ran": before + 1, "graphs": 1}


@pytest.mark.slow
def test_a_step_that_waits_is_not_recorded(found) -> None:
    asks, before = found["graphs"]["asks"], found["graphs"]["before"]
    assert asks == {"done": [True] * before + [False] * (12 - before), "ran": before, "graphs": 0}
    assert found["graphs"]["must"] == (
        "training.compile is graphs, but in a step the host waits for the GPU; set it to auto or off"
    )


@pytest.mark.slow
def test_other_threads_may_wait(found) -> None:
    """As the tracker's does, which reads losses."""
    assert found["graphs"]["asks elsewhere"] == found["graphs"]["faster"]


@pytest.mark.slow
def test_a_batch_for_which_there_is_no_room_is_not_played_back(found) -> None:
    assert found["graphs"]["crowded"]


@pytest.mark.slow
def test_other_shapes_and_other_weights_that_learn_are_recorded_anew(found) -> None:
    assert found["graphs"]["of three recordings"] == [3, 3 * 3]


@pytest.mark.slow
def test_single_precision_means_what_it_says(found) -> None:
    assert found["trainings"]["combined"]["tf32"] == [True, True]
    for task in ("tokenisation", "classification"):
        assert found["trainings"][task]["tf32"] == [False, False]
    evaluations = found["evaluation"]
    assert [evaluations[precision]["tf32"] for precision in ("32", "tf32", "bf16", "16")] == [False, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "error"), [("32", 1e-6), ("tf32", 1e-6), ("16", 5e-3), ("bf16", 3e-2)])
def test_evaluation_copies_meanwhile_and_waits_for_the_answers_only(found, precision, error) -> None:
    result = found["evaluation"][precision]
    assert all("copy from GPU to host in jetloom/evaluation/evaluate.py" in wait for wait in result["waits"])
    assert len(result["waits"]) == 1 and result["copied"]
    assert result["error"] < error
    assert (result["error"] > 1e-6) == (precision in ("bf16", "16"))


@pytest.mark.slow
def test_evaluation_in_bf16_says_what_validation_in_bf16_said(found) -> None:
    after = found["trainings"]["classification"]["after"]
    assert after["bf16"] == pytest.approx(after["validation"], rel=1e-5)
    assert after["32"] != pytest.approx(after["validation"], rel=1e-5)
    assert after["types"] == ["torch.float32"]


@pytest.mark.slow
def test_more_groups_than_a_kernel_takes(found) -> None:
    assert found["evaluation"]["many"]["error"] < 1e-6


def pretended(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"from tests.support import pretended_gpu\n{program}"]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("torch.ones(3, device='cuda') + torch.ones(3)", "expected all tensors on cuda:0, got (3,) on the host"),
        ("torch.ones(3, device='cuda').numpy()", "can't convert cuda:0 device type tensor to numpy"),
        ("torch.nn.Linear(2, 3).to('cuda')(torch.ones(1, 2))", "got (1, 2) on the host"),
    ],
)
def test_what_cuda_does_not_forgive_is_an_error(program: str, said: str) -> None:
    assert said in pretended(f"import torch\n{program}").stderr


@pytest.mark.seconds
def test_what_the_host_waits_for_is_written_down() -> None:
    program = """
import torch
x, y = torch.arange(4.0, device="cuda"), torch.ones(4)
def waits(ask):
    with pretended_gpu.recording() as record:
        ask()
    return len(record.of("wait"))
asked = [x.sum().item, x.nonzero, lambda: x[x > 1], lambda: bool(x.any()), x.cpu, lambda: y.to("cuda"),
         lambda: x.new_tensor([1.0, 2.0]), lambda: x[torch.tensor([0, 1])], lambda: x.long().bincount(),
         lambda: x.repeat_interleave(x.long())]
assert [waits(ask) for ask in asked] == [1] * len(asked), [waits(ask) for ask in asked]
free = [lambda: x + 1, lambda: x.masked_fill(x > 1, 0.0), lambda: x.sort(), lambda: x[x.long()], lambda: x[1:],
        lambda: y.pin_memory().to("cuda", non_blocking=True), lambda: x.new_full((), 2.0)]
assert [waits(ask) for ask in free] == [0] * len(free), [waits(ask) for ask in free]
"""
    done = pretended(program)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path) -> None:
    done = pretended("", XDG_CACHE_HOME=str(tmp_path), PATH="", CXX="")
    assert "need a C++ compiler: install g++" in done.stderr


@pytest.mark.slow
def test_no_task_is_forgotten(found: dict[str, Any]) -> None:
    """Each task of the catalogue is trained on the pretended GPU."""
    names = {name.split()[0].rstrip(",") for name in found["trainings"]}
    assert names >= set(cards.names("tasks"))
