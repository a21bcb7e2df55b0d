"""The skims of a split in one file, with digests of their content: what every shard of the split is made from."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from jetloom.data.prepare.skim import read_facts
from jetloom.errors import JetloomError
from jetloom.system.files import appearing


def write(skims: Sequence[Path], output: Path) -> None:
    """List skims; files are named relative to the list's directory.

    Raises:
        JetloomError: a file that is missing, damaged or no skim.
    """
    rows = [
        {"file": os.path.relpath(path, output.parent), "content_sha256": read_facts(path)["content_sha256"]}
        for path in skims
    ]
    with appearing(output) as partial:
        partial.write_text(json.dumps({"skims": rows}, indent=1) + "\n")


def read(path: Path) -> list[Path]:
    """The listed skims, each compared with what was listed.

    Raises:
        JetloomError: no such list, or a skim holds other jets than when it was listed.
    """
    try:
        rows = json.loads(path.read_text())["skims"]
        listed = [(Path(os.path.normpath(path.parent / row["file"])), row["content_sha256"]) for row in rows]
    except FileNotFoundError:
        raise JetloomError(f"{path}: no such list; make it with `jetloom tensors list`") from None
    except (ValueError, KeyError, TypeError):
        raise JetloomError(f"{path}: not a list of skims; make it again with `jetloom tensors list`") from None
    for skim, content in listed:
        if read_facts(skim)["content_sha256"] != content:
            raise JetloomError(
                f"{skim}: holds other jets than when {path} was written; make it again with `jetloom tensors list`"
            )
    return [skim for skim, _ in listed]
