"""JetClass-like data sets: Pythia 8 collisions, a parametric CMS-like detector, anti-kT jets, JetClass' ROOT format.

A simulation of ours, not the public JetClass; the published ParticleNet nevertheless scores on it as on the original.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jetloom.data.simulate.processes import CLASSES, PROCESS_OF, PROCESSES
from jetloom.errors import JetloomError
from jetloom.system.importing import importing
from jetloom.system.workers import shared

__all__ = ["CLASSES", "PROCESS_OF", "simulate", "simulate_set"]

DETECTORS = ("jetclass", "ideal")

Advance = Callable[[int], None]


def simulate(
    label: str,
    jets: int,
    seed: int,
    output: Path,
    *,
    number: int = 0,
    detector: str = "jetclass",
    mpi: bool = True,
    progress: bool = True,
) -> None:
    """One ROOT file with jets of one class.

    The content depends on label, seed, number, detector and mpi only; more jets begin with the same ones.

    Args:
        label: class, for example ``Hbb``.
        jets: how many.
        seed: of the data set.
        output: file to write.
        number: of the file; files of different numbers are independent.
        detector: ``jetclass`` or ``ideal`` (see ``detector.detect``).
        mpi: multiparton interactions; without them three times faster and less real.
        progress: show a bar.

    Raises:
        JetloomError: unknown class or detector, fewer than one jet, Pythia or FastJet not installed.
    """
    _check([label], jets, seed, number, detector)
    if not progress:
        _write(label, jets, seed, output, number, detector, mpi, lambda found: None)
        return
    with _bar() as bar:
        task = bar.add_task(label, total=jets)
        _write(label, jets, seed, output, number, detector, mpi, lambda found: bar.advance(task, found))


def simulate_set(
    labels: Sequence[str],
    jets: int,
    seed: int,
    output_directory: Path,
    *,
    number: int = 0,
    detector: str = "jetclass",
    mpi: bool = True,
    processes: int | None = None,
) -> None:
    """One ROOT file ``<PROCESS>_<NUMBER>.root`` per class, several classes at a time, under one progress bar.

    Args:
        labels: classes; none means all ten.
        jets: per class.
        seed: of the data set.
        output_directory: where the files go.
        number: in the file names.
        detector: ``jetclass`` or ``ideal``.
        mpi: multiparton interactions.
        processes: simulating processes; default: one per core.

    Raises:
        JetloomError: as for ``simulate``, or a simulating process died.
    """
    labels = list(dict.fromkeys(labels)) or list(CLASSES)
    _check(labels, jets, seed, number, detector)
    if processes is not None and processes < 1:
        raise JetloomError(f"processes: expected 1 or more, got {processes}")
    processes = min(processes or _cores(), len(labels))
    paths = {label: output_directory / f"{PROCESS_OF[label]}_{number:03d}.root" for label in labels}
    tasks = [(label, jets, seed, paths[label], number, detector, mpi) for label in labels]
    with _bar() as bar:
        task = bar.add_task(labels[0] if len(labels) == 1 else f"{len(labels)} classes", total=jets * len(labels))
        if processes == 1:
            for arguments in tasks:
                _write(*arguments, lambda found: bar.advance(task, found))
        else:
            _write_in_parallel(tasks, processes, lambda found: bar.advance(task, found))


def _write_in_parallel(tasks: list[tuple[Any, ...]], processes: int, advance: Advance) -> None:
    # Pythia must be created inside the process that uses it.
    found = multiprocessing.get_context("spawn").Queue()
    killed = "a simulating process was killed (out of memory?); use fewer --processes"
    with shared(_write_and_tell, tasks, processes, _start_worker, found, killed=killed) as coming:
        waiting = set(coming)
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            while not found.empty():
                advance(found.get())


_found: Any = None


def _start_worker(found: Any) -> None:
    global _found
    _found = found


def _write_and_tell(arguments: tuple[Any, ...]) -> None:
    _write(*(*arguments, _found.put))


def _write(
    label: str, jets: int, seed: int, output: Path, number: int, detector: Any, mpi: bool, advance: Advance
) -> None:
    try:
        with importing():
            from jetloom.data.simulate import rootfile
            from jetloom.data.simulate.detector import detect
            from jetloom.data.simulate.events import collisions
            from jetloom.data.simulate.jets import find_jets
    except ModuleNotFoundError as error:
        if error.name not in ("pythia8mc", "fastjet"):
            raise
        raise JetloomError(
            f'simulating jets needs {error.name}, which is not installed: pip install "jetloom[simulate]"'
        ) from None

    process = PROCESSES[label]
    entropy = [seed, CLASSES.index(label), number]
    pythia_seed = 1 + int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] % 900_000_000)
    generator = np.random.default_rng(entropy)
    missing = jets
    with rootfile.create(output) as file:
        for events, particles, targets in collisions(process, pythia_seed, mpi):
            columns = find_jets(process, events, detect(particles, generator, detector), targets)
            columns = {name: values[:missing] for name, values in columns.items()}
            file.write(columns)
            found = len(columns["jet_pt"])
            advance(found)
            missing -= found
            if not missing:
                return


def _cores() -> int:
    """Cores that this process may use (macOS does not say which)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(labels: Sequence[str], jets: int, seed: int, number: int, detector: str) -> None:
    for label in labels:
        if label not in CLASSES:
            raise JetloomError(f"unknown class {label!r}; allowed: {', '.join(CLASSES)}")
    if detector not in DETECTORS:
        raise JetloomError(f"unknown detector {detector!r}; allowed: {', '.join(DETECTORS)}")
    if jets < 1:
        raise JetloomError(f"jets: expected 1 or more per class, got {jets}")
    if min(seed, number) < 0:
        raise JetloomError(f"seed and number: expected 0 or more, got {seed} and {number}")


def _bar() -> Progress:
    return Progress(
        TextColumn("simulate {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jets"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
