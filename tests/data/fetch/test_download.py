"""Downloads against a server that behaves badly, and against directories."""

import json
import signal
import subprocess
import sys
import time
from collections import namedtuple

import pytest

from jetloom.data.fetch import archives, transfer
from jetloom.data.fetch.download import download
from jetloom.errors import JetloomError
from tests.support.downloads import CONTENT, QUICK, dataset, md5, sha256, visible
from tests.support.http_server import served
from tests.support.project import ROOT

pytestmark = pytest.mark.seconds


def fetch(site, output, *, known=True, **settings):
    """The file a.bin from a server."""
    file = {"name": "a.bin", "url": f"{site.url}/a.bin?download=1"} | ({"md5": md5(CONTENT)} if known else {})
    return download(dataset(file), output, patience=QUICK, **settings)


def test_a_file_arrives_whole(tmp_path):
    with served(files={"a.bin": CONTENT}) as site:
        assert fetch(site, tmp_path) == [tmp_path / "a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert site.statuses() == [200]
    assert visible(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_that_keeps_breaking_is_resumed_where_it_broke(tmp_path, known):
    with served(files={"a.bin": CONTENT}, cut_after=70_000) as site:
        fetch(site, tmp_path, known=known)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for _, wanted, _ in site.seen[1:]]
    assert site.statuses() == [200, 206, 206, 206, 206]
    assert starts == [70_000, 140_000, 210_000, 280_000]


def test_a_server_without_ranges_begins_again_and_the_file_is_right(tmp_path):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/a.bin.part").write_bytes(CONTENT[:1000])
    with served(files={"a.bin": CONTENT}, ranges=False) as site:
        fetch(site, tmp_path)
    assert site.seen == [("/a.bin?download=1", "bytes=1000-", 200)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_is_given_up(tmp_path):
    with (
        served(files={"a.bin": CONTENT}, ranges=False, cut_after=10_000) as site,
        pytest.raises(JetloomError, match=r"not to be had.*127\.0\.0\.1.*give the command again"),
    ):
        fetch(site, tmp_path)
    assert len(site.seen) == QUICK.attempts + 1
    assert visible(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(tmp_path, status):
    with served(files={"a.bin": CONTENT}, refusals=[status] * 4) as site:
        fetch(site, tmp_path)
    assert site.statuses() == [status] * 4 + [200]


def test_a_server_that_says_when_to_come_back_is_obeyed(tmp_path):
    with served(files={"a.bin": CONTENT}, refusals=[429], retry_after="1") as site:
        start = time.monotonic()
        fetch(site, tmp_path)
    assert time.monotonic() - start >= 1.0


def test_a_server_that_stays_broken_is_named_with_its_answer(tmp_path):
    with (
        served(files={"a.bin": CONTENT}, refusals=[500] * 100) as site,
        pytest.raises(JetloomError, match="500 Internal Server Error") as caught,
    ):
        fetch(site, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_asked_for_again_and_the_next_mirror_is(tmp_path):
    with served(files={}) as empty, served(files={"a.bin": CONTENT}) as good:
        fetch(good, tmp_path, mirrors=[empty.url])
    assert empty.statuses() == [404]
    assert good.statuses() == [200]


def test_a_dead_server_leads_to_the_next_mirror(tmp_path):
    with served(files={}) as dead:
        pass
    with served(files={"a.bin": CONTENT}) as good:
        fetch(good, tmp_path, mirrors=[dead.url])
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_another_mirror_goes_on_where_the_first_broke_off_if_the_checksum_is_known(tmp_path, monkeypatch):
    with (
        served(files={"a.bin": CONTENT}, cut_after=50_000) as first,
        served(files={"a.bin": CONTENT}, version='"other"') as second,
    ):
        original = transfer.Transfer._receive

        def receive(self, session, url):
            if url.startswith(first.url) and self.digests.size:
                raise transfer.UnavailableError("gone after the first break")
            return original(self, session, url)

        monkeypatch.setattr(transfer.Transfer, "_receive", receive)
        fetch(second, tmp_path, mirrors=[first.url])
    assert second.seen == [("/a.bin?download=1", "bytes=50000-", 206)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_file_that_changed_between_two_tries_is_not_patched_together(tmp_path):
    newer = CONTENT[::-1]
    with served(files={"a.bin": CONTENT}, cut_after=50_000) as site:
        original = transfer.Transfer._receive

        def receive(self, session, url):
            if self.digests.size:
                site.files, site.version, site.cut_after = {"a.bin": newer}, '"2"', None
            return original(self, session, url)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer.Transfer, "_receive", receive)
            fetch(site, tmp_path, known=False)
    assert site.statuses() == [200, 200]
    assert (tmp_path / "a.bin").read_bytes() == newer


def test_a_partial_copy_longer_than_the_file_is_thrown_away(tmp_path):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/a.bin.part").write_bytes(CONTENT + b"more")
    with served(files={"a.bin": CONTENT}) as site:
        fetch(site, tmp_path)
    assert site.statuses() == [416, 200]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_complete_partial_copy_needs_no_byte(tmp_path):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/a.bin.part").write_bytes(CONTENT)
    with served(files={"a.bin": CONTENT}) as site:
        fetch(site, tmp_path)
    assert site.statuses() == [416]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [CONTENT[:-1], b"x" + CONTENT[1:]], ids=["truncated", "corrupted"])
def test_a_wrong_file_is_kept_aside_with_both_sums(tmp_path, wrong):
    with served(files={"a.bin": wrong}) as site:
        with pytest.raises(JetloomError) as caught:
            fetch(site, tmp_path)
        message = str(caught.value)
        assert md5(wrong) in message
        assert md5(CONTENT) in message
        assert visible(tmp_path) == []
        aside = tmp_path / f".download/a.bin.wrong-{sha256(wrong)[:8]}"
        assert str(aside) in message
        assert aside.read_bytes() == wrong
        # The command given again does not resume from the wrong bytes.
        site.files["a.bin"] = CONTENT
        fetch(site, tmp_path)
    assert site.statuses() == [200, 200]


def test_a_file_of_another_size_is_refused_before_it_is_loaded(tmp_path):
    with served(files={"a.bin": CONTENT}) as site:
        file = {"name": "a.bin", "url": f"{site.url}/a.bin", "size": 5}
        with pytest.raises(JetloomError, match="has 300000 bytes, expected 5"):
            download(dataset(file), tmp_path, patience=QUICK)
    assert not (tmp_path / ".download/a.bin.part").exists()


def test_a_truncated_answer_without_a_length_is_noticed_by_the_checksum(tmp_path):
    with (
        served(files={"a.bin": CONTENT}, length=False, cut_after=1000) as site,
        pytest.raises(JetloomError, match="after 1000 bytes"),
    ):
        fetch(site, tmp_path)
    assert visible(tmp_path) == []


def test_a_web_page_is_not_taken_for_data(tmp_path):
    with (
        served(files={"a.bin": b"<html>Log in</html>"}, content_type="text/html; charset=utf-8") as site,
        pytest.raises(JetloomError, match="web page"),
    ):
        fetch(site, tmp_path, known=False)
    assert not (tmp_path / "checksums.json").exists()


def test_an_unknown_checksum_is_learnt_and_a_later_change_is_an_error(tmp_path):
    pins = tmp_path / "checksums.json"
    with served(files={"a.bin": CONTENT}) as site:
        fetch(site, tmp_path / "one", known=False, checksums=pins)
        assert json.loads(pins.read_text())["a.bin"]["sha256"] == sha256(CONTENT)
        site.files["a.bin"] = b"new " + CONTENT
        with pytest.raises(JetloomError) as caught:
            fetch(site, tmp_path / "two", known=False, checksums=pins)
    assert sha256(CONTENT) in str(caught.value)
    assert sha256(b"new " + CONTENT) in str(caught.value)
    assert str(pins) in str(caught.value)
    assert json.loads(pins.read_text())["a.bin"]["sha256"] == sha256(CONTENT)


def test_a_file_without_a_checksum_is_not_called_verified(tmp_path, capfd):
    with served(files={"a.bin": CONTENT}) as site:
        for known in (True, False):
            fetch(site, tmp_path / str(known), known=known)
            said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("a.bin:")]
            assert [line.endswith(", verified") for line in said] == [known]
            assert ["not verified: no checksum is published" in line for line in said] == [not known]


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"a.bin": {}}', '{"a.bin": 1}', "\\"])
def test_learnt_checksums_that_are_none_are_one_line(tmp_path, content):
    (tmp_path / "checksums.json").write_text(content)
    with served(files={"a.bin": CONTENT}) as site, pytest.raises(JetloomError, match="not the JSON file") as caught:
        fetch(site, tmp_path, known=False)
    assert "\n" not in str(caught.value)


def test_what_is_there_is_verified_and_not_loaded_again(tmp_path):
    with served(files={"a.bin": CONTENT}) as site:
        fetch(site, tmp_path)
        fetch(site, tmp_path)
        # A workflow deletes the outputs of a failed job; the download stays.
        (tmp_path / "a.bin").unlink()
        fetch(site, tmp_path)
        assert len(site.seen) == 1
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
        (tmp_path / ".download/a.bin").write_bytes(b"rot")
        with pytest.raises(JetloomError, match=md5(b"rot")):
            fetch(site, tmp_path)


@pytest.mark.parametrize("spelling", ["{}", "file://{}"])
def test_a_local_mirror_is_used_without_copying(tmp_path, spelling):
    mirror = tmp_path / "site copy"
    mirror.mkdir()
    (mirror / "a.bin").write_bytes(CONTENT)
    file = {"name": "a.bin", "md5": md5(CONTENT)}
    [path] = download(dataset(file, mirrors=[spelling.format(mirror)]), tmp_path / "raw", patience=QUICK)
    assert path.is_symlink()
    assert path.resolve() == mirror / "a.bin"


def test_a_wrong_file_of_a_local_mirror_is_left_alone(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/a.bin").write_bytes(b"other")
    file = {"name": "a.bin", "md5": md5(CONTENT)}
    with pytest.raises(JetloomError, match="left as it is"):
        download(dataset(file, mirrors=[str(tmp_path / "mirror")]), tmp_path / "raw", patience=QUICK)
    assert (tmp_path / "mirror/a.bin").read_bytes() == b"other"


def test_a_mirror_of_an_unknown_kind_is_an_error(tmp_path):
    file = {"name": "a.bin", "md5": md5(CONTENT)}
    with pytest.raises(JetloomError, match=r"root://.*http://"):
        download(dataset(file, mirrors=["root://server/data"]), tmp_path, patience=QUICK)


def test_a_raw_file_that_nobody_offers_is_an_error_before_anything_is_loaded(tmp_path):
    with pytest.raises(JetloomError, match=r"no entry of `files` holds b\.bin.*raw"):
        download(dataset({"name": "a.bin"}, raw=["a.bin", "b.bin"]), tmp_path)


def test_several_files_come_at_once_and_one_failure_does_not_stop_the_others(tmp_path):
    contents = {f"{letter}.bin": letter.encode() * 1000 for letter in "abcdef"}
    with served(files={name: data for name, data in contents.items() if name != "c.bin"}) as site:
        files = [{"name": name, "url": f"{site.url}/{name}", "md5": md5(data)} for name, data in contents.items()]
        with pytest.raises(JetloomError, match=r"^c\.bin"):
            download(dataset(*files), tmp_path, patience=QUICK, jobs=3)
        assert visible(tmp_path) == []
        site.files = contents
        download(dataset(*files), tmp_path, patience=QUICK, jobs=3)
        assert len(site.seen) == 7
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")} == contents


def test_a_killed_download_goes_on_where_it_was(tmp_path):
    code = """
import sys
from pathlib import Path
from tests.support.downloads import dataset, md5, CONTENT, QUICK
from jetloom.data.fetch.download import download
download(dataset({"name": "a.bin", "url": sys.argv[1], "md5": md5(CONTENT)}), Path(sys.argv[2]), patience=QUICK)
"""
    with served(files={"a.bin": CONTENT}, hold_after=290_000) as site:
        process = subprocess.Popen([sys.executable, "-c", code, f"{site.url}/a.bin", str(tmp_path / "raw")], cwd=ROOT)
        partial = tmp_path / "raw/.download/a.bin.part"
        deadline = time.monotonic() + 120
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert visible(tmp_path / "raw") == []
        size = partial.stat().st_size
        assert 0 < size < len(CONTENT)
        site.hold_after = None
        fetch(site, tmp_path / "raw")
    assert site.seen[-1][1:] == (f"bytes={size}-", 206)
    assert (tmp_path / "raw/a.bin").read_bytes() == CONTENT


def test_two_downloads_of_the_same_file_do_not_meet(tmp_path):
    import fcntl

    (tmp_path / ".download").mkdir()
    with (tmp_path / ".download/a.bin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JetloomError, match="another download is at work"):
            download(dataset({"name": "a.bin"}), tmp_path)


def test_downloads_of_other_files_of_the_directory_run_beside_and_learn_their_sums_together(tmp_path):
    code = """
import sys
from pathlib import Path
from tests.support.downloads import dataset, QUICK
from jetloom.data.fetch.download import download
names = ("a.bin", "b.bin", "c.bin")
files = [{"name": name, "url": f"{sys.argv[1]}/{name}"} for name in names]
download(dataset(*files), Path(sys.argv[2]), files=sys.argv[3:], patience=QUICK)
"""
    names = ["a.bin", "b.bin", "c.bin"]
    with served(files={name: CONTENT + name.encode() for name in names}) as site:
        running = [
            subprocess.Popen([sys.executable, "-c", code, site.url, str(tmp_path / "raw"), name], cwd=ROOT)
            for name in names
        ]
        assert [process.wait() for process in running] == [0, 0, 0]
    assert visible(tmp_path / "raw") == [*names, "checksums.json"]
    learnt = json.loads((tmp_path / "raw/checksums.json").read_text())
    assert {name: entry["sha256"] for name, entry in learnt.items()} == {
        name: sha256(CONTENT + name.encode()) for name in names
    }


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage(10**12, 0, 3 * 10**9))
    with served(files={"a.bin": CONTENT}) as site:
        file = {"name": "a.bin", "url": f"{site.url}/a.bin", "size": 7 * 10**9}
        with pytest.raises(JetloomError, match=r"needs 7\.0 GB, 3\.0 GB are free"):
            download(dataset(file), tmp_path, patience=QUICK)
        assert site.seen == []
        # A size that only the server knows is checked before the first byte is kept.
        monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage(10**12, 0, 10**8))
        with pytest.raises(JetloomError, match=r"a\.bin needs 0\.0 GB"):
            fetch(site, tmp_path)
    assert not (tmp_path / ".download/a.bin.part").exists()


def test_a_log_gets_lines_with_rate_and_remaining_time(tmp_path, capfd, monkeypatch):
    from jetloom.data.fetch import progress

    monkeypatch.setattr(progress, "EVERY", 0.0)
    with served(files={"a.bin": CONTENT}, cut_after=50_000) as site:
        fetch(site, tmp_path)
    text = capfd.readouterr().err
    assert "a.bin: 300,000 bytes from" in text
    assert "a.bin: 50.0 kB of 300.0 kB" in text
    assert "/s" in text
