"""The journal: an append-only file of one JSON record a line, the only truth of a run.

It has the format of Optuna's JournalFileBackend, so Optuna's own tools read it. Each record ends in a checksum of itself and
of all before it, a field that those tools pass over: what is not as it was written is noticed, wherever it is.

A run has one writer, so there is no lock. A record is in the operating system's hands once `append_logs` returns, and
killing any process loses nothing; it is on the disk as well once it tells what was learnt, and a power cut loses no more than a
proposal that was being made. An append that is interrupted, as Ctrl-C may do at any instruction, has not been: the next one
writes in its place.
"""

import json
import os
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection

from search_spaces.durable import sync
from search_spaces.errors import InputError

_SEAL = re.compile(rb',"crc32":"([0-9a-f]{8})"\}$')
_ASKED = (5, 8)  # Optuna's operations for a parameter and an attribute of a trial: parts of a proposal that is being made
_Read = TypeVar("_Read")


class _End(NamedTuple):
    """Where a journal ends: what is behind it, in the file or in memory, was left by an append that did not return."""

    records: int
    bytes: int
    crc: int


class Journal(BaseJournalBackend):
    """Reads the file once, drops a record that was cut off while being written, then appends.

    One that does not exist is begun, where it is `writable`. Raises InputError for a record that is not as it was written, with
    its line, where no record is left, and when the file cannot be read or the disk is full.
    """

    def __init__(self, path: Path, writable: bool = True) -> None:
        self.path = path
        self._file: int | None = None
        try:
            is_new = writable and not path.exists()
            self._records, whole, crc = ([], 0, 0) if is_new else _read(path, path.read_bytes())
            self._end = _End(len(self._records), whole, crc)
            if writable:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
                os.ftruncate(self._file, whole)
            if is_new:
                sync(path.parent)
        except OSError as error:
            raise InputError(f"cannot open {path}: {error.strerror}") from None

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._records[log_number_from : self._end.records]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        assert self._file is not None, "this journal was opened for reading"
        end, bodies = self._end, [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        lines, crc = [], end.crc
        for body in bodies:
            crc = zlib.crc32(body, crc)
            lines.append(b'%b,"crc32":"%08x"}\n' % (body[:-1], crc))
        data = b"".join(lines)
        self._write(data, end.bytes, any(log["op_code"] not in _ASKED for log in logs))
        self._records[end.records :] = map(json.loads, bodies)
        self._end = _End(end.records + len(logs), end.bytes + len(data), crc)  # the one step with which they have been appended

    def _write(self, data: bytes, start: int, learnt: bool) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, start)
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], start + written)
            if learnt:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, start)
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; what was learnt until now is kept, `nas resume` goes on"
            ) from None


def storage_of(journal: Journal) -> JournalStorage:
    """Optuna's storage of a journal; raises InputError where its records are whole and yet make no sense together."""
    return understood(journal.path, lambda: JournalStorage(journal))


def understood(path: Path, read: Callable[[], _Read]) -> _Read:
    """What `read` makes of a journal's records; raises InputError for whatever it stumbles over."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{path}: damaged: {error}") from None
    except Exception as error:  # noqa: BLE001 on records that make no sense readers raise whatever they stumble over
        raise InputError(f"{path}: damaged: its records make no sense together: {type(error).__name__}: {error}") from None


def _read(path: Path, data: bytes) -> tuple[list[dict[str, Any]], int, int]:
    """The records, the length in bytes of the part that was written whole, and the checksum of its last record."""
    whole = data.rfind(b"\n") + 1
    if not whole:
        what = (
            "is empty"
            if not data
            else "holds no whole record"
            if data.strip(b"\0")
            else "holds zeros alone, as after a power cut"
        )
        raise InputError(f"{path} is damaged: it {what}; the run can be told from a copy of that file only")
    records, crc = [], 0
    *lines, tail = data.split(b"\n")
    for number, line in enumerate([*lines, tail] if _SEAL.search(tail[:-1]) else lines, 1):  # sealed, but for the line's end
        try:
            record, crc = _unsealed(line, crc)
        except (ValueError, RecursionError):
            raise InputError(
                f"{path}, line {number}: damaged: the record is not as it was written, or one before it is missing; "
                "the lines before it are whole"
            ) from None
        records.append(record)
    return records, whole, crc


def _unsealed(line: bytes, crc: int) -> tuple[dict[str, Any], int]:
    """The record in a line that follows one with the checksum `crc`, and its own; raises ValueError."""
    seal = _SEAL.search(line)
    if not seal:
        raise ValueError("no checksum")
    body = line[: seal.start()] + b"}"
    if zlib.crc32(body, crc) != int(seal[1], 16):
        raise ValueError("another checksum")
    return json.loads(body), int(seal[1], 16)


MAIN = "nas"  # the name of the search in its journal


def begin(path: Path, cost: str | None) -> None:
    """A new journal, in which a search with this second objective, if any, has begun."""
    open_study(storage_of(Journal(path)), MAIN, cost)


def open_study(storage: optuna.storages.JournalStorage, name: str, cost: str | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [StudyDirection.MAXIMIZE, *([StudyDirection.MINIMIZE] if cost else [])]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    if cost and study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["accuracy", cost])
    return study
