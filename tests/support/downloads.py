"""Data sets to download, and how impatient the tests are."""

import hashlib

import numpy as np

from jetloom.config import Dataset
from jetloom.data.fetch.transfer import Patience

QUICK = Patience(attempts=3, pause=0.01, silence=2.0)
CONTENT = np.random.default_rng(1).bytes(300_000)


def md5(data):
    return hashlib.md5(data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def dataset(*files, raw=None, mirrors=()):
    """A data set of plain files, or of the raw files that archives hold."""
    names = raw or [file["name"] for file in files]
    return Dataset(
        title="Test set",
        kind="jets",
        source="none",
        licence="none",
        citation="none",
        classes=["a", "b"],
        feature_set="kin",
        splits={"train": names},
        files=list(files),
        mirrors=list(mirrors),
    )


def visible(directory):
    """Files that a workflow would see."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
