import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest
import uproot

from jetloom.data.simulate import detector, events, jetclass, jets
from jetloom.data.simulate.jetclass import CLASSES, PROCESS_OF, simulate, simulate_set
from jetloom.data.simulate.processes import PROCESSES
from jetloom.errors import JetloomError
from tests.data.simulate.reading import content_hash

pytestmark = pytest.mark.seconds

# As the public files have them.
PARTICLE_FLOATS = ["px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge"]
PARTICLE_FLAGS = ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
JET_TYPES = (
    {
        f"jet_{name}": "float32"
        for name in ["pt", "eta", "phi", "energy", "nparticles", "sdmass", "tau1", "tau2", "tau3", "tau4"]
    }
    | {f"aux_{name}": "float32" for name in ["genpart_eta", "genpart_phi", "genpart_pid", "genpart_pt", "truth_match"]}
    | {"label_QCD": "float32"}
    | {f"label_{name}": "bool" for name in ["Hbb", "Hcc", "Hgg", "H4q", "Hqql"]}
    | {f"label_{name}": "int32" for name in ["Zqq", "Wqq", "Tbqq", "Tbl"]}
)


def quick(label, path, jets=20, seed=3, **options):
    simulate(label, jets, seed, path, mpi=False, progress=False, **options)
    return content_hash(path)


@pytest.mark.parametrize("label", CLASSES)
def test_every_class_can_be_simulated(label, tmp_path):
    path = tmp_path / "a.root"
    quick(label, path)
    tree = uproot.open(path)["tree"]
    assert tree.num_entries == 20
    assert tree[f"label_{label}"].array().tolist() == [1] * 20
    assert [file.name for file in tmp_path.iterdir()] == ["a.root"]


def test_branches_and_types(tmp_path):
    quick("Wqq", tmp_path / "a.root")
    file = uproot.open(tmp_path / "a.root")
    assert file.classnames() == {"tree;1": "TTree"}
    assert file.file.fCompress == 404  # LZ4, level 4
    arrays = file["tree"].arrays()
    found = {name: str(arrays[name].type).rpartition(" * ")[2] for name in arrays.fields if name != "npart"}
    expected = JET_TYPES | {f"part_{name}": "float32" for name in PARTICLE_FLOATS}
    expected |= {f"part_{name}": "int32" for name in PARTICLE_FLAGS}
    assert len(expected) == 41
    assert found == expected
    assert all(arrays[name].ndim == (2 if name.startswith("part_") else 1) for name in expected)


def test_seed_number_class_and_detector_matter(tmp_path):
    base = quick("Hbb", tmp_path / "a.root")
    assert quick("Hbb", tmp_path / "b.root") == base
    changes = [{"seed": 4}, {"number": 1}, {"detector": "ideal"}]
    others = {quick("Hbb", tmp_path / "c.root", **change) for change in changes}
    assert len(others | {base}) == 4


def test_more_jets_begin_with_the_same(tmp_path):
    quick("Tbqq", tmp_path / "few.root", jets=20)
    quick("Tbqq", tmp_path / "many.root", jets=30)
    few, many = (uproot.open(tmp_path / f"{name}.root")["tree"].arrays() for name in ("few", "many"))
    assert many[:20].tolist() == few.tolist()


def test_number_of_processes_does_not_matter(tmp_path):
    labels = ["QCD", "Hqql", "Zqq"]
    # Of other tests in this process.
    before = set(multiprocessing.active_children())
    for processes in (1, 2):
        simulate_set(labels, 20, 5, tmp_path / str(processes), number=7, mpi=False, processes=processes)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == sorted(f"{PROCESS_OF[label]}_007.root" for label in labels)
    for name in names:
        assert content_hash(tmp_path / "1" / name) == content_hash(tmp_path / "2" / name)
    assert set(multiprocessing.active_children()) <= before


def test_ideal_detector_keeps_more_particles(tmp_path):
    count = {}
    for mode in ("jetclass", "ideal"):
        path = tmp_path / f"{mode}.root"
        quick("Hbb", path, jets=150, detector=mode)
        count[mode] = uproot.open(path)["tree/jet_nparticles"].array(library="np")
    # 46.8 against 41.9 with multiparton interactions.
    assert 1.06 < count["ideal"].mean() / count["jetclass"].mean() < 1.2


def test_prefixes_are_those_of_jetclass():
    assert PROCESS_OF == {
        "QCD": "ZJetsToNuNu", "Hbb": "HToBB", "Hcc": "HToCC", "Hgg": "HToGG", "H4q": "HToWW4Q",
        "Hqql": "HToWW2Q1L", "Zqq": "ZToQQ", "Wqq": "WToQQ", "Tbqq": "TTBar", "Tbl": "TTBarLep",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Hbbb"}, "unknown class 'Hbbb'; allowed: QCD, Hbb"),
        ({"detector": "real"}, "unknown detector 'real'; allowed: jetclass, ideal"),
        ({"jets": 0}, "jets: expected 1 or more"),
        ({"seed": -1}, "seed and number: expected 0 or more"),
    ],
)
def test_mistakes(change, message, tmp_path):
    arguments = {"label": "Hbb", "jets": 1, "seed": 1, "output": tmp_path / "a.root"} | change
    with pytest.raises(JetloomError, match=message):
        simulate(**arguments)
    assert not list(tmp_path.iterdir())


def test_no_process_is_a_mistake(tmp_path):
    with pytest.raises(JetloomError, match="processes: expected 1 or more, got 0"):
        simulate_set([], 1, 1, tmp_path, processes=0)


def test_nothing_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(jets, "find_jets", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quick("Hbb", tmp_path / "a.root")
    assert not list(tmp_path.iterdir())


def _descendants(process):
    """Processes below one, by /proc."""
    found, queue = [], [process.pid]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            children = [int(number) for number in task.read_text().split()]
            found += children
            queue += children
    return found


def _simulating(number):
    """Whether a process runs (zombies do not count)."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_workers_end_with_their_parent(tmp_path):
    script = (
        "import sys; from pathlib import Path; from jetloom.data.simulate.jetclass import simulate_set\n"
        "if __name__ == '__main__':\n"
        "    simulate_set(['QCD', 'Hbb'], 100_000, 1, Path(sys.argv[1]), mpi=False, processes=2)"
    )
    (tmp_path / "script.py").write_text(script)
    output = tmp_path / "output"
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", output], stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: output.exists() and len(list(output.glob(".*.partial"))) == 2)
        workers = _descendants(parent)
        assert len(workers) >= 2
    finally:
        parent.kill()
        parent.wait()
    _wait(lambda: not any(map(_simulating, workers)))
    assert not list(output.iterdir())


def test_a_killed_worker_is_one_clear_error(tmp_path):
    caught = []

    def run():
        try:
            simulate_set(["QCD", "Hbb"], 3000, 1, tmp_path, mpi=False, processes=2)
        except JetloomError as error:
            caught.append(str(error))

    others = set(multiprocessing.active_children())
    thread = threading.Thread(target=run)
    thread.start()
    _wait(lambda: len(list(tmp_path.glob(".*.partial"))) == 2)
    (set(multiprocessing.active_children()) - others).pop().kill()
    thread.join(timeout=30)
    assert caught == ["a simulating process was killed (out of memory?); use fewer --processes"]
    assert not set(multiprocessing.active_children()) - others
    assert not list(tmp_path.glob("*.root"))


def _wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("library", ["pythia8mc", "fastjet"])
def test_missing_library(library, tmp_path):
    script = (
        f"import sys; sys.modules['{library}'] = None\n"
        "from pathlib import Path\n"
        "from jetloom.data.simulate.jetclass import simulate\n"
        f"simulate('Hbb', 1, 1, Path({str(tmp_path / 'a.root')!r}), progress=False)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 1
    assert f"JetloomError: simulating jets needs {library}" in run.stderr
    assert 'pip install "jetloom[simulate]"' in run.stderr


def test_standard_output_stays_clean(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from jetloom.data.simulate.jetclass import simulate\n"
        f"simulate('Wqq', 2, 1, Path({str(tmp_path / 'a.root')!r}), mpi=False)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert "2/2" in run.stderr


def test_hopeless_collisions_end(monkeypatch):
    from jetloom.data.simulate import hooks

    monkeypatch.setattr(hooks, "MOST_VETOES", 20)
    monkeypatch.setattr(hooks, "HARD_RESONANCE_PT", 1e6)
    with pytest.raises(JetloomError, match="20 collisions in a row"):
        next(events.collisions(PROCESSES["Hbb"], 1, mpi=False))


def test_a_batch_without_jets():
    """Soft particles only, or none at all: no jets, but all columns."""
    empty = [numpy.zeros(0) for _ in detector.Flow._fields]
    nothing = detector.Flow(*empty)._replace(event=numpy.zeros(0, dtype=int))
    one = detector.Flow(*(numpy.ones(1) for _ in empty))._replace(event=numpy.array([1]))
    targets = next(events.collisions(PROCESSES["QCD"], 1, mpi=False)).targets
    for flow in (nothing, one):
        columns = jets.find_jets(PROCESSES["QCD"], 2, flow, targets)
        assert all(len(values) == 0 for values in columns.values())
        assert set(columns) == {"part", *JET_TYPES}


def test_matching_asks_for_all_partons():
    """A jet whose cone misses one decay product is not matched; of two resonances the nearest counts."""
    none = numpy.zeros(0, dtype=int)
    found = jets._Jets(
        event=numpy.array([0, 0, 1, 2]),
        pt=numpy.full(4, 600.0),
        eta=numpy.array([0.0, 1.5, 0.0, 0.0]),
        phi=numpy.array([3.1, 0.0, 0.0, 0.0]),
        energy=numpy.full(4, 700.0),
        constituent=none,
        count=none,
    )
    target = events.Targets(
        event=numpy.array([0, 1, 1]),
        pid=numpy.array([25, 6, -6]),
        pt=numpy.full(3, 600.0),
        eta=numpy.array([0.0, 0.3, 0.1]),
        phi=numpy.array([-3.1, 0.0, 0.0]),
        code=numpy.full(3, 41),
        parton_eta=numpy.array([[0.3, -0.3], [0.5, 0.1], [0.2, 0.0]]),
        parton_phi=numpy.array([[-3.1, 3.1], [0.0, 0.0], [0.0, 0.0]]),
    )
    assert jets._match(found, target).tolist() == [0, -1, 2, -1]
    far = target._replace(parton_eta=target.parton_eta + numpy.array([[0.0, 0.0], [0.9, 0.0], [0.9, 0.0]]))
    assert jets._match(found, far).tolist() == [0, -1, -1, -1]


def test_module_imports_no_pythia():
    script = (
        "import sys, jetloom.data.simulate.jetclass as m; print('pythia8mc' in sys.modules, 'awkward' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
    assert jetclass.DETECTORS == ("jetclass", "ideal")
