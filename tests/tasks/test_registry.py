"""A task that comes back from a checkpoint."""

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.training.checkpoint import task_of

RECORD = {"name": "regression", "settings": {"target": "jet_mass", "relative_to": "jet_pt"}, "weight": 1.0}
SAVED = {"tasks": [RECORD], "manifest": {"classes": ["a", "b"], "observers": ["jet_pt", "jet_mass"]}}


def test_a_target_is_found_by_name_in_data_of_another_order():
    jet = {"jet_pt": 500.0, "jet_mass": 50.0, "jet_eta": 1.0}
    for names in (["jet_pt", "jet_mass"], ["jet_eta", "jet_mass", "jet_pt"]):
        truth = task_of(SAVED, names).truth(torch.tensor([[jet[name] for name in names]]))
        assert truth.item() == pytest.approx(0.1)


def test_data_without_the_target_are_refused():
    with pytest.raises(JetloomError, match="the data have no column 'jet_mass'; allowed: jet_pt"):
        task_of(SAVED, ["jet_pt"])
