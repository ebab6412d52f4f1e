"""What anchors say of trained weights is what the libraries that publish them say; every download has a checksum."""

import pytest
from timm.models import get_pretrained_cfg
from torch.hub import HASH_REGEX
from torchvision.models import get_model_weights

from evaluators.inheritance.offers import DEFAULT, Offer, offers

DOWNLOADS = {
    library: [o for o in offers() if o.trained.download and o.source == library] for library in ("torchvision", "timm")
}


def by_name(offer: Offer) -> str:
    return offer.name


@pytest.mark.parametrize("offer", DOWNLOADS["torchvision"], ids=by_name)
def test_torchvisions(offer: Offer) -> None:
    model, _, entry = offer.trained.download.partition(".")
    weights, trained = get_model_weights(model)[entry], offer.trained
    transform = weights.transforms()
    assert weights is get_model_weights(model).DEFAULT and offer.anchor.reference == f"torchvision/{model}"
    assert (trained.mean, trained.std) == (tuple(transform.mean), tuple(transform.std))
    assert trained.interpolation == transform.interpolation.value
    assert trained.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert HASH_REGEX.search(weights.url.rpartition("/")[2])


@pytest.mark.parametrize("offer", DOWNLOADS["timm"], ids=by_name)
def test_timms(offer: Offer) -> None:
    known, trained = get_pretrained_cfg(offer.trained.download), offer.trained
    assert (trained.mean, trained.std, trained.interpolation) == (known.mean, known.std, known.interpolation)
    assert known.input_size == offer.anchor.task.input and known.license == trained.licence.lower()
    assert known.label_offset is None and not known.custom_load
    assert HASH_REGEX.search(known.url.rpartition("/")[2])


def test_names_are_unique_and_the_default_comes_first() -> None:
    names = [offer.name for offer in offers()]
    assert len(set(names)) == len(names) and names[0] == DEFAULT


@pytest.mark.parametrize("offer", offers(), ids=by_name)
def test_weights_that_are_told_of_can_be_read(offer: Offer) -> None:
    trained = offer.trained
    assert offer.source in offer.anchor.weights
    assert trained.interpolation in ("bilinear", "bicubic") and trained.channels in ("RGB", "BGR")
    assert bool(trained.package) == bool(trained.file) == bool(trained.sha256)
    assert not (trained.package and trained.download)
