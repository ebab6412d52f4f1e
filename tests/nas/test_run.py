"""run.yaml and train.yaml: what is written is read again; keys, types and ranges are checked, and what is wrong is said."""

import json
from dataclasses import asdict, fields, replace
from importlib.resources import files

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.training.recipe import load_recipe
from nas.run.config import Resolved, SearchConfig
from nas.run.folder import create, open_run
from nas.run.former import FORMER, FORMER_TRAINING, SEPARATE
from nas.training.plan import FORMAT as TRAIN_FORMAT
from nas.training.plan import PLAN, Plan, open_plan
from search_spaces.errors import InputError

CONFIG = SearchConfig(
    latency_budget_ms=50.0,
    space="small",
    data="imagefolder:photos",
    trials=2,
    finalists=1,
    rivals=3,
    sampler="random",
    objectives=("accuracy", "latency"),
)
RESOLVED = Resolved(
    space="small",
    classes=["yes", "1e6", "2001-01-01", "é", "[/b]", "null"],
    mean=[0.5] * 3,
    std=[0.25] * 3,
    interpolation="bilinear",
    padding="symmetric",
    donor=None,
    workers=1,
    recipe=load_recipe("proxy"),
    final_recipe=load_recipe("final"),
)
PLANNED = Plan("n", "d", ["a", "b"], [3, 16, 16], "crop", "bilinear", [0.5], [0.5], 0, RESOLVED.recipe, "top1", "random", None)
OTHERS = [None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "abc", [], ["a"], {}, {"a": 1}, [[[]]]]


def _of_former(recipe):
    return {key.replace("_images", "_pictures"): value for key, value in recipe.items()}


def _facts(run):
    return {"created": run.created, "machine": run.machine, "versions": run.versions}


def test_a_run_of_the_format_before_is_read(run):
    resolved = plain(RESOLVED)
    resolved |= {name: _of_former(resolved[name]) for name in ("recipe", "final_recipe")}
    assert "least_pictures" in resolved["recipe"]
    facts = {"format": SEPARATE, **_facts(run), "config": plain(CONFIG), "resolved": resolved}
    (run.path / "run.yaml").write_text(yaml.safe_dump(facts))
    assert open_run(run.path) == run


def test_a_run_of_the_format_before_that_is_read(run):
    facts = plain(CONFIG) | plain(RESOLVED)
    for key in ("weights", "from_scratch", "epochs", "final_epochs", "download"):
        del facts[key]
    facts |= {"budget_ms": facts.pop("latency_budget_ms"), "seconds": facts.pop("time_s"), "cost": facts.pop("objectives")[1]}
    facts |= {name: _of_former(facts[name]) for name in ("recipe", "final_recipe")}
    (run.path / "run.yaml").write_text(yaml.safe_dump({"format": FORMER, **_facts(run), "config": facts}))
    assert open_run(run.path) == run


def test_a_training_of_the_format_before_is_read(tmp_path):
    plan = plain(PLANNED)
    facts = {"format": FORMER_TRAINING, "machine": "m", "versions": {}, "plan": {**plan, "recipe": _of_former(plan["recipe"])}}
    (tmp_path / PLAN).write_text(yaml.safe_dump(facts))
    assert open_plan(tmp_path) == PLANNED


KINDS = {"config": SearchConfig, "resolved": Resolved}


def plain(configuration):
    """As YAML has it, which knows no tuples."""
    return json.loads(json.dumps(asdict(configuration)))


@pytest.fixture
def run(tmp_path):
    (tmp_path / "device.json").write_text("{}")
    space = (files("search_spaces.spaces") / "tiny.yaml").read_text(encoding="utf-8")
    return create(tmp_path / "run", CONFIG, RESOLVED, space, tmp_path / "device.json")


def test_what_was_written_is_read_again(run):
    assert open_run(run.path) == run


def rewritten(run, change):
    data = yaml.safe_load((run.path / "run.yaml").read_text())
    change(data)
    (run.path / "run.yaml").write_text(yaml.safe_dump(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(config=[]), "config must map keys to values, not []"),
        (lambda d: d.pop("config"), 'the key "config" is missing'),
        (lambda d: d["config"].update(anchors=7), "config.anchors must be a list, not 7"),
        (lambda d: d["config"].update(anchors=[7]), "config.anchors[0] must be text, not 7"),
        (
            lambda d: d["config"].update(latency_budgt_ms=7),
            'config: unknown key "latency_budgt_ms"; did you mean "latency_budget_ms"?',
        ),
        (
            lambda d: d["config"].update(latency_budget_ms=float("inf")),
            "config.latency_budget_ms must be a finite number, not inf",
        ),
        (lambda d: d["config"].update(latency_budget_ms="20ms"), 'config.latency_budget_ms must be a number, not "20ms"'),
        (lambda d: d["config"].update(trials=0), "config.trials must be at least 1, not 0"),
        (
            lambda d: d["config"].update(evaluator="trainin"),
            'config.evaluator: there is no evaluator "trainin"; did you mean "training"?',
        ),
        (lambda d: d["config"].update(percentile=75), "config.percentile must be 50 or 90, not 75"),
        (
            lambda d: d["config"].update(objectives=["money"]),
            'config.objectives: "money" is not accuracy, or accuracy and one of',
        ),
        (lambda d: d["resolved"].update(std=[0.0]), "resolved.std[0] must be above 0, not 0.0"),
        (lambda d: d["resolved"]["recipe"].update(epochs="four"), 'resolved.recipe.epochs must be a whole number, not "four"'),
        (
            lambda d: d["resolved"]["recipe"].update(crop_scale=0.5),
            "resolved.recipe: crop_scale and crop_padding are alternative random",
        ),
        (lambda d: d.update(versions=["torch"]), "versions must map keys to values"),
        (lambda d: d.update(format=[[1]]), "format [[1]], but this version reads format"),
    ],
)
def test_a_damaged_run_is_named_with_its_place(run, change, message):
    rewritten(run, change)
    with pytest.raises(InputError) as error:
        open_run(run.path)
    assert message in str(error.value) and "run.yaml" in str(error.value) and "\n" not in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    place=st.sampled_from([(part, f.name) for part in ("config", "resolved") for f in fields(KINDS[part])]),
    inner=st.sampled_from(sorted(asdict(RESOLVED.recipe))),
    value=st.data(),
)
def test_any_value_at_any_key_is_read_or_refused(run, place, inner, value):
    chosen, (part, key) = value.draw(st.sampled_from(OTHERS)), place
    data = yaml.safe_load((run.path / "run.yaml").read_text())
    data |= {"config": plain(CONFIG), "resolved": plain(RESOLVED)}
    data[part][key] = {**data[part][key], inner: chosen} if isinstance(data[part][key], dict) else chosen
    (run.path / "run.yaml").write_text(yaml.safe_dump(data))
    try:
        config = open_run(run.path).config
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert replace(config) == config and config.latency_budget_ms > 0


def test_a_training_is_read_likewise(tmp_path):
    facts = {"format": TRAIN_FORMAT, "machine": "", "versions": {}, "plan": asdict(PLANNED)}
    (tmp_path / PLAN).write_text(yaml.safe_dump(facts))
    assert open_plan(tmp_path) == PLANNED
    for name, value, message in [
        ("input", [3, 16], '"3x16" is not an input'),
        ("input", [3, -1, 0], '"3x-1x0" is not an input'),
        ("classes", [], "classes must have 1 or more values"),
        ("seed", 10**30, "seed must be below"),
    ]:
        (tmp_path / PLAN).write_text(yaml.safe_dump(facts | {"plan": asdict(PLANNED) | {name: value}}))
        with pytest.raises(InputError) as error:
            open_plan(tmp_path)
        assert message in str(error.value)
