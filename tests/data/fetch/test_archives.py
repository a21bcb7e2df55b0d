"""Archives: members land in their places, and hostile or damaged ones leave nothing."""

import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile

import pytest

from jetloom.config import RemoteFile
from jetloom.data.fetch.archives import unpack
from jetloom.data.fetch.download import download, fetch
from jetloom.errors import JetloomError
from tests.support.downloads import CONTENT, QUICK, dataset, md5, visible
from tests.support.http_server import served


def tar_of(members, mode="w"):
    """A tar of (name, content) pairs, or of ready TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members:
            if isinstance(name, tarfile.TarInfo):
                tar.addfile(name)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpacked(tmp_path, archive, raw, **settings):
    """Download a set that is one archive on a local mirror."""
    mirror = tmp_path / "mirror"
    mirror.mkdir(exist_ok=True)
    (mirror / "set.tar").write_bytes(archive)
    file = {"name": "set.tar", "holds": raw, "md5": md5(archive)} | settings
    return download(dataset(file, raw=raw, mirrors=[str(mirror)]), tmp_path / "raw", patience=QUICK)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_land_in_their_places_whatever_directory_they_come_from(tmp_path, mode):
    members = [("JetClass/val_5M/A_120.root", b"one"), ("./B_120.root", b"two"), ("JetClass/C_120.root", b"three")]
    unpacked(tmp_path, tar_of(members, mode), ["A_120.root", "B_120.root"])
    assert (tmp_path / "raw/A_120.root").read_bytes() == b"one"
    assert (tmp_path / "raw/B_120.root").read_bytes() == b"two"
    assert visible(tmp_path / "raw") == ["A_120.root", "B_120.root"]


def test_directories_come_out_of_a_zip_without_the_rubbish_of_a_mac(tmp_path):
    members = [
        ("ModelNet10/chair/train/chair_0001.off", b"1"),
        ("ModelNet10/chair/train/chair_0002.off", b"2"),
        ("ModelNet10/chair/test/chair_0890.off", b"3"),
        ("ModelNet10/chair/train/.DS_Store", b"junk"),
        ("__MACOSX/ModelNet10/chair/train/._chair_0001.off", b"junk"),
        ("ModelNet10/README.txt", b"words"),
    ]
    unpacked(tmp_path, zip_of(members), ["chair/train", "chair/test"])
    assert visible(tmp_path / "raw/chair/train") == ["chair_0001.off", "chair_0002.off"]
    assert visible(tmp_path / "raw/chair/test") == ["chair_0890.off"]
    assert visible(tmp_path / "raw") == ["chair"]


def test_members_can_be_renamed_by_pattern(tmp_path):
    members = [("train/jet_0.h5", b"0"), ("train/jet_6.h5", b"6")]
    unpacked(tmp_path, tar_of(members), ["train", "val"], rename={r"train/(jet_6\.h5)": r"val/\1"})
    assert visible(tmp_path / "raw/train") == ["jet_0.h5"]
    assert visible(tmp_path / "raw/val") == ["jet_6.h5"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../outside/A.root", b"x"),
        ("deep/../../A.root", b"x"),
        ("/tmp/A.root", b"x"),
        ("..\\A.root", b"x"),
        (special("A.root", tarfile.SYMTYPE, "/etc/passwd"), None),
        (special("A.root", tarfile.LNKTYPE, "B.root"), None),
        (special("A.root", tarfile.CHRTYPE), None),
        (special("A.root", tarfile.FIFOTYPE), None),
    ],
    ids=["parent", "inner parent", "absolute", "backslash", "symlink", "hard link", "device", "pipe"],
)
def test_a_member_that_is_not_what_it_should_be_spoils_the_archive(tmp_path, name, content):
    archive = tar_of([("B.root", b"good"), (name, content)])
    with pytest.raises(JetloomError, match="not to be trusted") as caught:
        unpacked(tmp_path, archive, ["A.root", "B.root"])
    assert "\n" not in str(caught.value)
    assert visible(tmp_path / "raw") == []
    assert visible(tmp_path) == ["mirror", "raw"]


def test_a_link_in_a_zip_spoils_the_archive(tmp_path):
    link = zipfile.ZipInfo("A.root")
    link.external_attr = 0o120777 << 16
    with pytest.raises(JetloomError, match="a link or a device"):
        unpacked(tmp_path, zip_of([(link, "/etc/passwd")]), ["A.root"])


@pytest.mark.parametrize(
    "archive",
    [
        b"no archive at all" * 100,
        tar_of([("A.root", CONTENT)], "w:gz")[:100_000],
        tar_of([("A.root", CONTENT)])[:100_000],
        zip_of([("A.root", CONTENT)])[:100_000],
        b"",
    ],
    ids=["noise", "cut tar.gz", "cut tar", "cut zip", "empty"],
)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path, archive):
    with served(files={"set.tar": archive}) as site:
        file = {"name": "set.tar", "holds": ["A.root"], "url": f"{site.url}/set.tar"}
        with pytest.raises(JetloomError, match="archive") as caught:
            download(dataset(file, raw=["A.root"]), tmp_path / "raw", patience=QUICK)
        assert "kept as" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert visible(tmp_path / "raw") == []
        # A damaged file teaches no checksum: the right one is accepted afterwards.
        site.files["set.tar"] = tar_of([("A.root", CONTENT)])
        download(dataset(file, raw=["A.root"]), tmp_path / "raw", patience=QUICK)
    assert (tmp_path / "raw/A.root").read_bytes() == CONTENT


def test_an_archive_without_the_wanted_file_says_so(tmp_path):
    with pytest.raises(JetloomError, match=r"set\.tar do not hold B\.root"):
        unpacked(tmp_path, tar_of([("A.root", b"x")]), ["A.root", "B.root"])


def test_only_archives_that_may_hold_what_is_wanted_are_loaded_and_none_is_kept(tmp_path):
    first, second = tar_of([("A.root", b"a")]), tar_of([("B.root", b"b")])
    with served(files={"1.tar": first, "2.tar": second}) as site:
        files = [
            {"name": "1.tar", "url": f"{site.url}/1.tar", "holds": ["A.root"]},
            {"name": "2.tar", "url": f"{site.url}/2.tar", "holds": ["B.root"]},
        ]
        data = dataset(*files, raw=["A.root", "B.root"])
        download(data, tmp_path, names=["A.root"], patience=QUICK)
        assert [path for path, _, _ in site.seen] == ["/1.tar"]
        download(data, tmp_path, patience=QUICK)
        assert [path for path, _, _ in site.seen] == ["/1.tar", "/2.tar"]
    assert not list(tmp_path.rglob("*.tar"))
    # The space is used once: both names are the same file.
    assert os.stat(tmp_path / "A.root").st_ino == os.stat(tmp_path / ".download/A.root").st_ino


@pytest.fixture
def in_parts(tmp_path):
    """A set in two archives, either of which may hold its three files, and a third with another one."""
    parts = {
        "0.tar": tar_of([("A.root", b"a"), ("C.root", b"c")]),
        "1.tar": tar_of([("B.root", b"b")]),
        "2.tar": tar_of([("D.root", b"d")]),
    }
    holds = {"0.tar": ["{A,B,C}.root"], "1.tar": ["{A,B,C}.root"], "2.tar": ["D.root"]}
    with served(files=parts) as site:
        files = [{"name": name, "url": f"{site.url}/{name}", "md5": md5(parts[name]), "holds": holds[name]}
                 for name in parts]  # fmt: skip
        yield site, dataset(*files, raw=["A.root", "B.root", "C.root", "D.root"]), tmp_path / "raw"


def test_archives_come_one_by_one_and_their_files_get_their_names_together(in_parts, tmp_path):
    site, data, raw = in_parts
    assert fetch(data, raw, "1.tar", record=tmp_path / "1", patience=QUICK) == ["B.root"]
    assert fetch(data, raw, "0.tar", record=tmp_path / "0", patience=QUICK) == ["A.root", "C.root"]
    assert (tmp_path / "0").read_text() == "A.root\nC.root\n"
    assert visible(raw) == []
    assert download(data, raw, files=["0.tar", "1.tar"], patience=QUICK) == [raw / f"{name}.root" for name in "ABC"]
    assert [(raw / f"{name}.root").read_bytes() for name in "ABC"] == [b"a", b"b", b"c"]
    assert [path for path, _, _ in site.seen] == ["/1.tar", "/0.tar"]


def test_an_archive_that_came_is_not_asked_for_again_unless_something_of_it_is_lost(in_parts, tmp_path):
    site, data, raw = in_parts
    for name in ("0.tar", "1.tar"):
        fetch(data, raw, name, record=tmp_path / "record", patience=QUICK)
    # The workflow removes the outputs of a job that it repeats.
    (tmp_path / "record").unlink()
    assert fetch(data, raw, "0.tar", record=tmp_path / "record", patience=QUICK) == ["A.root", "C.root"]
    assert len(site.seen) == 2
    # It is known which of the two has it.
    (raw / ".download/B.root").unlink()
    download(data, raw, files=["0.tar", "1.tar"], patience=QUICK)
    assert [path for path, _, _ in site.seen][2:] == ["/1.tar"]
    assert (raw / "B.root").read_bytes() == b"b"


def test_one_archive_that_fails_leaves_the_others(in_parts, tmp_path):
    site, data, raw = in_parts
    site.files["1.tar"] = b"other"
    with pytest.raises(JetloomError, match=r"^1\.tar from .*md5 is"):
        fetch(data, raw, "1.tar", record=tmp_path / "1", patience=QUICK)
    assert not (tmp_path / "1").exists()
    fetch(data, raw, "2.tar", record=tmp_path / "2", patience=QUICK)
    assert download(data, raw, files=["2.tar"], patience=QUICK) == [raw / "D.root"]


def test_a_file_that_only_one_archive_may_hold_has_to_be_in_it(tmp_path):
    archive = tar_of([("A.root", b"a")])
    with served(files={"1.tar": archive}) as site:
        data = dataset({"name": "1.tar", "url": f"{site.url}/1.tar", "holds": ["{A,B}.root"]}, raw=["A.root", "B.root"])
        with pytest.raises(JetloomError, match=r"the archive 1\.tar does not hold B\.root"):
            fetch(data, tmp_path / "raw", "1.tar", record=tmp_path / "1", patience=QUICK)
    with pytest.raises(JetloomError, match=r"no entry of `files` is '3.tar'; allowed: 1\.tar"):
        fetch(data, tmp_path / "raw", "3.tar", record=tmp_path / "3", patience=QUICK)


def bomb_of(kind):
    """A tar.gz of a few kB whose first header says that 300 MB describe the next member."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        info = special("x", kind)
        info.size = 300_000_000
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(300):
            file.write(bytes(1_000_000))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_small_archive_does_not_fill_the_memory(tmp_path, kind):
    archive = bomb_of(kind)
    tracemalloc.start()
    try:
        with pytest.raises(
            JetloomError, match=r"set\.tar: .* 300000000 bytes that is no file; it is not to be trusted"
        ):
            unpacked(tmp_path, archive, ["A.root"])
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_unpacked(tmp_path, mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=mode) as tar:
        info = tarfile.TarInfo("deep/" * 60 + "A.root")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"one"))
    unpacked(tmp_path, buffer.getvalue(), ["A.root"])
    assert (tmp_path / "raw/A.root").read_bytes() == b"one"


def test_nothing_is_written_outside_the_target(tmp_path):
    target, archive = tmp_path / "target", tmp_path / "set.tar"
    target.mkdir()
    (target / "deep").symlink_to(tmp_path)
    archive.write_bytes(tar_of([("deep/A.root", b"x")]))
    with pytest.raises(JetloomError, match="outside the target directory"):
        unpack(archive, ["deep/A.root"], target, {})
    assert not (tmp_path / "A.root").exists()


@pytest.mark.parametrize("name", ["../A.root", "deep/../../A.root", "/tmp/jetloom-A.root"])
@pytest.mark.parametrize("where", ["file", "raw"])
def test_a_name_outside_the_raw_directory_is_refused_before_anything_is_loaded(tmp_path, name, where):
    file = RemoteFile.model_construct(name="a.tar", url=None, md5=None, sha256=None, size=None, holds=[], rename={})
    data = dataset({"name": "a.tar"}).model_copy(
        update={"files": [file.model_copy(update={"name": name} if where == "file" else {"holds": [name]})]}
    )
    with pytest.raises(JetloomError, match="is outside the directory of the raw files") as caught:
        download(data, tmp_path / "raw", names=[name], patience=QUICK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw").exists()
