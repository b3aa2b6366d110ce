"""Writing the history to a file while it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastnn._files import append_line, write_whole
from fastnn.callbacks.base import Callback


class CSVLogger(Callback):
    """Write a line for each epoch, at once.

    Args:
        path: Where to.
        append: Whether a file that is there is continued; its columns stay as they are.
        separator: Between columns.

    Raises:
        OSError: The file cannot be written.
        TypeError: A setting is of another type.
        ValueError: ``separator`` is not one character.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False, separator: str = ",") -> None:
        from pathlib import Path  # noqa: PLC0415  (importing fastnn is to stay quick)

        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"CSVLogger: expected path to be a str or a path; got {type(path).__name__}")
        if not isinstance(append, bool):
            raise TypeError(f"CSVLogger: expected append to be a bool; got {append!r}")
        if not isinstance(separator, str):
            raise TypeError(f"CSVLogger: expected separator to be a str; got {separator!r}")
        if len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"CSVLogger: expected separator to be one character; got {separator!r}")
        self._path = Path(path)
        self._append = append
        self._separator = separator
        self._columns: list[str] = []

    def on_fit_begin(self) -> None:
        import csv  # noqa: PLC0415  (importing fastnn is to stay quick)

        self._columns = []
        if self._append and self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file, delimiter=self._separator), [])
        else:
            write_whole(self._path, lambda file: file.write(b""))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        import csv  # noqa: PLC0415  (importing fastnn is to stay quick)
        import io  # noqa: PLC0415

        row = {"epoch": epoch, **logs}
        columns = self._columns or list(row)
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self._separator, lineterminator="\n")
        if not self._columns:
            writer.writerow(columns)
        writer.writerow([row.get(column, "") for column in columns])
        append_line(self._path, text.getvalue())
        self._columns = columns
