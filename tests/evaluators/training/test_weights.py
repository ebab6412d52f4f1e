"""Weight files: what is written is read again, and another epsilon of batch norms goes into their variances."""

import pytest
import torch
from made_up_donor import made_up_donor
from safetensors.torch import load_file, save_file

from evaluators.weights import load_network, save_weights
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task


def test_another_epsilon_is_folded_so_that_outputs_stay(tmp_path):
    genotype = Genotype.parse("conv 8/2\ninverted_residual 8/1 expand=2 se=0.5\nhead hidden=8 norm=yes")
    donor = made_up_donor(genotype, norm_eps=1e-3)
    network, images = donor.network(), torch.randn(2, *donor.task.input)
    save_weights(network, tmp_path / "weights.safetensors")
    loaded = load_network(genotype, donor.task, tmp_path / "weights.safetensors")
    torch.testing.assert_close(loaded(images), network(images), rtol=1e-4, atol=1e-5)
    for norm, other in zip(_norms(loaded), _norms(network), strict=True):
        assert (norm.eps, other.eps) == (1e-5, 1e-3)
        torch.testing.assert_close(norm.running_var, other.running_var + 0.00099)
    assert all(torch.equal(tensor, donor.tensors[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.complex64), "is complex"),
        (lambda t: t * float("nan"), "holds values that are not finite"),
        (lambda t: t.to(torch.int32), "is of type torch.int32, not torch.float32"),
        (lambda t: t[:0], "cannot be read as this network's weights"),
        (lambda t: torch.tensor(1.0), "cannot be read as this network's weights"),
    ],
)
def test_weights_that_no_network_has_are_refused(tmp_path, change, message):
    genotype, task, path = Genotype.parse("conv 8/2\nhead"), Task((3, 8, 8), 3), tmp_path / "weights.safetensors"
    save_weights(build(genotype, task), path)
    whole = load_file(path)
    name = next(name for name in whole if name.endswith("running_var"))
    save_file(whole | {name: change(whole[name]).contiguous()}, path)
    with pytest.raises(InputError, match=message):
        load_network(genotype, task, path)


def _norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
