"""What weaver-core reads from a file of JetClass."""

import numpy as np
import pytest
import yaml

from jetloom.data.sources.jetclass import LABELS

# How the data configuration of ParT defines its variables, in the expressions of weaver-core.
VARIABLES = {
    "part_mask": "ak.ones_like(part_energy)",
    "part_pt": "np.hypot(part_px, part_py)",
    "part_pt_log": "np.log(part_pt)",
    "part_e_log": "np.log(part_energy)",
    "part_logptrel": "np.log(part_pt/jet_pt)",
    "part_logerel": "np.log(part_energy/jet_energy)",
    "part_deltaR": "np.hypot(part_deta, part_dphi)",
    "part_d0": "np.tanh(part_d0val)",
    "part_dz": "np.tanh(part_dzval)",
}
STANDARDISED = {
    "part_pt_log": [1.7, 0.7],
    "part_e_log": [2.0, 0.7],
    "part_logptrel": [-4.7, 0.7],
    "part_logerel": [-4.7, 0.7],
    "part_deltaR": [0.2, 4.0],
    "part_d0err": [0, 1, 0, 1],
    "part_dzerr": [0, 1, 0, 1],
}
ORDER = {
    "full": "part_pt_log part_e_log part_logptrel part_logerel part_deltaR part_charge part_isChargedHadron "
    "part_isNeutralHadron part_isPhoton part_isElectron part_isMuon part_d0 part_d0err part_dz part_dzerr part_deta "
    "part_dphi",
    "kinpid": "part_pt_log part_e_log part_logptrel part_logerel part_deltaR part_charge part_isChargedHadron "
    "part_isNeutralHadron part_isPhoton part_isElectron part_isMuon part_deta part_dphi",
    "kin": "part_pt_log part_e_log part_logptrel part_logerel part_deltaR part_deta part_dphi",
}


def weaver_inputs(path, feature_set, directory):
    """Features (n, 128, F), four-vectors (n, 128, 4) and mask (n, 128) that weaver-core reads from the file."""
    dataset = pytest.importorskip("weaver.utils.dataset")
    config = {
        "treename": "tree",
        "new_variables": VARIABLES,
        "preprocess": {"method": "manual"},
        "inputs": {
            "features": {
                "length": 128,
                "vars": [[name, *STANDARDISED.get(name, [None])] for name in ORDER[feature_set].split()],
            },
            "vectors": {"length": 128, "vars": [[f"part_{name}", None] for name in ("px", "py", "pz", "energy")]},
            "mask": {"length": 128, "vars": [["part_mask", None]]},
        },
        "labels": {"type": "simple", "value": [f"label_{name}" for name in LABELS]},
    }
    file = directory / "weaver.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    read = dataset.SimpleIterDataset({"_": [str(path)]}, str(file), for_training=False, fetch_step=1, async_load=False)
    jets = [(inputs, label["_label_"]) for inputs, label, _ in read]
    stacked = [np.stack([np.asarray(jet[key]) for jet, _ in jets]).swapaxes(1, 2) for key in ("features", "vectors")]
    mask = np.stack([np.asarray(jet["mask"])[0] for jet, _ in jets]) > 0
    return *stacked, mask, np.array([int(label) for _, label in jets])
