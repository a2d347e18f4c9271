"""What the workflow makes of a config: evaluations, exhibits, keys, digests of code."""

import ast
import copy
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import Config, read_config
from dgmpipe.config.kinds import ModelSettings
from dgmpipe.errors import UserError
from dgmpipe.plan import digests
from dgmpipe.plan.companion import companion_files
from dgmpipe.plan.digests import config_digest, source_digest
from dgmpipe.plan.evaluations import EVALUATIONS, measurable, subjects
from dgmpipe.plan.exhibits import exhibits, figure_of_model
from dgmpipe.plan.trainings import (
    data_digest,
    effective_settings,
    image_folder,
    levels,
    seeds_in_words,
    training_key,
    training_seconds,
    trainings,
)

ROOT = Path(__file__).parent.parent
LAPTOP = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def _config(**changes: Any) -> Config:
    return read_config(copy.deepcopy(LAPTOP) | changes)


def _models(**models: Any) -> Config:
    return _config(models=copy.deepcopy(LAPTOP["models"]) | models)


def _evaluated(config: Config, name: str) -> list[str]:
    (evaluation,) = (entry for entry in EVALUATIONS if entry.name == name)
    return subjects(config, evaluation)


def _names(config: Config) -> list[str]:
    return [exhibit.name for exhibit in exhibits(config)]


def test_evaluations_belong_to_families_and_to_what_a_model_can_do() -> None:
    config = _models(vae8={"like": "vae", "latent_dim": 8}, other={"like": "wgan_vae"})
    assert _evaluated(config, "evidence") == ["vae", "vae8"]
    assert _evaluated(config, "posterior") == ["vae"]
    assert _evaluated(config, "latent") == ["vae"]
    generators = ["vae", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae", "vae8", "other"]
    assert _evaluated(config, "energy_test") == [*generators, "real"]
    assert _evaluated(config, "generate_images") == generators
    assert _evaluated(config, "evaluate_flow") == ["realnvp", "otflow"]
    without_judge = _models(classifier=None)
    assert _evaluated(without_judge, "sample_quality") == []
    assert "class_histograms" not in _names(without_judge)


@pytest.mark.parametrize("study", [None, *sorted((ROOT / "config/studies").glob("*.yaml"))])
def test_rules_have_names_of_their_own(study: Path | None) -> None:
    config = copy.deepcopy(LAPTOP)
    if study:
        update_config(config, yaml.safe_load(study.read_text(encoding="utf-8")))
    read = read_config(config)
    names = [*(evaluation.name for evaluation in EVALUATIONS), *_names(read)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("tier", ["config", "smoke", "paper"])
def test_all_studies_go_over_a_tier_at_once(tier: str) -> None:
    config = copy.deepcopy(LAPTOP)
    for path in (ROOT / f"config/{tier}.yaml", *sorted((ROOT / "config/studies").glob("*.yaml"))):
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    assert {"gans", "critics", "flows", "posteriors"} <= read_config(config).studies.keys()
    assert exhibits(read_config(config))


def test_the_paper_has_eleven_figures() -> None:
    claims, *figures = [exhibit.name for exhibit in exhibits(_config()) if exhibit.is_figure]
    assert claims == "claims_figure"
    assert [int(name.split("_")[1]) for name in figures] == list(range(1, 12))


def test_minutes_of_an_unknown_evaluation_get_a_sentence() -> None:
    minutes = LAPTOP["cluster"]["evaluation_minutes"] | {"evidnece": 600}
    config = _config(cluster=LAPTOP["cluster"] | {"evaluation_minutes": minutes})
    with pytest.raises(UserError, match="unknown key 'evidnece' at cluster"):
        exhibits(config)


def test_figures_of_a_study_show_a_seed_that_all_models_have() -> None:
    models = {name: block | {"seeds": [1]} for name, block in LAPTOP["models"].items()}
    models["classifier"] = LAPTOP["models"]["classifier"]
    config = _config(seeds=[0, 1], models=models, evaluation=LAPTOP["evaluation"] | {"prior": {}})
    files = str([exhibit.files for exhibit in exhibits(config)])
    assert "vae/seed_1/prior.npz" in files
    assert "/seed_0/" not in files.replace("classifier/seed_0", "")


@pytest.mark.parametrize("model", [name for name in LAPTOP["models"] if name != "vae"])
def test_any_model_can_be_left_out(model: str) -> None:
    names = _names(_models(**{model: None}))
    assert len(set(names)) == len(names)
    gone = {"realnvp": {"figure_01_idea", "figure_05_realnvp"}, "otflow": {"figure_06_otflow"}}
    assert not gone.get(model, set()) & set(names)


def test_another_model_has_a_figure_of_its_own_and_a_point_of_a_sweep_on_demand() -> None:
    config = _config(
        models=copy.deepcopy(LAPTOP["models"]) | {"deep": {"like": "realnvp", "num_layers": 12}},
        sweeps={"s": {"models": ["vae"], "width": [8]}},
    )
    names = _names(config)
    assert "flow_deep" in names
    assert not any("@" in name for name in names)
    shown = figure_of_model(config, "latent", "vae@width=8", 0)
    assert shown.files == {"arrays": ["evaluation/vae@width=8/seed_0/latent.npz"]}


def test_tables_have_all_models_and_seeds_and_a_summary_of_several() -> None:
    config = _config(seeds=[0, 3], sweeps={"s": {"models": ["vae"], "width": [8]}})
    tables = {exhibit.name: exhibit for exhibit in exhibits(config)}
    sources = _evaluated(config, "energy_test")
    assert tables["generators"].params == {
        "trainings": [(model, seed) for model in sources for seed in (0, 3)]
    }
    assert len(tables["vae_evidence"].files["numbers"]) == 4
    summed = {name.removesuffix("_summary") for name in tables if name.endswith("_summary")}
    assert summed == {
        *("flows", "otflow_inverse_error", "vae_evidence", "generators", "generator_differences"),
        *("class_histograms", "training_times"),
    }
    assert tables["class_histograms_summary"].params == {"keys": ["model", "digit"]}
    one = {exhibit.name for exhibit in exhibits(_config())}
    assert {name for name in one if name.endswith("_summary")} == {"generators_summary"}


OWN_SEEDS = {
    "realnvp": LAPTOP["models"]["realnvp"] | {"seeds": [4, 0, 5]},
    "vae": LAPTOP["models"]["vae"] | {"seeds": [0, 1]},
    "wgan_vae": LAPTOP["models"]["wgan_vae"] | {"seeds": [1, 0]},
}


def test_a_model_may_have_seeds_of_its_own() -> None:
    config = _config(
        models=copy.deepcopy(LAPTOP["models"]) | OWN_SEEDS,
        sweeps={"s": {"models": ["vae"], "width": [8]}},
    )
    assert (config.shown_seed, config.several) == (0, True)
    counts = Counter(model for model, _ in trainings(config))
    assert counts == {
        **dict.fromkeys(config.models, 1),
        **{"realnvp": 3, "vae": 2, "wgan_vae": 2, "vae@width=8": 2},
    }
    shown = {exhibit.name: exhibit for exhibit in exhibits(config)}
    assert shown["figure_05_realnvp"].files["arrays"] == ["evaluation/realnvp/seed_0/flow.npz"]
    assert len(shown["flows"].files["numbers"]) == 4
    assert {"flows_summary", "vae_evidence_summary"} <= set(shown)
    histories = shown["figure_11_energy_distance"].files["histories"]
    assert [path.split("/")[1:3] for path in histories if "wgan" in path] == [
        ["wgan_random", "seed_0"],
        ["wgan_vae", "seed_1"],
        ["wgan_vae", "seed_0"],
    ]
    curves = shown["figure_11_energy_distance"].params["curves"]
    assert [curve["seeds"] for curve in curves] == [1, 1, 1, 2]
    # Real images stand beside every generator of the seed.
    rows = shown["generator_differences"].params["trainings"]
    assert [seed for model, seed in rows if model == "real"] == [0, 1]
    assert seeds_in_words(config) == (
        "4, 0, 5 (Real NVP); 0 (OT-Flow, DCGAN, DCGAN from VAE, WGAN); 0, 1 (VAE); 1, 0 (WGAN from"
        " VAE)"
    )
    assert _key(config, "vae") == _key(_config(), "vae")
    assert len(companion_files(config)["histories"]) == 3 + 1 + 2 + 1 + 1 + 1 + 2 + 1


def test_the_papers_statements_are_about_the_papers_models() -> None:
    config = _models(vae2={"like": "vae"}, otflow={"like": "realnvp", "seeds": [3, 0]})
    (claims,) = (e for e in exhibits(config) if e.name == "claims")
    assert claims.params == {"seeds": [0, 3]}
    arrays = [("realnvp", 0), ("otflow", 3), ("otflow", 0), ("vae", 0)]
    assert [tuple(path.split("/")[1:3]) for path in claims.files["arrays"]] == [
        (model, f"seed_{seed}") for model, seed in arrays
    ]
    assert len(claims.files["histories"]) == 4
    others = dict.fromkeys(name for name in LAPTOP["models"] if name != "classifier")
    assert "claims" not in _names(_models(**others, mine=LAPTOP["models"]["realnvp"]))


def test_the_replicates_lie_over_the_papers_settings() -> None:
    config = copy.deepcopy(LAPTOP)
    for name in ("paper", "replicates"):
        path = ROOT / f"config/{name}.yaml"
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    read = read_config(config)
    assert read.tier == "paper"
    counts = Counter(read.models[model].kind for model, _ in trainings(read))
    assert counts["realnvp"] == counts["otflow"] == 10
    assert (counts["vae"], counts["dcgan"], counts["wgan"], counts["classifier"]) == (5, 7, 6, 1)


def test_a_study_needs_its_points_and_nothing_else() -> None:
    config = _config(
        sweeps={"s": {"models": ["realnvp"], "noise": [0.1, 0.2]}},
        studies={"s": {"question": "?", "sweep": "s", "x": "noise", "measures": ["flow.kl"]}},
    )
    table = next(exhibit for exhibit in exhibits(config) if exhibit.name == "study_s")
    assert table.files == {
        "flow": [f"evaluation/realnvp@noise={n}/seed_0/flow.json" for n in (0.1, 0.2)]
    }


def test_a_study_of_models_needs_these_and_has_what_is_drawn_across_its_panels() -> None:
    asked = {"question": "?", "models": ["otflow", "realnvp"], "measures": ["lab.kl"]}
    config = _config(studies={"s": asked | {"lines": {"lab.kl": ["flow.kde_2000_kl"]}}})
    figure, table = (e for e in exhibits(config) if e.name.startswith("study_s"))
    assert table.files == {
        name: [f"evaluation/{model}/seed_0/{name}.json" for model in ("otflow", "realnvp")]
        for name in ("lab", "flow")
    }
    assert table.params["measures"] == ["lab.kl", "flow.kde_2000_kl"]
    assert figure.params["x"] == "model"
    assert figure.params["titles"] == {"otflow": "OT-Flow", "realnvp": "Real NVP"}


def test_the_paths_of_a_standardised_otflow_are_not_measured() -> None:
    standardised = {"like": "otflow", "standardised": True}
    config = _models(mine=standardised)
    numbers = measurable()["flow"].numbers
    assert set(numbers(config, "otflow")) > set(numbers(config, "mine"))
    errors = next(e for e in exhibits(config) if e.name == "otflow_inverse_error")
    assert errors.params["trainings"] == [("otflow", 0)]
    alone = LAPTOP["models"]["otflow"] | {"standardised": True}
    assert "otflow_inverse_error" not in _names(_models(otflow=alone))


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        ("flo.kl", "names flo.kl; what can be measured is flow,"),
        ("energy.energy_distance", "there is no energy of any point of s"),
        ("flow.lk", "names flow.lk; of flow there is entropy, .*kl, "),
        ("flow.path_excess_95", "of flow there is"),
        ("flow", "of flow there is"),
    ],
)
def test_a_study_that_measures_what_there_is_not(measure: str, reason: str) -> None:
    config = _config(
        sweeps={"s": {"models": ["realnvp"], "noise": [0.1]}},
        studies={"s": {"question": "?", "sweep": "s", "x": "noise", "measures": [measure]}},
    )
    with pytest.raises(UserError, match=reason):
        exhibits(config)


def test_models_are_trained_after_those_that_they_start_from() -> None:
    config = _models(third={"like": "wgan_vae", "start": "dcgan_vae"})
    first, second, third = levels(config)
    assert "vae" in first
    assert second == ["dcgan_vae", "wgan_vae"]
    assert third == ["third"]


def test_a_judge_may_be_where_no_seed_is_the_tiers() -> None:
    names = [name for name in LAPTOP["models"] if name != "classifier"]
    config = _models(**{name: LAPTOP["models"][name] | {"seeds": [1, 2]} for name in names})
    assert (config.shown_seed, config.seeds_of("classifier")) == (1, [1])


def test_a_judge_is_trained_once_for_all_seeds() -> None:
    found = trainings(_config(seeds=[0, 3]))
    expected = {(name, seed) for name in LAPTOP["models"] for seed in (0, 3)}
    assert set(found) == expected - {("classifier", 3)}
    assert len(found) == len(set(found))


CODE = {name: "0" for name in LAPTOP["models"]}


def _key(config: Config, model: str, **code: str) -> str:
    return training_key(config, model, 0, CODE | code)


def test_an_option_that_is_not_used_is_not_among_the_settings_of_a_training() -> None:
    config = _models(averaged={"like": "vae", "average": 0.9})
    added = effective_settings(config, "averaged").keys() - effective_settings(config, "vae").keys()
    assert added == {"average"}
    assert ModelSettings.options <= ModelSettings.defaults().keys()


@pytest.mark.parametrize(
    ("changed", "retrained"),
    [
        ({"vae": {"steps": 5}}, {"vae", "dcgan_vae", "wgan_vae"}),
        ({"wgan_vae": {"steps": 5}}, {"wgan_vae"}),
        ({"realnvp": {"noise": 0.1}}, {"realnvp"}),
        ({"vae": {"title": "mine"}}, set()),
        ({"vae": {"checkpoint_every": 7}}, set()),
        ({"vae": {"snapshots": 7}}, set()),
        ({"vae": {"average": 0.9}}, {"vae", "dcgan_vae", "wgan_vae"}),
        ({"realnvp": {"learning_rate_decay": "cosine"}}, {"realnvp"}),
        # As if these keys were not there: they name no training of before they came.
        ({"vae": {"average": 0, "precision": "float32", "learning_rate_decay": "none"}}, set()),
    ],
)
def test_a_changed_setting_retrains_what_depends_on_it(
    changed: dict[str, Any], retrained: set[str]
) -> None:
    models = {name: LAPTOP["models"][name] | block for name, block in changed.items()}
    before, after = _config(), _models(**models)
    found = {name for name in CODE if _key(before, name) != _key(after, name)}
    assert found == retrained


def test_changed_code_or_images_retrain_what_depends_on_them() -> None:
    config = _config()
    found = {name for name in CODE if _key(config, name) != _key(config, name, vae="1")}
    assert found == {"vae", "dcgan_vae", "wgan_vae"}
    data = copy.deepcopy(LAPTOP["data"])
    data["images"]["md5"]["t10k-labels-idx1-ubyte"] = "0" * 32
    other = _config(data=data)
    found = {name for name in CODE if _key(config, name) != _key(other, name)}
    assert found == CODE.keys() - {"realnvp", "otflow"}


def test_a_file_of_points_is_known_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("1,2\n3,4\n")
    config = _models(mine={"like": "realnvp", "data": str(path)})
    before = data_digest(config, "mine")
    path.write_text("1,2\n3,5\n")
    assert data_digest(config, "mine") != before
    path.unlink()
    with pytest.raises(UserError, match=r"models.mine.data is .* neither `moons` nor a file"):
        data_digest(config, "mine")


def test_different_images_never_share_a_folder() -> None:
    assert image_folder(_config()) == "mnist"
    data = copy.deepcopy(LAPTOP["data"])
    data["images"]["md5"]["t10k-labels-idx1-ubyte"] = "0" * 32
    assert image_folder(_config(data=data)).startswith("mnist-")


def test_the_hours_of_a_plan_follow_from_earlier_trainings(tmp_path: Path) -> None:
    config = _config()
    assert training_seconds(config, tmp_path)["vae"] == pytest.approx(2000 * 30 / 1000)
    folder = tmp_path / "laptop/models/vae/seed_0"
    folder.mkdir(parents=True)
    (folder / "time.json").write_text(json.dumps({"processor_seconds": 100}))
    summary = {"kind": "vae", "hyperparameters": {"steps": 1000}}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert training_seconds(config, tmp_path)["vae"] == pytest.approx(2000 * 100 / 1000)
    on_gpu = {"processor_seconds": 9, "device": "cuda:0 (NVIDIA H200)"}
    (folder / "time.json").write_text(json.dumps(on_gpu))
    assert training_seconds(config, tmp_path)["vae"] == pytest.approx(2000 * 30 / 1000)


def test_a_thousand_points_are_planned_in_seconds() -> None:
    began = time.process_time()
    config = _config(
        seeds=list(range(10)),
        sweeps={"s": {"models": ["wgan_vae"], "batch_size": list(range(2, 102))}},
    )
    assert len(config.models) == 108
    exhibits(config)
    for model in config.models:
        _key(config, model, **dict.fromkeys(config.models, "0"))
    assert time.process_time() - began < 5


# -- digests of what code means --------------------------------------------------------------------

SOURCE = '''"""A module."""

import math

from dgmpipe.errors import UserError

__all__ = ["loss"]


def loss(x: float) -> float:
    """Return a loss."""
    # why
    if x < 0:
        print("negative")
        raise ValueError(f"x is {x}")
    return math.log(1 + x)


class Task:
    """A task."""

    def evaluate(self, x: float) -> float:
        return loss(x)

    def snapshot(self, x: float) -> float:
        return x - 1
'''

MEANINGLESS: dict[str, tuple[str, str]] = {
    "a module's docstring": ("A module.", "Another text."),
    "a function's docstring": ("Return a loss.", "Give back a loss."),
    "a class's docstring": ("A task.", "The task."),
    "a comment": ("# why", "# because of this"),
    "a message": ("x is {x}", "x must be positive, not {x}"),
    "what is printed": ('print("negative")', 'print("oh")'),
    "a type hint": ("x: float) -> float", "x: int) -> float"),
    "what is exported": ('["loss"]', '["loss", "Task"]'),
    "where a thing of the package is": ("dgmpipe.errors", "dgmpipe.elsewhere"),
    "blank lines": ("\n\n\n", "\n\n\n\n\n"),
    "what is only for users": (
        "class Task:\n",
        "def draw(seed: int) -> int:  # only for users\n    return seed\n\n\nclass Task:\n",
    ),
}
MEANING: dict[str, tuple[str, str]] = {
    "a formula": ("math.log(1 + x)", "math.log(2 + x)"),
    "a condition": ("x < 0", "x <= 0"),
    "what is raised": ("raise ValueError", "raise TypeError"),
    "a default": ("def loss(x: float)", "def loss(x: float = 1)"),
    "a foreign import": ("import math", "import cmath as math"),
}


def _change(tmp_path: Path, old: str, new: str) -> Callable[[bool], bool]:
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    before.write_text(SOURCE)
    assert old in SOURCE
    after.write_text(SOURCE.replace(old, new))
    return lambda training: (
        source_digest(before, training=training) != source_digest(after, training=training)
    )


@pytest.mark.parametrize(("old", "new"), MEANINGLESS.values(), ids=MEANINGLESS)
def test_what_has_no_meaning_reruns_nothing(old: str, new: str, tmp_path: Path) -> None:
    changed = _change(tmp_path, old, new)
    assert not changed(False)
    assert not changed(True)


@pytest.mark.parametrize(("old", "new"), MEANING.values(), ids=MEANING)
def test_what_has_a_meaning_reruns(old: str, new: str, tmp_path: Path) -> None:
    changed = _change(tmp_path, old, new)
    assert changed(False)
    assert changed(True)


def test_how_a_training_is_evaluated_does_not_retrain_it(tmp_path: Path) -> None:
    for old, new in (("        return loss(x)", "        return 2 * loss(x)"), ("x - 1", "x - 2")):
        changed = _change(tmp_path, old, new)
        assert changed(False)
        assert not changed(True)


def _sources(*roots: str, training: bool = False) -> set[str]:
    found = digests.source_files(*roots, training=training)
    return {str(path.relative_to(ROOT / "src/dgmpipe")) for path in found}


def test_a_training_depends_on_its_own_model_and_on_no_measure() -> None:
    run = "dgmpipe.training.run"
    gan = _sources(run, "dgmpipe.models.wgan", training=True)
    assert {
        "models/wgan.py",
        "models/gan.py",
        "models/generator.py",
        "training/loop.py",
        "streams.py",
    } <= gan
    assert not any(
        name.startswith(("evaluation/", "statistics/", "figures/", "plan/", "jobs/"))
        for name in gan
    )
    assert not {"models/vae.py", "models/dcgan.py"} & gan
    assert "statistics/energy.py" in _sources("dgmpipe.models.gan")


def test_the_workflow_does_not_come_to_what_is_only_for_users() -> None:
    """No digest counts it: neither a seeded sample nor its module may be used elsewhere."""
    sampled, imported = set(), set()
    for path in (ROOT / "src/dgmpipe").rglob("*.py"):
        name = str(path.relative_to(ROOT / "src/dgmpipe"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "dgmpipe.models.sampling":
                imported.add(name)
            is_sample = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sample"
            if is_sample and "seed" in {keyword.arg for keyword in node.keywords}:
                sampled.add(name)
    assert imported == {"models/flow.py", "models/generator.py", "models/image_flow.py"}
    assert sampled <= {"commands/app.py", "commands/functions.py", "models/gan.py", "models/vae.py"}


def test_a_figure_depends_on_its_function_and_the_style_alone() -> None:
    names = _sources("dgmpipe.figures.figure_08")
    assert {"figures/figure_08.py", "figures/style.py", "figures/dgmpipe.mplstyle"} <= names
    assert not {name for name in names if name.startswith(("models/", "training/", "data/"))}
    assert "figures/figure_07.py" not in names


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package in the place of this one."""
    root = tmp_path / "dgmpipe"
    (root / "sub").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "sub/__init__.py").write_text("from dgmpipe.sub.other import thing\n")
    (root / "a.py").write_text("import os\nfrom dgmpipe.b import x\n")
    (root / "b.py").write_text("def f():\n    from dgmpipe.sub import late\n    import dgmpipe.c\n")
    (root / "c.py").write_text("from dgmpipe.a import x\n")
    (root / "sub/late.py").write_text("x = 1\n")
    (root / "sub/other.py").write_text("thing = 1\n")
    monkeypatch.setattr(digests, "_PACKAGE", root)
    for cached in (digests._imports, digests._meaning):
        cached.cache_clear()
    yield root
    for cached in (digests._imports, digests._meaning):
        cached.cache_clear()


def test_imports_are_followed_everywhere_and_in_circles(package: Path) -> None:
    files = {str(path.relative_to(package)) for path in digests.source_files("dgmpipe.a")}
    assert files == {"a.py", "b.py", "c.py", "sub/late.py"}


def test_a_digest_changes_with_what_is_imported_and_with_nothing_else(package: Path) -> None:
    def digest() -> str:
        digests._meaning.cache_clear()
        return source_digest("dgmpipe.a")

    before = digest()
    (package / "sub/other.py").write_text("thing = 2\n")
    assert digest() == before
    (package / "sub/late.py").write_text("x = 2\n")
    assert digest() != before


def test_config_digests_ignore_the_order_of_keys() -> None:
    assert config_digest({"a": 1, "b": [2]}) == config_digest({"b": [2], "a": 1})
    assert config_digest({"a": 1}) != config_digest({"a": 2})


def test_a_digest_does_not_depend_on_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "one.py", tmp_path / "a/two.py"):
        path.write_text(SOURCE)
    assert source_digest(tmp_path / "one.py") == source_digest(tmp_path / "a/two.py")


# What versions of Python are known to take apart or to write in different ways.
THROUGH_THE_VERSIONS = """\
import math


async def pair(a: int, /, *rest: int, b: dict = {}, **more: int) -> str:
    text = f"{a['x']!r:>{b['w']}} and {more}" "é" if 0 else 'it"s'
    try:
        return [*rest, -1.5e-300, 1j, ...][::2] @ text
    except* ValueError as error:
        del error
    match rest:
        case [first, *_] if first:
            return lambda *, y=1: (yield y)


@math.cached
class Empty(dict, metaclass=type):
    size: int = 3
"""


def test_a_digest_is_the_same_in_every_version_of_python(tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text(THROUGH_THE_VERSIONS, encoding="utf-8")
    assert source_digest(tmp_path / "source.py") == "d3e00c383ff9"
