"""The journal: an append-only file of one JSON record a line, the only truth of a run.

It has the format of Optuna's JournalFileBackend, so Optuna's own tools read it. A run has one writer, so there is no
lock and no wait for the disk on each record: a record is in the operating system's hands once `append_logs` returns, and
killing any process loses nothing.
"""

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from search_spaces.errors import InputError


class Journal(BaseJournalBackend):
    """Reads the file once, drops a record that was cut off while being written, then appends.

    Raises InputError for a damaged record, with its line, and when the disk is full.
    """

    def __init__(self, path: Path, writable: bool = True) -> None:
        self._path = path
        self._records, whole = _read(path)
        self._file: int | None = None
        if writable:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.ftruncate(self._file, whole)
            os.lseek(self._file, whole, os.SEEK_SET)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        assert self._file is not None, "this journal was opened for reading"
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        start = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            written = os.write(self._file, data)
            if written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            os.ftruncate(self._file, start)
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; what was learnt until now is kept, `nas resume` goes on"
            ) from None
        self._records += json.loads(f"[{','.join(data.decode().splitlines())}]")


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records, and the length in bytes of the part that was written whole."""
    if not path.exists():
        return [], 0
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    records = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or "op_code" not in record:
                raise ValueError
        except ValueError:
            raise InputError(f"{path}, line {number}: damaged record; the lines before it are whole") from None
        records.append(record)
    return records, whole
