"""What `jetloom doctor` finds on machines that have everything and on machines that lack something."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import pytest

from jetloom.cli import main
from jetloom.system import doctor

SMI = """#!/bin/sh
case "$*" in
  *--query-gpu=uuid*) echo GPU-1; echo GPU-2 ;;
  *--query-gpu*) echo "NVIDIA H100, 570.1, 81559 MiB"; echo "NVIDIA H100, 570.1, 81559 MiB" ;;
  *) echo "| NVIDIA-SMI 570.1  Driver Version: 570.1  CUDA Version: 12.8 |" ;;
esac
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A machine whose only programs are those that the returned function writes."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CC", raising=False)

    def write(name: str, text: str) -> None:
        (place / name).write_text(text.replace("#!/bin/sh", f"#!/bin/sh\nPATH={os.defpath}"))
        (place / name).chmod(0o755)

    return write


def test_an_old_python_is_missing_a_new_one():
    assert doctor.python((3, 10, 4)).state == "missing"
    assert doctor.python((3, 11, 0)).state == "ok"


def test_packages_are_compared_with_what_is_required():
    assert doctor.packages().state == "ok"
    torch = version("torch").partition("+")[0]
    assert doctor.packages(["no-such-package>=1", f"torch>{torch}.1"]) == doctor.Check(
        "packages", "missing", f"no no-such-package, torch {version('torch')}, not >{torch}.1", doctor.INSTALL
    )
    assert doctor.packages(["no-such-package; extra == 'dev'"]).state == "ok", "of an extra"


def test_a_machine_without_any_program(programs):
    found = [doctor.commit(), doctor.compiler(), doctor.graphics(), doctor.slurm(Path("none"))]
    assert [check.state for check in found] == ["note"] * 4
    assert all(check.advice for check in found)


def test_a_compiler_is_found_where_the_environment_says(programs, tmp_path):
    programs("clang", "#!/bin/sh\n")
    assert doctor.compiler().found == str(tmp_path / "bin/clang")
    assert doctor.compiler(os.environ | {"CC": "icx"}).found == "no icx"


def test_gpus_that_a_driver_lists(programs, monkeypatch):
    programs("nvidia-smi", SMI)
    monkeypatch.setattr(doctor, "_cuda_of_torch", lambda: "12.4")
    found = "2 x NVIDIA H100, 81559 MiB, driver 570.1"
    assert doctor.graphics() == doctor.Check("GPU", "ok", found)
    monkeypatch.setattr(doctor, "_cuda_of_torch", lambda: "13.0")
    old = doctor.graphics()
    assert old.state == "note" and "knows CUDA 12.8" in old.found and "CUDA 13.0" in old.advice
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in doctor.graphics().advice


def test_a_driver_that_does_not_answer(programs):
    programs("nvidia-smi", "#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    assert doctor.graphics().found == "the driver does not answer: NVIDIA-SMI has failed"


def test_the_cuda_of_torch_is_read_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError('imported')")
    for line, expected in {"cuda: Optional[str] = '13.0'": "13.0", "cuda: Optional[str] = None": None}.items():
        (tmp_path / "torch/version.py").write_text(f"debug = False\n{line}\n")
        code = "from jetloom.system.doctor import _cuda_of_torch\nprint(_cuda_of_torch())"
        path = f"{tmp_path}:{':'.join(sys.path)}"
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
        )
        assert done.stdout.strip() == str(expected), done.stderr


def test_slurm_and_the_partitions_of_its_profile(programs, tmp_path):
    for name in ("sbatch", "squeue", "scancel"):
        programs(name, "#!/bin/sh\n")
    assert doctor.slurm(tmp_path / "none").found == "no sinfo"
    programs("sinfo", "#!/bin/sh\necho partition=main\necho partition=gpu\necho partition=gpu\n")
    partitions = tmp_path / "partitions.yaml"
    partitions.write_text("partitions:\n  main: {}\n  gpu: {}\n")
    assert doctor.slurm(partitions) == doctor.Check("SLURM", "ok", "partitions gpu, main")
    partitions.write_text("partitions:\n  batch: {}\n")
    assert f"not batch of {partitions}" in doctor.slurm(partitions).found
    programs("sinfo", "#!/bin/sh\necho 'sinfo: error: no controller' >&2\nexit 1\n")
    assert doctor.slurm(partitions).found == "sinfo: error: no controller"


def test_disks(tmp_path, monkeypatch):
    assert doctor.disk("data_directory", tmp_path / "not/yet").state == "ok"
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**9))
    full = doctor.disk("data_directory", tmp_path)
    assert full.state == "missing" and "1.0 GB free" in full.found


def test_a_file_system_without_writing_or_locks(tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.fcntl, "flock", refuse)
    assert doctor.locks(tmp_path).state == "missing"
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    assert doctor.disk("results_directory", tmp_path).state == "missing"
    assert "Read-only" in doctor.clock(tmp_path).found


def test_clocks_that_differ(tmp_path, monkeypatch):
    real = time.time
    assert doctor.clock(tmp_path).state == "ok"
    monkeypatch.setattr(time, "time", lambda: real() + 100)
    assert doctor.clock(tmp_path).found == "the file server's is 100 s behind"
    monkeypatch.setattr(time, "time", lambda: 1e6)
    assert doctor.clock(tmp_path).state == "missing"


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert doctor.free_port(port).state == "note"
    assert doctor.free_port(port).state == "ok"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    return ended.value.code or 0


def test_the_verb_fails_only_where_something_needed_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert lines[0].startswith("note    configuration")
    (tmp_path / "config.yaml").write_text("experiment: x\ndatasets: [jetclass]\nmodels: [sallt]\nseeds: [1]\n")
    assert run() == 1
    assert capsys.readouterr().out.startswith("missing configuration")
    (tmp_path / "config.yaml").write_text(
        "experiment: x\ndatasets: [jetclass]\nmodels: [salt]\nseeds: [1]\nscratch_directory: /proc/none\n"
    )
    assert run() == 1
    assert "missing scratch_directory /proc/none" in capsys.readouterr().out


@pytest.mark.seconds
def test_torch_is_imported_only_for_gpus(tmp_path):
    code = (
        "import sys\nfrom jetloom.cli import main\n"
        "try:\n    main(['doctor', *sys.argv[1:]])\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    for arguments, imported in ([], "False"), (["--gpus"], "True"):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == imported
