"""torch.compile gives the same logits."""

import pytest
import torch

from tests.models.rows import JETS, close, make, sample

# Making machine code takes 5 to 15 s each: all rows are traced and rewritten, these go on to the end.
COMPILED = ["linformer", "parmat", "part", "particlenet", "salt"]


def check(row: tuple[str, str], backend: str) -> None:
    torch._dynamo.reset()
    model, kind = make(*row), row[1]
    compiled = torch.compile(model, backend=backend)
    for seed in (0, 5):
        batch = sample(kind, 4 + seed, seed)
        close(compiled(batch), model(batch))


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in JETS if name not in COMPILED])
def test_rewritten(name):
    check((name, "jets"), "aot_eager")


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_machine_code(name):
    check((name, "jets"), "inductor")
