"""README.md of an export: the model card in the form of the Hugging Face Hub, from what model.json says."""

from collections.abc import Sequence
from textwrap import indent
from typing import Any

import yaml

from evaluators.quantisers import load_quantiser
from search_spaces.genotype import Genotype
from search_spaces.task import input_text

_METRICS = {"top1": "accuracy", "balanced_accuracy": "balanced_accuracy", "macro_f1": "f1"}  # the Hub's names


def readme(card: dict[str, Any], genotype: Genotype, uses: Sequence[str] = ()) -> str:
    """The text: a header in YAML, then what the network is, its figures, how to use it and what is not known.

    `uses` are Python that runs a file, from `image` to `logits`.
    """
    assert genotype.input
    size, classes = input_text(genotype.input), card["classes"]
    parts = [
        f"---\n{yaml.safe_dump(_header(card, genotype), sort_keys=False, allow_unicode=True)}---",
        f"# Image classifier {genotype.id}",
        f"A convolutional network for images of {size} (channels, height, width) and {len(classes)} classes: "
        f"{', '.join(classes[:20])}{' ...' if len(classes) > 20 else ''}.",
        "## Figures",
        "\n".join(_figures(card)),
        "## Files",
        "\n".join(_file(name, entry) for name, entry in card["files"].items()),
        "## Use",
        *_uses(card, uses),
        "## How images are prepared",
        "For each of the files, in the layout that is given with it:",
        "\n".join(f"- {key}: {value}" for key, value in card["preprocessing"].items() if value is not None),
        "## Intended use and limits",
        "It was trained for the classes above on images like those of its data set, and names one of them for any image. The "
        "licence of the weights follows from that data set and the donor that they may come from; neither is stated here.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(card: dict[str, Any], genotype: Genotype) -> dict[str, Any]:
    accuracy = card["accuracy"]
    found: dict[str, Any] = {"pipeline_tag": "image-classification", "tags": ["compact-nas", "image-classification"]}
    if any(name.endswith(".onnx") for name in card["files"]):
        found["library_name"] = "onnx"
    if accuracy["test"] is None:
        return found
    metric = {"type": _METRICS[accuracy["metric"]], "value": accuracy["test"]}
    task = {"type": "image-classification"}
    result = {"task": task, "dataset": {"type": "own", "name": "test set of the training"}, "metrics": [metric]}
    return {**found, "model-index": [{"name": genotype.id, "results": [result]}]}


def _figures(card: dict[str, Any]) -> list[str]:
    """A line for each figure; all are of the file that model.json names, or the only one."""
    file, accuracy, latency = card.get("figures_of", "model.onnx"), card["accuracy"], card.get("latency_ms") or {}
    lines = [f"They are of `{file}`{'' if file in card['files'] else ', which is not in this folder'}.", ""]
    for part in ("test", "validation"):
        if accuracy[part] is not None:
            lines.append(f"- {accuracy['metric']} on the {part} set: {accuracy[part]:.2%}")
    if (floats := card.get("float32", {}).get("test")) is not None:
        lines.append(f"- {accuracy['metric']} of `model.onnx`, in float32, on the test set: {floats:.2%}")
        lines.append(f"- bits of a weight of `{file}`: {card['weight_bits']}")
        quantiser = load_quantiser(card["quantiser"])
        lines.append(f"- `{file}` was quantised by {quantiser.TITLE} and tested in the runtime `{quantiser.RUNTIME}`")
    if latency.get("p50_ms") is not None:
        lines.append(f"- latency, measured: p50 {latency['p50_ms']:.2f} ms, p90 {latency['p90_ms']:.2f} ms")
    elif latency.get("predicted_ms") is not None:
        lines.append(f"- latency, predicted and not measured: {latency['predicted_ms']:.2f} ms")
    return lines


def _file(name: str, entry: dict[str, Any]) -> str:
    """A line: names, size, input and output."""
    names = " with ".join(f"`{part}`" for part in (name, *entry.get("more", [])))
    (source, shape), (target, logits) = entry["input"], entry["output"]
    return f"- {names}, {entry['bytes']:,} bytes: `{source}` {shape} float32, {entry['layout']}, to `{target}` {logits}"


def _uses(card: dict[str, Any], uses: Sequence[str]) -> list[str]:
    found = []
    if "predict.py" in card["companions"]:
        runtime = "ai-edge-litert" if card.get("figures_of", "").endswith(".tflite") else "onnxruntime"
        found.append(f"With `pip install numpy pillow {runtime}`:\n\n    python predict.py photo.jpg")
    if uses:
        found.append("In Python, for `image`, a contiguous numpy array that is prepared as below, float32 [1, C, H, W]:")
    return [*found, *(indent(lines, "    ") for lines in uses)]
