"""Writing files whole: a new one takes the place of an old one at once, or not at all.

Data go to a file without a name in the same folder, or, where the file system has none, to one with a name of its own;
it gets the permissions of the file that it replaces, reaches the disk, and is then given its name. A writer holds a
lock on its file, so that what a killed one has left is told from what another is writing: the next who writes to the
same path takes it away.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastnn._core import Undo

try:
    import fcntl
except ImportError:  # Windows, which locks what is open by itself
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".fastnn-tmp"
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_writes_unnamed = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}


def write_whole(path: str | os.PathLike[str], write: Callable[[Any], None]) -> None:
    """Write a file, which takes the place of an older one at once, or not at all.

    A symbolic link is followed, as ``open(path, "w")`` does; a device or a pipe is written to as it is.

    Args:
        path: Where to.
        write: Called with a binary file.

    Raises:
        OSError: The file cannot be written; an older one is as it was.
    """
    target = os.path.realpath(_writable_name(path))
    old = _stat(target, path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        _write_into(target, write)
        return
    folder, name = os.path.split(target)
    _take_leftovers_away(folder, name)
    temporary = os.path.join(folder, f"{_start(name)}{os.urandom(8).hex()}{_SUFFIX}")
    if not (_writes_unnamed and _write(target, temporary, write, old, named=False)):
        _write(target, temporary, write, old, named=True)
    _sync_folder(folder)


def _write(
    target: str, temporary: str, write: Callable[[Any], None], old: os.stat_result | None, *, named: bool
) -> bool:
    """Write a new file and put it in the target's place; return whether the file system has files without names."""
    folder = os.path.dirname(target)
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)
    with Undo() as undo:
        # Before the file is made, so that there is no moment at which nobody would take it away.
        undo.call(_forget, temporary)
        descriptor = _named_file(temporary, mode) if named else _unnamed_file(folder, mode)
        if descriptor is None:
            return False
        with open(descriptor, "wb") as file:
            if old is not None:
                _permit(descriptor, old)
            write(file)
            file.flush()
            os.fsync(descriptor)
            if not named and not _give_name(descriptor, folder, temporary):
                return False
            if os.name == "posix":
                os.replace(temporary, target)
        if os.name != "posix":
            # Windows renames nothing that is open.
            os.replace(temporary, target)
    return True


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line to a file, in one write.

    Raises:
        OSError: The file cannot be written.
    """
    with open(_writable_name(path), "ab", buffering=0) as file:
        file.write(line.encode())


def save_figure(figure: Any, path: Any, dpi: int) -> None:
    """Save a matplotlib figure, in the format that the path ends with; the path may be a file."""
    if hasattr(path, "write"):
        figure.savefig(path, dpi=dpi)
        return
    where = os.fspath(path)
    extension = os.path.splitext(where)[1][1:]
    if not extension:
        extension = figure.canvas.get_default_filetype()
        where = f"{where.rstrip('.')}.{extension}"
    write_whole(where, lambda file: figure.savefig(file, format=extension.lower(), dpi=dpi))


def open_regular(path: str | os.PathLike[str]) -> Any:
    """Open a regular file for reading, unbuffered; nothing else is waited for, or touched.

    Raises:
        ValueError: It is a pipe, a socket or a device.
        OSError: It is a folder, or cannot be read.
    """
    _writable_name(path)
    _check_regular(os.stat(path).st_mode, path)
    # It may have become a pipe since, on which a plain `open` would wait.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = open(descriptor, "rb", buffering=0)  # noqa: SIM115  (the caller's to close)
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
    except BaseException:
        file.close()
        raise
    return file


def _writable_name(path: str | os.PathLike[str]) -> str:
    """Return a path as text.

    Raises:
        ValueError: It has characters that no name of a file has, such as half of a surrogate pair or a zero.
    """
    name = os.fsdecode(path)
    try:
        if b"\0" not in os.fsencode(name):
            return name
    except UnicodeEncodeError:
        pass
    raise ValueError(f"expected a path that a file can have; got {name!r}")


def _check_regular(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise ValueError(f"it is {kind}")


def _stat(target: str, path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what the file that there is has, if there is one.

    Raises:
        OSError: It is a folder, a loop of links, or must not be written.
    """
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return found


def _permit(descriptor: int, old: os.stat_result) -> None:
    """Give a file the owner and the permissions of another, as far as that is allowed."""
    if not hasattr(os, "fchmod"):
        return
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with suppress(OSError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _write_into(target: str, write: Callable[[Any], None]) -> None:
    # A pipe that nobody reads is an error, not something to wait for.
    descriptor = os.open(target, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "wb") as file:
        if os.name == "posix":
            os.set_blocking(descriptor, True)
        write(file)


def _named_file(temporary: str, mode: int) -> int:
    """Return the descriptor of a new file, locked."""
    while True:
        descriptor = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, mode)
        _lock(descriptor)
        if fcntl is None or os.fstat(descriptor).st_nlink:
            return descriptor
        # Another writer took it for a leftover before it was locked.
        os.close(descriptor)


def _unnamed_file(folder: str, mode: int) -> int | None:
    """Return the descriptor of a new file without a name, locked; ``None`` if the file system has none."""
    try:
        descriptor = os.open(folder, _FLAGS | os.O_TMPFILE, mode)
    except OSError as error:
        if error.errno in _NO_TMPFILE:
            return None
        raise
    _lock(descriptor)
    return descriptor


def _give_name(descriptor: int, folder: str, temporary: str) -> bool:
    """Give a file a name for the moment, as one without cannot replace another; return whether that works."""
    parent = os.open(folder, os.O_RDONLY)
    try:
        # With a folder's descriptor, as only then Python has the link followed.
        os.link(f"/proc/self/fd/{descriptor}", os.path.basename(temporary), dst_dir_fd=parent, follow_symlinks=True)
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP}:
            return False
        raise
    finally:
        os.close(parent)
    return True


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _start(name: str) -> str:
    return f".{name[:40]}."


def _take_leftovers_away(folder: str, name: str) -> None:
    """Remove temporary files for this path whose writers are gone: nobody holds a lock on them."""
    if fcntl is None:
        return
    start = _start(name)
    try:
        names = [found for found in os.listdir(folder) if found.startswith(start) and found.endswith(_SUFFIX)]
    except OSError:
        return
    for found in names:
        if len(found) != len(start) + 16 + len(_SUFFIX):
            continue
        leftover = os.path.join(folder, found)
        try:
            descriptor = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(leftover)
        finally:
            os.close(descriptor)


def _forget(temporary: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Have the new name reach the disk, where folders can be synced."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
