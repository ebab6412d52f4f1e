"""The mistakes that a network is surest of, as small images for report.html."""

import base64
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.run.folder import Run
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    import numpy as np

    from evaluators.data import Dataset

_SIDE = 128  # pixels, at most


class Mistake(NamedTuple):
    """An image as a data URI, its class, the predicted class, and the probability of the latter."""

    image: str
    label: str
    predicted: str
    confidence: float


def mistakes_of(run: Run, best: dict[str, Any], dataset: "Dataset | None") -> tuple[list[Mistake], str]:
    """The recorded mistakes, with images as the network sees them; without the data set none, and the reason."""
    if not best["mistakes"]:
        return [], ""
    try:
        return _shown(run, best, dataset or _load(run, best)), ""
    except InputError as error:
        return [], str(error)


def _load(run: Run, best: dict[str, Any]) -> "Dataset":
    from evaluators.data import load

    config, known = run.config, run.resolved
    input = tuple(best["input"])
    return load(config.data, inputs=[input], fit=config.fit, interpolation=known.interpolation, stream=True)  # type: ignore[list-item]


def _shown(run: Run, best: dict[str, Any], dataset: "Dataset") -> list[Mistake]:
    import torch

    from evaluators.training.batches import Batches

    input = Genotype.parse(best["genotype"]).input
    assert input is not None, "a run's networks name their input"
    how, names = run.preprocessing(input), run.resolved.classes
    test = Batches.of(dataset.test, how, torch.device("cpu"))
    indices = torch.tensor([index for index, *_ in best["mistakes"]])
    images, labels = next(iter(test.in_order(len(indices), indices)))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))
    pixels = ((images * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [
        Mistake(_uri(image), names[label], names[predicted], confidence)
        for image, label, (_, predicted, confidence) in zip(pixels, labels.tolist(), best["mistakes"], strict=True)
    ]


def _uri(pixels: "np.ndarray") -> str:
    """A JPEG of pixels [H, W, C]."""
    from PIL import Image

    image, file = Image.fromarray(pixels.squeeze()), io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
