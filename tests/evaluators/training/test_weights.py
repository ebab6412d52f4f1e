"""Weight files: what is written is read again, and another epsilon of batch norms goes into their variances."""

import torch
from made_up_donor import made_up_donor

from evaluators.training.weights import load_network, save_weights
from search_spaces.genotype import Genotype


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


def _norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
