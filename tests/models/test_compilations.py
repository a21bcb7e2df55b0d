"""Length buckets are static shapes: torch.compile records one whole graph for each and none afterwards."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import cross_entropy

from jetloom.models import build
from tests.models.jets import random_jets

BUCKETS = (8, 12, 16)


@pytest.mark.seconds
@pytest.mark.parametrize("name", ["part", "particlenet"])
def test_one_graph_for_each_bucket(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = build(name, n_features=17, n_classes=10, preset="tiny").train()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=False, fullgraph=True)
    # Jets of other lengths each time: how full a bucket is must not show in the graph.
    for seed in range(3):
        for width in BUCKETS:
            batch = random_jets(4, width, shortest=1 + seed, seed=seed)
            cross_entropy(compiled(batch), batch.label).backward()
    assert counter.frame_count == len(BUCKETS)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch._dynamo.reset()
