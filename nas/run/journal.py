"""The journal of a run: an append-only file with one JSON record per line, in Optuna's JournalFileBackend format.

Each record ends in a CRC-32 of itself and all records before it, a field that Optuna ignores, so corruption anywhere is
detected.

A run has one writer, so there is no lock here. `append_logs` returns once the record is written to the file, so killing a
process loses nothing. Records that carry results are also fsynced: a power failure loses at most an unfinished proposal. An
interrupted append (Ctrl-C may interrupt at any instruction) is discarded: the next append overwrites it.
"""

import json
import os
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import optuna
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection

from nas.run.storage import Storage
from search_spaces.durable import sync
from search_spaces.errors import InputError

_SEAL = b',"crc32":"%08x"}'  # end of each line
_SEALED = len(_SEAL % 0)
_GENE = b'{"op_code":5,'  # beginning of a record of a trial's parameter
_AT_ONCE = 4096  # records parsed at once, which is faster than one by one
_PROPOSING = (5, 8)  # Optuna's op codes for a trial's parameter and attribute, both part of an unfinished proposal
_Read = TypeVar("_Read")


class _End(NamedTuple):
    """End of the journal; anything after it, in the file or in memory, is from an interrupted append."""

    records: int
    bytes: int
    crc: int


class _Kept(NamedTuple):
    """Records from number `first` on; Optuna does not ask for earlier ones again."""

    first: int
    records: list[dict[str, Any]]


class Journal(BaseJournalBackend):
    """Reads the file once, drops a truncated last record, then appends.

    Creates the file if it does not exist and is `writable`. Raises InputError for a corrupt record (with its line), if no
    record is left, if the file cannot be read, and if the disk is full. Without `genes`, which are most of the records, these
    are verified but left out; such a journal cannot be written.
    """

    def __init__(self, path: Path, writable: bool = True, genes: bool = True) -> None:
        assert genes or not writable
        self.path = path
        self._file: int | None = None
        try:
            is_new = writable and not path.exists()
            records, whole, crc = ([], 0, 0) if is_new else _read(path, path.read_bytes(), genes)
            self._kept, self._end = _Kept(0, records), _End(len(records), whole, crc)
            if writable:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
                os.ftruncate(self._file, whole)
            if is_new:
                sync(path.parent)
        except OSError as error:
            raise InputError(f"cannot open {path}: {error.strerror}") from None

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        kept = self._kept
        assert log_number_from >= kept.first, "these records were read before and are not kept"
        if log_number_from > kept.first:
            self._kept = kept = _Kept(log_number_from, kept.records[log_number_from - kept.first :])
        return kept.records[: self._end.records - kept.first]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        assert self._file is not None, "this journal was opened for reading"
        end, bodies = self._end, [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        lines, crc = [], end.crc
        for body in bodies:
            crc = zlib.crc32(body, crc)
            lines.append(body[:-1] + _SEAL % crc + b"\n")
        data = b"".join(lines)
        self._write(data, end.bytes, any(log["op_code"] not in _PROPOSING for log in logs))
        self._kept.records[end.records - self._kept.first :] = map(json.loads, bodies)
        self._end = _End(end.records + len(logs), end.bytes + len(data), crc)  # the append takes effect here, in one step

    def _write(self, data: bytes, start: int, durable: bool) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, start)
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], start + written)
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, start)
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; all results so far are kept, continue with `nas resume`"
            ) from None


def storage_of(journal: Journal) -> Storage:
    """Optuna storage on a journal; raises InputError if its records are intact but inconsistent."""
    return understood(journal.path, lambda: Storage(journal))


def understood(path: Path, read: Callable[[], _Read]) -> _Read:
    """Return `read()`, with any exception turned into an InputError about the journal."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{path}: damaged: {error}") from None
    except Exception as error:  # noqa: BLE001 inconsistent records may raise anything
        raise InputError(f"{path}: damaged: its records are inconsistent: {type(error).__name__}: {error}") from None


def _read(path: Path, data: bytes, genes: bool) -> tuple[list[dict[str, Any]], int, int]:
    """The records, the length in bytes of the complete lines, and the last record's checksum."""
    whole = data.rfind(b"\n") + 1
    if not whole:
        what = (
            "is empty"
            if not data
            else "holds no complete record"
            if data.strip(b"\0")
            else "holds only zeros, as after a power failure"
        )
        raise InputError(
            f"{path} is damaged: it {what}; restore the file from a backup, there is no other way to recover the run"
        )
    *lines, tail = data.split(b"\n")
    complete = [*lines, tail] if _is_sealed(tail[:-1]) else lines  # only the newline is missing
    bodies, crc = [], 0
    for number, line in enumerate(complete, 1):
        body = line[:-_SEALED] + b"}"
        crc = zlib.crc32(body, crc)
        if line[-_SEALED:] != _SEAL % crc:
            raise _damaged(path, number, line)
        bodies.append(body if genes or not body.startswith(_GENE) else b"null")
    starts = range(0, len(bodies), _AT_ONCE)
    records = [record for start in starts for record in _parsed(path, bodies[start : start + _AT_ONCE], start + 1)]
    return records if genes else [record for record in records if record is not None], whole, crc


def _is_sealed(line: bytes) -> bool:
    return line[-_SEALED:].startswith(_SEAL.partition(b"%")[0]) and line.endswith(b'"}')


def _parsed(path: Path, bodies: list[bytes], number: int) -> list[dict[str, Any]]:
    """The records in these lines, of which the first has this number; raises InputError with the line that is not JSON."""
    with suppress(ValueError, RecursionError):
        records: list[dict[str, Any]] = json.loads(b"[%b]" % b",".join(bodies))
        if len(records) == len(bodies):
            return records
    if len(bodies) == 1:
        raise _damaged(path, number, b"")
    half = len(bodies) // 2
    return _parsed(path, bodies[:half], number) + _parsed(path, bodies[half:], number + half)


def _damaged(path: Path, number: int, line: bytes) -> InputError:
    return InputError(f"{path}, line {number}: damaged: {_why_damaged(line)}; the lines before it are intact")


def _why_damaged(line: bytes) -> str:
    if line.startswith(b'{"op_code":') and line.endswith(b"}") and b'"crc32"' not in line:
        return (
            "the record has no checksum, so another program wrote it, as Optuna Dashboard does for notes and deletions; remove "
            "this line and all after it"
        )
    return "the checksum does not match: the record was changed, or one before it is missing"


MAIN = "nas"  # name of the search's Optuna study


def begin(path: Path, cost: str | None) -> None:
    """Create a journal with an empty study; `cost` is its second objective, if any."""
    open_study(storage_of(Journal(path)), MAIN, cost)


def open_study(storage: optuna.storages.JournalStorage, name: str, cost: str | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [StudyDirection.MAXIMIZE, *([StudyDirection.MINIMIZE] if cost else [])]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["accuracy", *([cost] if cost else [])])
    return study
