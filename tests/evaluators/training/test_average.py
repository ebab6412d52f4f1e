"""Averaged weights against the sum written out, and buffers that must not be averaged."""

import pytest
import torch
from torch import nn

from evaluators.training.average import averaged


def _steps(network, kept, values):
    for value in values:
        with torch.no_grad():
            for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
                tensor.fill_(value)
        kept.update_parameters(network)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_parameters_and_running_statistics_are_the_exponential_mean(decay):
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    kept, values = averaged(network, decay), [1.0, 4.0, -2.0, 0.5, 7.0]
    _steps(network, kept, values)
    expected = values[0]
    for n, value in enumerate(values[1:], 1):
        now = min(decay, (1 + n) / (10 + n))
        expected = now * expected + (1 - now) * value
    for tensor in (kept.module[0].weight, kept.module[1].weight, kept.module[1].running_mean, kept.module[1].running_var):
        torch.testing.assert_close(tensor, torch.full_like(tensor, expected))


def test_integers_are_copied_not_averaged_and_rounded():
    network = nn.BatchNorm2d(2)
    network.register_buffer("index", torch.tensor([5, 7, 9]))
    kept = averaged(network, 0.99)
    for count in range(1, 6):
        network.num_batches_tracked += 1
        kept.update_parameters(network)
        assert kept.module.index.tolist() == [5, 7, 9] and int(kept.module.num_batches_tracked) == count


def test_the_network_itself_is_left_alone():
    network = nn.Linear(2, 2)
    kept = averaged(network, 0.9)
    _steps(network, kept, [1.0, 2.0])
    assert float(network.weight[0, 0].detach()) == 2.0 != float(kept.module.weight[0, 0].detach())
