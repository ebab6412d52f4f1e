"""read_card reads all that a card says of how images are brought to its network."""

import json

import pytest

from evaluators.card import CARD, read_card
from evaluators.data.preprocess import Preprocessing


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_a_card_is_read_as_it_was_written(tmp_path, depth):
    how = Preprocessing((1, 32, 48), "pad", "bicubic", (0.4,), (0.2,), depth=depth)
    files = {"model.onnx": {"input": ["image", [1, *how.input]], "output": ["logits", [1, 7]]}}
    (tmp_path / CARD).write_text(json.dumps({"files": files, "preprocessing": how.as_json()}))
    assert read_card(tmp_path / CARD) == (7, how)
