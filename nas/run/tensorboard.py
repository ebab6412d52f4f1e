"""TensorBoard event files of trainings: loss, learning rate and validation accuracy after each epoch."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evaluators.installed import installed_version
from search_spaces.errors import InputError, os_reason

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"  # their folder in that of a run or a training


class Figures(Protocol):
    """Mean training loss, mean learning rate, and validation accuracy (0..1) of an epoch."""

    @property
    def loss(self) -> float: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def accuracy(self) -> float: ...


class EventFiles:
    """Event files in a folder of `folder`, one for each training.

    What another process wrote of a training counts up to the first epoch that is written now, so no epoch is shown twice.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / TENSORBOARD
        self._open: dict[str, SummaryWriter] = {}

    def epoch(self, training: str, number: int, found: Figures) -> None:
        """Write the figures of epoch `number` (from 1); raises InputError if the file cannot be written."""
        try:
            writer = self._open.get(training) or self._begin(training, number)
            writer.add_scalar("loss", found.loss, number)
            writer.add_scalar("learning rate", found.learning_rate, number)
            writer.add_scalar("validation accuracy", found.accuracy, number)
            writer.flush()
        except OSError as error:
            raise InputError(f"cannot write {self._folder}: {os_reason(error)}; continue with `nas resume`") from None

    def _begin(self, training: str, number: int) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        for former in (self._folder / training).glob("events.out.tfevents.*") if number == 1 else ():
            former.unlink()
        self._open[training] = SummaryWriter(
            str(self._folder / training), purge_step=number
        )  # hides what was written from there
        return self._open[training]

    def end(self, training: str) -> None:
        """Close the files of a training, if any were written."""
        if writer := self._open.pop(training, None):
            writer.close()

    def close(self) -> None:
        for training in list(self._open):
            self.end(training)


def in_folder(folder: Path, asked: bool) -> EventFiles | None:
    """The event files of a run or a training; None unless `asked` for."""
    return EventFiles(folder) if asked else None


def check_tensorboard(asked: bool) -> None:
    """Raise InputError if event files are `asked` for and TensorBoard is not installed."""
    if asked:
        installed_version("tensorboard", "--tensorboard", extra="tensorboard")
