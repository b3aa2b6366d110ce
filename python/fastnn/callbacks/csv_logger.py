"""Writing the history to a file while it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastnn.callbacks.base import Callback


class CSVLogger(Callback):
    """Write a line for each epoch, at once.

    Args:
        path: Where to.
        append: Whether a file that is there is continued; its columns stay as they are.
        separator: Between columns.

    Raises:
        OSError: The file can not be written.
        ValueError: ``separator`` is not one character.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False, separator: str = ",") -> None:
        from pathlib import Path  # noqa: PLC0415  (importing fastnn is to stay quick)

        if not isinstance(separator, str) or len(separator) != 1:
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
            self._path.write_text("", encoding="utf-8")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        import csv  # noqa: PLC0415  (importing fastnn is to stay quick)

        row = {"epoch": epoch, **logs}
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self._separator, lineterminator="\n")
            if not self._columns:
                self._columns = list(row)
                writer.writerow(self._columns)
            writer.writerow([row.get(column, "") for column in self._columns])
