"""What weights of 7 bits bring where sums of products of 8 bits overflow: int8 files against float32 ones on photos.

usage: python benchmarks/int8_bits.py FOLDER DONOR ...

FOLDER holds photos, in any depth. For each donor, at 160x160: how often its int8 file, quantised on 64 photos, names the same
class as its float32 file on 200 others, and the mean squared difference of logits over their variance between photos; with
weights of 8 and of 7 bits, on this processor.
"""

import argparse
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from evaluators import quantise
from evaluators.data.preprocess import Preprocessing
from evaluators.inheritance.find import find_donor
from evaluators.latency.timing.bench import open_session
from evaluators.onnx import INPUT, OUTPUT
from search_spaces.network import build
from search_spaces.task import Task

SIDE, CALIBRATE, TEST = 160, 64, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("donors", nargs="+")
    asked = parser.parse_args()
    files = sorted(path for path in asked.folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    np.random.default_rng(0).shuffle(files)
    for spec in asked.donors:
        compare(spec, files[: CALIBRATE + TEST])


def compare(spec: str, files: list[Path]) -> None:
    """Prints the two figures of a donor for both numbers of bits."""
    donor, input = find_donor(spec), (3, SIDE, SIDE)
    seen = Preprocessing(input, "crop", donor.interpolation, tuple(donor.mean), tuple(donor.std))
    images = torch.cat([torch.from_numpy(seen(file)) for file in files])
    task = Task(input, donor.task.classes)
    network = build(donor.genotype, task).eval()
    network.load_state_dict(donor.tensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        quantise.export_at(network, task, path, None)
        expected = logits(path, images[CALIBRATE:])
        for bits in (8, 7):
            with patch.object(quantise, "weight_bits", return_value=bits):
                quantise.export_at(network, task, path, quantise.Quantisation(images[:CALIBRATE]))
            found = logits(path, images[CALIBRATE:])
            same = (found.argmax(1) == expected.argmax(1)).mean()
            off = np.square(found - expected).mean() / expected.var(0).mean()
            print(f"{donor.name:<28} {bits} bits: same class {same:.1%}, difference {off:.2f}", flush=True)


def logits(path: Path, images: torch.Tensor) -> np.ndarray:
    session = open_session(path, 1)
    return np.concatenate([session.run([OUTPUT], {INPUT: image[None].numpy()})[0] for image in images])


if __name__ == "__main__":
    main()
