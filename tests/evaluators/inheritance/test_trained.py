"""A network cut out of EfficientNet-Lite0 tells photos apart before any training, as one with random weights does not."""

import io
import random
import tarfile

import numpy as np
import pytest
import torch
from made_up_donor import features
from PIL import Image
from shared_data import shared_file

from evaluators.inheritance.find import find_donor
from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import calibrated, estimate_statistics
from evaluators.training.probe import ridge
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

# about a third of EfficientNet-Lite0's weights
CUT = Genotype.parse("""
    conv 32/2 act=relu6 padding=same
    inverted_residual 16/1 expand=1
    inverted_residual 24/2 expand=4 padding=same
    inverted_residual 24/1 expand=4
    inverted_residual 32/2 kernel=5 expand=4 padding=same
    inverted_residual 72/2 expand=4 padding=same
    inverted_residual 72/1 expand=4
    inverted_residual 96/1 kernel=5 expand=4 x2
    inverted_residual 160/2 kernel=5 expand=4 padding=same
    inverted_residual 160/1 kernel=3 expand=4
    inverted_residual 320/1 expand=4
    conv 512/1 kernel=1 act=relu6
    head""")
IMAGES, SIDE = 400, 96


@pytest.fixture(scope="module")
def photos():
    """Photos [N, 3, 96, 96] in 0..1 and labels, six classes."""
    with tarfile.open(shared_file("trashnet_128.tar")) as archive:
        files = sorted(name for name in archive.getnames() if name.endswith(".jpg"))
        chosen = random.Random(0).sample(files, IMAGES)
        images = [Image.open(io.BytesIO(archive.extractfile(name).read())).convert("RGB") for name in chosen]
    pixels = np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in images])
    classes = sorted({name.split("/")[-2] for name in files})
    labels = torch.tensor([classes.index(name.split("/")[-2]) for name in chosen])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, labels


@pytest.mark.slow
def test_a_cut_network_knows_more_than_an_untrained_one(photos):
    """The bound is half the distance that was measured (.31, .65, the donor's .71); a standard error is .025."""
    donor = find_donor()
    images = (photos[0] - torch.tensor(donor.mean)[:, None, None]) / torch.tensor(donor.std)[:, None, None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blank, cut = (build(CUT, Task((3, SIDE, SIDE), 6)) for _ in range(2))
    inherited = inherit(cut, calibrated(donor, images[:128]), 0)
    for network in (blank, cut):
        estimate_statistics(network, images[:128])
    untrained, ours, theirs = (_probe(n, images, photos[1]) for n in (blank, cut, donor.network()))
    assert inherited.share == 1
    assert untrained + 0.17 < ours < theirs + 0.07


def _probe(network, images, labels):
    """Accuracy of ridge regression on the features, by leave-one-out."""
    found = torch.cat([features(network, batch) for batch in images.split(64)])
    return float((ridge(found, labels, 6).left_out.argmax(1) == labels).float().mean())
