"""A search that distills: who is taught, by what, and that an anchor as teacher is trained first and once."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import Dataset, Preprocessing, Split
from evaluators.training.distill import load_teacher
from evaluators.weights import load_network
from nas.pipeline import retraining
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.records import Final
from nas.report.result import result
from nas.run.folder import open_run
from nas.run.memory import read_journal
from nas.run.teacher import find_teacher
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import read_genotype
from search_spaces.task import Task

TEACHER = "shufflenet_v2:0.5"


class Recording(Executor):
    """Notes what was trained; fails the jobs whose label begins with `fails`."""

    def __init__(self, setting, jobs, fails="nothing"):
        super().__init__(setting)
        self.jobs, self.fails = jobs, fails

    def run(self, source):
        super().run(_Noting(source, self))


class _Noting:
    def __init__(self, source, executor):
        self.source, self.executor = source, executor
        self.progress, self.done = source.progress, source.done

    def next(self):
        while job := self.source.next():
            self.executor.jobs.append(job)
            if not job.label.startswith(self.executor.fails):
                return job
            self.source.failed(job, "the loss was nan")
        return None


@pytest.fixture
def search(made_run):
    """Makes a search with a teacher on a run folder; returns (Search, run, jobs)."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, 16, 16)).astype(np.uint8), np.arange(8) % 2)
    dataset = Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")

    def make(run=None, fails="nothing", distill=TEACHER):
        teacher = find_teacher(distill, 4, (3, 16, 16)) if distill else None
        usual = {"data": "made", "classes": ["a", "b"], "trials": 3, "finalists": 2, "sampler": "random", "distill": distill}
        run, jobs = run or made_run(teacher, **usual), []
        executor = lambda setting: Recording(setting, jobs, fails)  # noqa: E731
        return Search(State(run, dataset, Predictor(), executor, View(), timer=Timer(lambda _: 5.0))), run, jobs

    return make


def test_the_teacher_is_trained_by_the_final_recipe_before_the_retraining_and_teaches_all_of_it(search):
    going, run, jobs = search()
    going.run()
    place = next(i for i, job in enumerate(jobs) if job.label.startswith("teacher"))
    teacher, candidates, retrained = jobs[place], jobs[:place], jobs[place + 1 :]
    assert teacher.genotype == anchor(TEACHER).genotype.at_stride(4).at((3, 16, 16)).text and teacher.teacher is None
    assert teacher.recipe == run.resolved.final_recipe and teacher.keep == run.teacher / "weights.safetensors"
    assert candidates and all(job.teacher is None and job.recipe == run.resolved.recipe for job in candidates)
    assert len({job.genotype for job in retrained}) == 3 and {job.teacher for job in retrained} == {run.teacher}
    assert {job.recipe for job in retrained} == {run.resolved.final_recipe}
    assert result(run)["distilled_from"] == TEACHER
    finals = result(run)["anchors"] + result(run)["finalists"]  # one anchor, two finalists
    assert {entry["genotype"] for entry in finals} == {job.genotype for job in retrained}


def test_a_resumed_run_trains_no_teacher_again(search, monkeypatch):
    going, run, jobs = search(fails="anchor")
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "_initial_note", _interrupted_second_time())
        with pytest.raises(KeyboardInterrupt):
            going.run()
    assert jobs[-1].label.startswith("teacher")
    going, _, jobs = search(run=open_run(run.path))
    going.run()
    assert jobs and not any(job.label.startswith("teacher") for job in jobs)
    assert {job.teacher for job in jobs} == {run.teacher}


def _interrupted_second_time():
    whole, calls = retraining._initial_note, []

    def begun(kind, job, estimate):
        calls.append(job)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(kind, job, estimate)

    return begun


def test_a_teacher_that_cannot_be_trained_ends_the_run_with_its_reason(search):
    going, run, _ = search(fails="teacher")
    with pytest.raises(InputError, match=f"the teacher {TEACHER} could not be trained: the loss was nan"):
        going.run()
    assert not read_journal(run.journal).records(Final)


def test_a_run_without_a_teacher_has_none(search):
    going, run, jobs = search(distill=None)
    going.run()
    assert not run.teacher.exists() and not any(job.teacher for job in jobs) and result(run)["distilled_from"] is None


def test_a_run_whose_teacher_is_gone_is_damaged(search):
    _, run, _ = search()
    (run.teacher / "genotype.txt").unlink()
    with pytest.raises(InputError, match=r"damaged: teacher/genotype\.txt is missing"):
        open_run(run.path)


def test_an_anchor_is_found_by_name_unless_a_trained_network_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobilenet_v2").mkdir()
    assert find_teacher("mobilenet_v2").weights is None
    (tmp_path / "mobilenet_v2" / "genotype.txt").write_text("conv 8/1\nhead\n")
    (tmp_path / "mobilenet_v2" / "weights.safetensors").write_bytes(b"")
    assert find_teacher("mobilenet_v2").genotype.text == "conv 8/1\nhead\n"


def _teaching(folder, work, images, moments):
    """What a teacher says of its student's images [N, 3, 16, 16], normalised with those moments."""
    teacher = find_teacher(str(folder))
    teacher.place(work)
    return load_teacher(work, Task((3, 16, 16), 3), torch.device("cpu"), moments)(images)


@pytest.mark.parametrize("place", [".", "export", "weights.safetensors"])
def test_a_teacher_is_shown_its_students_images_at_its_own_input_and_normalisation(donor_folder, tmp_path, place):
    pixels = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
    moments = tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())
    found = _teaching(donor_folder / place, tmp_path / "teacher", (pixels - mean) / std, moments)
    seen = Preprocessing.from_json(json.loads((donor_folder / "export" / "model.json").read_text())["preprocessing"])
    own_mean, own_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (seen.mean, seen.std))
    assert not torch.allclose(own_mean, mean, atol=1e-2) and seen.input == (3, 24, 24)
    larger = F.interpolate(pixels, (24, 24), mode="bilinear", antialias=True)
    genotype = read_genotype(donor_folder / "genotype.txt")
    network = load_network(genotype, genotype.task(3), donor_folder / "weights.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(found, network((larger - own_mean) / own_std), rtol=1e-4, atol=1e-4)


def test_an_anchor_that_teaches_pads_as_the_networks_do_that_it_teaches():
    symmetric, same = (find_teacher("mobilenet_v2", 4, (3, 16, 16), padding).genotype for padding in ("symmetric", "same"))
    assert symmetric != same == symmetric.padded("same")
