"""Files that are written: whole or not at all, by several at once, with their permissions; and what is no file."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _files, nn, optim

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")


@pytest.fixture(params=["without a name", "with a name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing, whichever the file system has."""
    if request.param == "with a name":
        monkeypatch.setattr(_files, "_writes_unnamed", False)
    return request.param


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_stay(tmp_path: Path, way: str, mode: int) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(mode)
    fnn.save({"a": np.ones(3)}, path)
    assert mode_of(path) == mode
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_those_of_the_umask(tmp_path: Path, way: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        fnn.save({"a": np.ones(3)}, tmp_path / "x")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "x") == 0o666 & ~umask


@posix
def test_links_are_followed(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder / "x")  # which is not there yet
    for value in (1.0, 2.0):
        fnn.save({"a": np.full(3, value)}, tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert fnn.load(folder / "x")["a"].tolist() == [value] * 3
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="loop"):
        fnn.save({"a": np.ones(3)}, tmp_path / "loop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link", "loop"]


@posix
def test_what_is_no_regular_file(tmp_path: Path, way: str) -> None:
    with pytest.raises(IsADirectoryError):
        fnn.save({"a": np.ones(3)}, tmp_path)
    with pytest.raises(IsADirectoryError):
        fnn.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fnn.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        fnn.save({"a": np.ones(3)}, tmp_path / "none" / "x")
    fnn.save({"a": np.ones(3)}, "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    for name, what in (("/dev/null", "a device"), ("/dev/zero", "a device"), (str(tmp_path / "pipe"), "a pipe")):
        if what == "a pipe":
            os.mkfifo(name)
        with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
            fnn.load(name)
        assert str(caught.value) == f"load: expected a safetensors file at {name!r}, but it is {what}"
    with pytest.raises(OSError, match="No such device or address"):
        fnn.save({"a": np.ones(3)}, tmp_path / "pipe")  # nobody reads it
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_must_not_be_written(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        fnn.save({"a": np.ones(3)}, path)
    assert path.read_text() == "old"


def test_threads_that_write_one_path(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x"
    errors: list[BaseException] = []

    def write(value: float) -> None:
        try:
            for _ in range(10):
                fnn.save({"a": np.full(1000, value)}, path)
                assert len(set(fnn.load(path)["a"].tolist())) == 1
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(tmp_path.iterdir()) == [path]


ENDLESS = """
import sys
import numpy as np
import fastnn as fnn
from fastnn import _files

_files._writes_unnamed = sys.argv[2] == "without a name" and _files._writes_unnamed
print("ready", flush=True)
while True:
    fnn.save({"a": np.zeros(300_000)}, sys.argv[1])
"""


@posix
def test_what_a_killed_writer_leaves_goes_with_the_next_save(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x"
    fnn.save({"a": np.ones(3)}, path)
    for _ in range(4):
        command = [sys.executable, "-c", ENDLESS, str(path), way]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            # While it writes: whatever is there now is there by chance.
            while child.poll() is None and path.stat().st_size < 1000:
                pass
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert fnn.load(path)["a"].sum().item() in {0.0, 3.0}
    # One that certainly was left, and what looks like it but is another's.
    left = tmp_path / f".x.{16 * '0'}{_files._SUFFIX}"
    other = tmp_path / f".x.y.{16 * '0'}{_files._SUFFIX}"
    left.write_text("left")
    other.write_text("other")
    fnn.save({"a": np.ones(3)}, path)
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([path.name, other.name])


@posix
def test_what_another_writes_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "_writes_unnamed", False)
    path = tmp_path / "x"

    def slowly(file: Any) -> None:
        file.write(b"slow")
        fnn.save({"a": np.ones(3)}, path)
        assert len(list(tmp_path.iterdir())) == 2

    _files.write_whole(path, slowly)
    assert path.read_bytes() == b"slow"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail(file: Any) -> None:
        file.write(b"new")
        raise ArithmeticError("no more")

    with pytest.raises(ArithmeticError, match="no more"):
        _files.write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_writer_goes_through_one_place() -> None:
    writing = re.compile(r"""open\([^)\n]*["'][wax]b?\+?["']|write_text\(|write_bytes\(|\.savefig\(|np\.save""")
    for source in Path(fnn.__file__).parent.rglob("*.py"):
        found = writing.search(source.read_text())
        assert found is None or source.name == "_files.py", f"{source.name} writes a file by itself: {found}"


def test_pictures_and_logs(tmp_path: Path, way: str) -> None:
    pytest.importorskip("matplotlib")
    model = nn.Linear(3, 2)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    log = fnn.callbacks.CSVLogger(tmp_path / "log.csv")
    history = trainer.fit(np.ones((4, 3), np.float32), np.zeros(4, np.int64), epochs=2, callbacks=[log], verbose=False)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    for name, begin in (("a.png", b"\x89PNG"), ("b.PDF", b"%PDF"), ("c", b"\x89PNG")):
        history.plot(tmp_path / name)
        written = tmp_path / (name if "." in name else f"{name}.png")
        assert written.read_bytes().startswith(begin)
    assert len(list(tmp_path.iterdir())) == 4


@posix
def test_rubbish_is_not_read(tmp_path: Path) -> None:
    """A file of a terabyte, of which nothing is there: only its first bytes are read."""
    path = tmp_path / "x"
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    for begin, reason in (
        (b"rubbish!", f"its header would have {int.from_bytes(b'rubbish!', 'little')} bytes"),
        (len(header).to_bytes(8, "little") + header, "its tensors take 4 bytes"),
        (b"PK\x03\x04", "it is a file of torch.save"),
        ((2**20).to_bytes(8, "little"), "its header is not"),
    ):
        with path.open("wb") as file:
            file.write(begin)
            file.truncate(2**40)
        with pytest.raises(ValueError, match=reason):
            fnn.load(path)


def test_mapped_tensors_are_read_where_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "x"
    arrays = {"a": np.arange(5.0), "b": np.ones(3, np.float32), "c": np.zeros((0, 2)), "d": np.array([True]),
              "e": np.array(7)}  # fmt: skip
    fnn.save(arrays, path)
    state = fnn.load(path, mmap=True)
    assert list(state) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name].numpy(), array)
    state["a"].fill_(3.0)
    fnn.save({"a": np.zeros(5)}, path)  # takes the file's place
    assert state["a"].tolist() == [3.0] * 5
    assert state["b"].tolist() == [1.0] * 3
    assert fnn.load(path)["a"].tolist() == [0.0] * 5
    with pytest.raises(TypeError, match=r"^load: expected mmap to be a bool; got 1$"):
        fnn.load(path, mmap=1)


@pytest.mark.parametrize(
    ("state", "metadata", "error", "message"),
    [
        ({"__metadata__": np.ones(1)}, None, ValueError,
         "save: expected no key '__metadata__', which is the place of metadata"),
        ({"\ud800": np.ones(1)}, None, ValueError, "save: expected keys that UTF-8 can hold; got '\\ud800'"),
        ({"a": [[1.0], [1.0, 2.0]]}, None, ValueError, None),
        ({"a": "text"}, None, TypeError, "save: expected 'a' to be a tensor or an array of numbers; got dtype <U4"),
        ({"a": np.ones(1)}, 3, TypeError, "save: expected metadata to be a mapping of text; got int"),
        ({"a": np.ones(1)}, {"a": 3}, TypeError, "save: expected values of metadata to be str; got 3"),
        ({"a": np.ones(1)}, {3: "a"}, TypeError, "save: expected keys of metadata to be str; got 3"),
    ],
)  # fmt: skip
def test_what_can_not_be_written_is_named(
    tmp_path: Path, state: Any, metadata: Any, error: type[Exception], message: str | None
) -> None:
    with pytest.raises(error) as caught:
        fnn.save(state, tmp_path / "x", metadata)
    assert message is None or str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [3, None, [], b"bytes", 1.5])
def test_paths_are_paths(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^save: expected path to be a str or a path; got "):
        fnn.save({"a": np.ones(1)}, path)
    with pytest.raises(TypeError, match=r"^load: expected path to be a str or a path; got "):
        fnn.load(path)
