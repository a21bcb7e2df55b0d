"""Which files a row of the registry is made of: an edit of one paper trains that paper's rows again, and no others."""

from pathlib import Path

import pytest

from jetloom import models
from jetloom.catalogue import cards
from jetloom.catalogue.cards import model_card
from jetloom.identity import code

SHARED = {"jetloom.models.network", "jetloom.models.small_tagger", "jetloom.models.tokenizer"}
"""Files beside those of the papers: the frame of all, of the three networks of the SAL-T paper, and of tokenizers."""
NO_PART = {"jetloom.models.registry", "jetloom.models.published"}
"""They compute nothing that a network learns with."""
PREDECESSOR = {
    "salt": "jetloom.models.linformer",
    "mipart": "jetloom.models.part",
    "mipart_l": "jetloom.models.part",
    "lloca_transformer": "jetloom.models.transformer_v2",
}
"""Rows that are a variant of another paper's network."""


def forget() -> None:
    code.fingerprint.cache_clear()
    code.syntax.cache_clear()


@pytest.fixture
def files_of(monkeypatch):
    """Modules that the fingerprint of a row is made of."""

    def get(row: str) -> set[str]:
        asked = set()
        monkeypatch.setattr(code, "source_file", lambda name, find=code.source_file: asked.add(name) or find(name))
        forget()
        code.model_fingerprint(row)
        monkeypatch.undo()
        return asked

    yield get
    forget()


@pytest.mark.seconds
@pytest.mark.parametrize("row", cards.names("models"))
def test_a_row_holds_no_other_papers_file(files_of, row):
    own = model_card(row).class_path.rpartition(".")[0]
    papers = {
        f"jetloom.models.{file.stem}" for file in Path(models.__file__).parent.glob("*.py") if file.stem != "__init__"
    }
    assert own in papers
    held = files_of(row)
    assert held & (papers - SHARED) == {own} | {PREDECESSOR[row] for _ in range(row in PREDECESSOR)}
    assert not held & NO_PART
    assert ("jetloom.models.tokenizer" in held) == (row in ("kmeans", "vqvae"))
    assert ("jetloom.models.small_tagger" in held) == (row in ("salt", "linformer", "transformer_small"))
