"""The space around a network: for every hand-designed one, it holds the network, and otherwise smaller ones."""

import random
from itertools import groupby

import pytest

from evaluators.cost import cost
from search_spaces.anchor import anchor, anchor_names
from search_spaces.errors import InputError
from search_spaces.space_file import load_space, space_text

REFUSED = {n for n in anchor_names() if any(spec.branches or spec.stride > 2 for spec in anchor(n).genotype.blocks)}
SAMPLES = 10


def _space(name):
    return load_space(f"narrower:{name}")


@pytest.mark.parametrize("name", sorted(set(anchor_names()) - REFUSED))
def test_it_holds_the_network_and_smaller_ones(name):
    known = anchor(name)
    space, own = _space(name), known.genotype.padded("symmetric").at(known.task.input)
    assert space.decode(space.encode(own)) == own and space.input == known.task.input
    widest, most = max(_widths(own)), cost(own, own.task(10))
    sampled = [space.sample(random.Random(seed)) for seed in range(SAMPLES)]
    for genotype in sampled:
        found = cost(genotype, genotype.task(10))
        assert max(_widths(genotype)) <= widest and len(genotype.blocks) <= len(own.blocks)
        assert _kinds(genotype) == _kinds(own)
        assert found.macs <= most.macs or _mixed(own)
    assert len(set(sampled)) == SAMPLES or space.size < SAMPLES**2


def _widths(genotype):
    return [spec.width or 1 for spec in genotype.blocks]


def _kinds(genotype):
    return [kind for kind, _ in groupby(spec.kind for spec in genotype.blocks)]


def _mixed(genotype):
    """Whether consecutive blocks of one kind and width differ in more: one may then get what another has more of."""
    runs = (list(run) for _, run in groupby(genotype.blocks, lambda spec: (spec.kind, spec.width)))
    return any(len({spec.knobs for spec in run}) > 1 for run in runs)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_network_with_branches_or_larger_strides_is_refused(name):
    with pytest.raises(
        InputError, match=r"has (branches|stride 4); only sequences of blocks with strides 1 and 2 can be narrowed"
    ):
        _space(name)


def test_widths_are_multiples_of_8_and_inputs_of_the_overall_stride():
    space = _space("efficientnet_lite")
    assert [i[1] for i in space.inputs] == [128, 160, 192, 224]
    stage = next(s for s in space.stages if s.widths[0] == 80)
    assert stage.widths == (80, 72, 64, 48, 40) and stage.depths == (3, 2, 1)
    assert stage.kinds["inverted_residual"]["expand"].values == (6.0, 5.25, 4.5, 3.75, 3.0)


@pytest.mark.parametrize(("name", "known"), [("mobilenet_v2", "mobile"), ("nin:cifar", "tiny")])
def test_the_hand_designed_networks_are_those_of_our_space_for_such_inputs(name, known):
    space = _space(name)
    assert space.anchors.keys() == load_space(known).anchors.keys()
    assert all(place == space.place_of(anchor(other)) for other, place in space.anchors.items())


def test_a_run_keeps_the_space_as_a_file(tmp_path):
    (tmp_path / "space.yaml").write_text(space_text("narrower:mobilenet_v2"))
    kept, space = load_space(str(tmp_path / "space.yaml")), _space("mobilenet_v2")
    assert (kept.stages, kept.inputs, kept.anchors) == (space.stages, space.inputs, space.anchors)


def test_the_space_of_a_genotype_file_is_that_of_its_network(tmp_path):
    known = anchor("mobilenet_v2")
    file = tmp_path / "mine.txt"
    file.write_text(known.genotype.at(known.task.input).text)
    ours, theirs = load_space(f"narrower:{file}"), _space("mobilenet_v2")
    assert (ours.stages, ours.inputs, ours.overall_stride) == (theirs.stages, theirs.inputs, theirs.overall_stride)
    assert ours.name == "narrower-mine"


@pytest.mark.parametrize(("name", "message"), [("mobilenet_v9", "mobilenet_v"), ("", "anchor")])
def test_an_unknown_network_is_named(name, message):
    with pytest.raises(InputError, match=message):
        space_text(f"narrower:{name}")


def test_a_genotype_without_an_input_is_refused(tmp_path):
    file = tmp_path / "open.txt"
    file.write_text("conv 16/2\nhead\n")
    with pytest.raises(InputError, match="the genotype has no input; add a first line such as `input 3x224x224`"):
        _space(file)
