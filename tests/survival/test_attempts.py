"""More memory on the next try: the profile's own words, taken at theirs by Snakemake."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.seconds

PROFILE = Path(__file__).parents[2] / "profiles/slurm/config.yaml"


def test_every_job_gets_more_memory_on_its_second_try(tmp_path) -> None:
    profile = yaml.safe_load(PROFILE.read_text())
    assert profile["retries"] >= 1
    asked = {rule: values["mem_mb"] for rule, values in profile["set-resources"].items() if "mem_mb" in values}
    assert {"simulate_jets", "skim", "tensors_shard", "train_model", "evaluate", "measure_cost"} <= asked.keys()
    lines = ["rule all:", f"    input: {[*asked, 'another']}"]
    for rule in [*asked, "another"]:
        lines += [
            f"rule {rule}:",
            f"    output: '{rule}'",
            f"    shell: 'echo {{resources.mem_mb}} >> {rule}.tries; "
            f"[ $(wc -l < {rule}.tries) = 2 ] && touch {{output}}'",
        ]
    (tmp_path / "Snakefile").write_text("\n".join(lines) + "\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "2", "--retries", "1", "--quiet", "all"),
            *("--set-resources", *(f"{rule}:mem_mb={text}" for rule, text in asked.items())),
            *("--default-resources", f"mem_mb={profile['default-resources']['mem_mb']}"),
        ],
        cwd=tmp_path, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    for rule in [*asked, "another"]:
        first, second = map(int, (tmp_path / f"{rule}.tries").read_text().split())
        assert second == 2 * first > 0, rule
