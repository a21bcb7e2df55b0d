"""Verbs that make data sets out of what was trained, and say how close they are to the truth."""

from pathlib import Path
from typing import TYPE_CHECKING

from jetloom.cli.app import app
from jetloom.errors import JetloomError
from jetloom.system.importing import importing

if TYPE_CHECKING:
    from jetloom.workflow.derived import DerivedPlan


@app.command
def derive(name: str, *, config: Path, split: str, number: int = 0, output: Path, threads: int | None = None) -> None:
    """Make one file of a data set that trainings of an experiment make: tokens, decoded, generated or compared jets.

    Parameters
    ----------
    name
        Data set of CONFIG that says `made_by`.
    config
        Configuration of the experiment, whose trainings have ended.
    split
        Split of the data set.
    number
        Number of the file in the split, from 0.
    output
        Parquet file, a skim like any other.
    threads
        CPU threads.
    """
    from jetloom.workflow.machines import place

    place(1, 1, threads)
    planned = _planned(name, config)
    known = planned.dataset.raw_files(split) if split in planned.dataset.splits else []
    if not 0 <= number < len(known):
        raise JetloomError(f"derive {name}: split {split} has no file {number}; it has {len(known)}")
    if planned.made_by.mixture:
        from jetloom.derived.mix import halve, mix

        parts = [[Path(skim) for skim in source.skims(split)] for source in planned.sources]
        classes, key = planned.dataset.classes, _key(planned, split)
        if planned.made_by.halves:
            halve(parts[0], classes, number, key, output)
        else:
            mix(parts, classes, number, key, output)
        return
    with importing():
        import torch

        from jetloom.derived.tokenise import tokenise, tokenizer
        from jetloom.models.omnijet import OmniJet
        from jetloom.tasks.next_token.learn import NextToken
        from jetloom.training.checkpoint import load_model, task_of

    if threads:
        torch.set_num_threads(threads)
    made = planned.made_by
    of_tokenizer = Path(planned.tokenizer[0])
    source = planned.sources[0]
    released = made.tokenise or source.made_by.tokenise  # type: ignore[attr-defined]  # tokens are derived
    network = tokenizer(of_tokenizer, released if released.checkpoint else None)
    classes, codes = planned.dataset.classes, planned.dataset.codes or 0
    if made.tokenise:
        tokenise(network, of_tokenizer, Path(source.manifest), split, number, classes, codes, output)
        return
    from jetloom.derived.generate import generate

    assert made.generate is not None
    checkpoint = Path(planned.checkpoints[0])
    generator, saved = load_model(checkpoint)
    task = task_of(saved, [])
    if not isinstance(generator, OmniJet) or not isinstance(task, NextToken):
        raise JetloomError(f"{checkpoint}: no generator")
    longest = min(source.dataset.max_particles, task.window or source.dataset.max_particles)
    generate(
        generator.to(next(network.parameters()).device),
        checkpoint,
        network,
        of_tokenizer,
        longest,
        planned.jets(split, number),
        [*_key(planned, split), number],
        classes,
        made.generate.temperature,
        made.generate.top_k,
        output,
    )


@app.command
def closeness(name: str, *, config: Path, output: Path, observables: Path) -> None:
    """Compare the test jets that a training made with those that they should be like, by distances of observables.

    Parameters
    ----------
    name
        Data set of CONFIG that says `made_by`.
    config
        Configuration of the experiment.
    output
        JSON file of the distances.
    observables
        Parquet file of the observables of both.
    """
    with importing():
        from jetloom.derived.closeness import closeness as compare

    planned = _planned(name, config)
    if planned.reference is None:
        raise JetloomError(f"closeness {name}: its jets are not meant to be like those of another data set")
    told = {
        "set": name,
        "title": planned.dataset.title,
        "reference": planned.reference.name,
        "reference_title": planned.reference.dataset.title,
        "run": planned.maker._asdict() if planned.maker else _released(planned),
    }
    compare(Path(planned.manifest), Path(planned.reference.manifest), told, output, observables)


def _planned(name: str, config: Path) -> "DerivedPlan":
    from jetloom.config import read_experiment
    from jetloom.workflow.derived import DerivedPlan
    from jetloom.workflow.plan import Plan

    plans = Plan(read_experiment(config)).data
    if not isinstance(planned := plans.get(name), DerivedPlan):
        derived = [key for key, plan in plans.items() if isinstance(plan, DerivedPlan)]
        raise JetloomError(f"{config}: {name} is no derived data set; allowed: {', '.join(derived) or 'none'}")
    return planned


def _released(planned: "DerivedPlan") -> dict[str, str | int]:
    """In place of a training, where released weights made the set."""
    return {"dataset": planned.sources[0].name, "model": Path(planned.tokenizer[0]).stem, "seed": 0}


def _key(planned: "DerivedPlan", split: str) -> list[int]:
    """Of random numbers: other splits and other trainings draw others."""
    seed = planned.maker.seed if planned.maker else 0
    return [planned.dataset.seed, seed, *split.encode()]
