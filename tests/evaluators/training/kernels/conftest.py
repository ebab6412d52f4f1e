"""For tests of what training on one thread does."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def one_thread_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
