"""The site can be built, and a dead link is an error."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, maker

pytestmark = pytest.mark.seconds


@pytest.fixture
def site(tmp_path) -> Path:
    """The pages with those of the Python interface."""
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("api", "__pycache__"))
    (tmp_path / "docs/api").mkdir()
    for name, page in maker("make_api").pages().items():
        (tmp_path / f"docs/api/{name}.md").write_text(page)
    return tmp_path


def built(site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=site, capture_output=True, text=True)


def test_the_site_has_no_dead_link_and_would_say_so(site):
    done = built(site)
    assert done.returncode == 0, done.stdout + done.stderr
    batch = (site / "site/api/batch/index.html").read_text()
    for words in ("jetloom.batch", "padded to a common number of particles", "(B, N, 4) float32"):
        assert words in batch
    assert "deta and dphi" in (site / "site/search.json").read_text()
    assert not list((site / "site").rglob("*.py"))

    with (site / "docs/tutorial.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    done = built(site)
    assert done.returncode != 0
    assert "page does not exist" in done.stderr and "--strict" in done.stderr
