"""Directories of data as the workflow leaves them, of no content, and the verbs on them."""

import json
import os
from pathlib import Path

import pytest

from jetloom.cli import main
from jetloom.workflow.data import DataPlan


def fabricate(plan: DataPlan) -> str:
    """Files of a data set as the workflow leaves them, of no content; digest of the manifest."""
    for place, content in plan.places().items():
        write(f"{place}/about.json", content)
        for file in ("logs", "benchmarks"):
            write(f"{plan.home}/{file}/{Path(place).name}/describe_data.txt", {})
    for raw in plan.raw.values() if plan.given_raw is None else ():
        write(f"{raw.path}/mesh.off", {})
    for split in plan.dataset.splits:
        rows = []
        for path in plan.skims(split):
            write(path, {})
            inside = os.path.relpath(path, plan.skim_directory).removesuffix(".parquet")
            write(f"{plan.home}/logs/{Path(plan.skim_directory).name}/skim/{inside}.log", {})
            rows.append({"file": os.path.relpath(path, f"{plan.tensors_directory}/skims"), "content_sha256": "0"})
        write(f"{plan.tensors_directory}/skims/{split}.json", {"skims": rows})
    for shard in plan.shards():
        write(shard, {})
    digest = f"digest of {plan.tensors_directory}"
    write(plan.manifest, {"digest": digest})
    return digest


def write(path: str | Path, content: dict) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))


def files(below: str = "data") -> set[str]:
    return {str(path) for path in Path(below).rglob("*") if path.is_file()}


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", *arguments])
    assert not ended.value.code, ended.value.code
