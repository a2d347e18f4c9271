import contextlib
import copy
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.utils import update_config

from dgmpipe.config import read_config
from dgmpipe.config.docs import MARK, readme_tables, schema
from dgmpipe.config.kinds import KINDS, ModelSettings
from dgmpipe.config.read import check_files, tier_changes
from dgmpipe.errors import UserError
from dgmpipe.pages.captions import dump_config

ROOT = Path(__file__).parent.parent
TIERS = {
    name: yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in ("config", "paper", "smoke")
}


def _keys(block: Any, path: str = "") -> set[str]:
    if not isinstance(block, dict):
        return {path}
    return set().union(*(_keys(value, f"{path}.{key}") for key, value in block.items()))


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_is_valid(tier: str) -> None:
    config = read_config(TIERS[tier])
    assert [config.title(model) for model in config.models] == [
        *("Real NVP", "OT-Flow", "VAE"),
        *("DCGAN", "DCGAN from VAE", "WGAN", "WGAN from VAE", "classifier"),
    ]


def test_points_of_a_sweep_are_not_compared_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def equal(self: ModelSettings, other: object) -> bool:
        compared.append(self)
        return self is other

    monkeypatch.setattr(ModelSettings, "__eq__", equal)
    rates = [0.001 + n / 1e6 for n in range(300)]
    sweeps = {"s": {"models": ["realnvp"], "learning_rate": rates}}
    config = read_config(TIERS["smoke"] | {"sweeps": sweeps})
    assert len(config.models) == 308
    assert len(compared) <= 300


def test_the_tiers_have_the_same_keys() -> None:
    assert _keys(TIERS["config"]) == _keys(TIERS["paper"]) == _keys(TIERS["smoke"])


def test_the_tiers_have_names_of_their_own() -> None:
    assert {TIERS[name]["tier"] for name in TIERS} == {"laptop", "paper", "smoke"}


def test_a_config_is_compared_with_the_file_of_its_tier() -> None:
    config = copy.deepcopy(TIERS["paper"])
    assert tier_changes(config, ROOT / "config") == []
    config["models"]["wgan_vae"] = config["models"]["wgan_vae"] | {"steps": 700}
    config["seeds"] = [0, 1]
    del config["models"]["classifier"]
    assert tier_changes(config, ROOT / "config") == [
        "seeds: [0, 1] instead of [0]",
        "models.wgan_vae.steps: 700 instead of 50000",
        "models.classifier is left out",
    ]
    assert tier_changes(config | {"tier": "mine"}, ROOT / "config") == []


def test_what_a_tiers_file_leaves_at_its_default_is_compared_as_well() -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["vae"] |= {"precision": "bfloat16", "average": 0, "title": "ours"}
    config["models"]["mine"] = {"like": "vae", "average": 0.9}
    config["data"]["images"]["folder"] = "a folder with the same files"
    changes = ["models.vae.precision: bfloat16 instead of float32"]
    assert tier_changes(config, ROOT / "config") == changes


@pytest.mark.parametrize("other", ["", "# nothing yet\n", "[1, 2]\n"])
def test_configs_of_ones_own_are_beside_those_of_the_tiers(other: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config/config.yaml", tmp_path)
    (tmp_path / "a.yaml").write_text(other, encoding="utf-8")
    block: dict[str, Any] = {"like": "vae", "latent_dim": 8}
    mine = {"tier": "mine", "models": {"vae8": block, "wgan_vae": None}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    config = copy.deepcopy(TIERS["config"])
    update_config(config, mine)
    assert tier_changes(config, tmp_path) == []
    config["models"]["vae8"] = block | {"latent_dim": 16}
    config["models"]["wgan_vae"] = {"kind": "wgan"}
    assert tier_changes(config, tmp_path) == [
        "models.wgan_vae: {'kind': 'wgan'} instead of None",
        "models.vae8.latent_dim: 16 instead of 8",
    ]


def test_a_tier_of_few_keys_is_compared_with_all_that_it_is_laid_over() -> None:
    config: dict[str, Any] = {}
    for name in ("config", "fashion"):
        update_config(
            config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))
        )
    assert tier_changes(config, ROOT / "config") == []
    config["seeds"] = [5, 6]
    assert tier_changes(config, ROOT / "config") == ["seeds: [5, 6] instead of [0]"]


@pytest.mark.parametrize("thousand", [1000.0, "1.0e+3", "1e3", "1000"])
def test_a_whole_number_may_be_written_as_another(thousand: Any) -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["realnvp"]["steps"], config["seeds"] = thousand, [0.0]
    read = read_config(config)
    assert read.models["realnvp"].steps == 1000
    assert read.seeds == [0]
    assert type(read.seeds[0]) is int
    config["models"]["realnvp"]["steps"] = 1000.5
    with pytest.raises(UserError, match=r"realnvp.steps must be a whole number, not 1000\.5"):
        read_config(config)


def test_a_config_that_is_kept_leaves_out_what_it_left_out_when_it_is_laid_over_another() -> None:
    config = copy.deepcopy(TIERS["smoke"])
    del config["models"]["wgan_vae"]
    laid = copy.deepcopy(TIERS["config"])
    update_config(laid, yaml.safe_load(dump_config(config)))
    assert read_config(laid).models == read_config(config).models


@pytest.mark.parametrize("nothing", [None, "null"])
def test_a_model_that_is_null_is_left_out(nothing: str | None) -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["wgan_vae"] = nothing
    assert "wgan_vae" not in read_config(config).models
    assert tier_changes(config, ROOT / "config") == ["models.wgan_vae is left out"]
    config["models"]["vae"] = nothing
    with pytest.raises(UserError, match="dcgan_vae starts from the generator of vae, which"):
        read_config(config)


def test_the_readme_and_the_schema_are_those_of_the_code() -> None:
    """If this fails, run `dgmpipe pages config`."""
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert readme.split(MARK)[1].strip() == readme_tables().strip()
    assert json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8")) == schema()


def test_every_key_is_explained() -> None:
    text = readme_tables()
    for key in _keys(TIERS["config"]):
        if not re.match(r"\.cluster\.\w+_minutes\.", key):
            names = {f"`{key.split('.')[-1]}`", f"`{'.'.join(key.split('.')[-2:])}`"}
            assert any(name in text for name in names), f"nothing explains {key}"
    for kind in KINDS.values():
        assert all(field.description for field in kind.settings.model_fields.values())


CONFIGS = [str(p.relative_to(ROOT / "config")) for p in (ROOT / "config").rglob("*.yaml")]


@pytest.mark.parametrize("name", [name.removesuffix(".yaml") for name in CONFIGS])
def test_the_schema_takes_what_the_check_takes(name: str) -> None:
    config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(config, schema())


def test_the_schema_refuses_what_an_editor_can_know_to_be_wrong() -> None:
    config = copy.deepcopy(TIERS["config"])
    config["models"]["vae"]["stepz"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, schema())


def _set(path: str, value: Any) -> Callable[[dict], None]:
    *parents, last = path.split(".")

    def change(config: dict) -> None:
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def _delete(path: str) -> Callable[[dict], None]:
    *parents, last = path.split(".")

    def change(config: dict) -> None:
        for parent in parents:
            config = config[parent]
        del config[last]

    return change


_STUDY = {"question": "?", "sweep": "t", "x": "width", "measures": ["evidence.gap_mean"]}
MISTAKES = {
    "a GAN that starts from a VAE that is not there": (
        _delete("models.vae"),
        "models.dcgan_vae starts from the generator of vae, which models does not have",
    ),
    "a GAN that is wider than the VAE that it starts from": (
        _set("models.wgan_vae.width", 16),
        "models.wgan_vae.width must be 32, as models.vae.width is: it starts from that generator;"
        " not 16",
    ),
    "curves that cannot be compared": (
        _set("models.wgan_vae.held_out_size", 7),
        "held_out_size must be the same for all GANs, to be compared; it is",
    ),
    "no momentum but more": (
        _set("models.dcgan_vae.beta_1", 1),
        "models.dcgan_vae.beta_1 must be less than 1, not 1",
    ),
    "typo at the top": (
        _set("sedes", [0]),
        "unknown key 'sedes' at the top level (did you mean 'seeds'?); the allowed keys are"
        " tier, seeds, device, released, data, models, sweeps, studies, evaluation, cluster",
    ),
    "typo in a model": (
        _set("models.vae.stpes", 5),
        "unknown key 'stpes' at models.vae (did you mean 'steps'?)",
    ),
    "a model without a kind": (
        _set("models.diffusion", {}),
        f"models.diffusion has no kind: one of {', '.join(KINDS)}",
    ),
    "an old config": (
        _delete("models.wgan_random.kind"),
        "models.wgan_random has no kind: write `kind: wgan` in it",
    ),
    "an unknown kind": (
        _set("models.vae.kind", "vea"),
        f"models.vae.kind must be one of {', '.join(KINDS)}, not 'vea' (did you mean 'vae'?)",
    ),
    "a flow that starts from a VAE": (
        _set("models.realnvp.start", "vae"),
        "models.realnvp cannot start from vae: only a VAE or a GAN can",
    ),
    "a VAE that starts from what starts from it": (
        _set("models.vae.start", "wgan_vae"),
        "models.vae starts, over wgan_vae, from itself",
    ),
    "a model like none": (
        _set("models.wgan_vae.like", "wgan"),
        "models.wgan_vae is like wgan, which models does not have",
    ),
    "a model like itself": (
        _set("models.vae.like", "vae"),
        "models.vae is like vae, which is like itself",
    ),
    "steps that are not a number": (
        _set("models.vae.steps", math.nan),
        "models.vae.steps must be a whole number, not nan",
    ),
    "an infinite learning rate": (
        _set("models.vae.learning_rate", math.inf),
        "models.vae.learning_rate must be a finite number, not inf",
    ),
    "a limit that is not a number": (
        _set("evaluation.latent.limit", math.nan),
        "evaluation.latent.limit must be a finite number, not nan",
    ),
    "true for a number": (
        _set("models.vae.steps", True),
        "models.vae.steps must be a whole number, not True",
    ),
    "a second judge": (
        _set("models.judge", {"like": "classifier"}),
        "there can be one judge of images, not 2: classifier, judge",
    ),
    "a model named like a point": (
        _set("models.vae@width=8", {"like": "vae"}),
        "models.vae@width=8: a model's name begins with a letter or digit, has no space, @, /,",
    ),
    "a model named like the real images": (
        _set("models.real", {"like": "vae"}),
        "models.real: a model's name begins with a letter or digit, has no space, @, /, { and },"
        " and is not `real`; choose another",
    ),
    "a model named like a pattern": (
        _set("models.a{b}", {"like": "vae"}),
        "models.a{b}: a model's name begins with",
    ),
    "a sweep of nothing": (
        _set("sweeps", {"s": {"models": ["vae"]}}),
        "sweeps.s has no key with a list of values",
    ),
    "a sweep of an unknown model": (
        _set("sweeps", {"s": {"models": ["vea"], "width": [8]}}),
        "sweeps.s.models names vea, which models does not have",
    ),
    "a sweep of an unknown key": (
        _set("sweeps", {"s": {"models": ["vae"], "widht": [8]}}),
        "unknown key 'widht' at sweeps.s, vae@widht=8 (did you mean 'width'?)",
    ),
    "a sweep with a value that is not allowed": (
        _set("sweeps", {"s": {"models": ["vae"], "width": [8, 0]}}),
        "sweeps.s, vae@width=0.width must be at least 1, not 0",
    ),
    "a sweep with a value twice": (
        _set("sweeps", {"s": {"models": ["vae"], "width": [8, 8]}}),
        "sweeps.s.width lists two values that have one name: [8, 8]",
    ),
    "a sweep with a value twice, zipped": (
        _set("sweeps", {"s": {"models": ["vae"], "combine": "zip", "width": [8, 8]}}),
        "sweeps.s: vae@width=8 and vae@width=8 are the same",
    ),
    "lists of different lengths, zipped": (
        _set(
            "sweeps",
            {"s": {"models": ["vae"], "combine": "zip", "width": [8], "steps": [5, 6]}},
        ),
        "sweeps.s zips lists of different lengths: width has 1, steps has 2",
    ),
    "a sweep that leaves its start behind": (
        _set("sweeps", {"s": {"models": ["wgan_vae"], "latent_dim": [4]}}),
        "models.wgan_vae@latent_dim=4.latent_dim must be 2, as models.vae.latent_dim is",
    ),
    "a study of an unknown sweep": (
        _set("studies", {"s": {"question": "?", "sweep": "t", "x": "width", "measures": ["a.b"]}}),
        "studies.s.sweep names t, which sweeps does not have",
    ),
    "a study of a model that there is not": (
        _set("studies", {"s": {"question": "?", "models": ["realnvq"], "measures": ["flow.kl"]}}),
        "studies.s.models names realnvq, which models does not have",
    ),
    "a study of models and of a sweep": (
        _set(
            "studies",
            {"s": {"question": "?", "models": ["vae"], "sweep": "t", "measures": ["a.b"]}},
        ),
        "studies.s must have either models, or sweep and x, not both",
    ),
    "a study of nothing": (
        _set("studies", {"s": {"question": "?", "sweep": "t", "measures": ["a.b"]}}),
        "studies.s must have sweep and x, or models in the place of both",
    ),
    "a map of one key": (
        _set("studies", {"s": _STUDY | {"y": "width"}}),
        "studies.s must have two swept keys as x and y, or no y",
    ),
    "a map with a logarithmic axis": (
        _set("studies", {"s": _STUDY | {"y": "steps", "log_x": True}}),
        "studies.s must have no lines and no log_x where y makes maps of it",
    ),
    "a map of a key that is not swept": (
        lambda config: config.update(
            sweeps={"t": {"models": ["vae"], "width": [8, 16]}},
            studies={"s": _STUDY | {"y": "steps"}},
        ),
        "studies.s.y must be a key of the sweep t, not 'steps'",
    ),
    "a line across a panel that there is not": (
        _set(
            "studies",
            {
                "s": {
                    "question": "?",
                    "models": ["realnvp"],
                    "measures": ["flow.kl"],
                    "lines": {"flow.lk": ["flow.kde_2000_kl"]},
                }
            },
        ),
        "studies.s.lines names flow.lk, which measures does not",
    ),
    "a divergence from points without a density": (
        _set(
            "models.radial",
            {"like": "realnvp", "kind": "radial", "objective": "reverse_kl", "data": "a.csv"},
        ),
        "models.radial must have data: moons with objective: reverse_kl",
    ),
    "a study whose name leaves results": (
        _set(
            "studies", {"../x": {"question": "?", "sweep": "s", "x": "width", "measures": ["a.b"]}}
        ),
        "studies.../x: a study's name has letters, digits, - and _, as it names files",
    ),
    "a logarithmic axis of what is not measured": (
        lambda config: config.update(
            sweeps={"s": {"models": ["vae"], "width": [8]}},
            studies={
                "q": {
                    "question": "?",
                    "sweep": "s",
                    "x": "width",
                    "measures": ["evidence.elbo"],
                    "log_y": ["evidence.elb"],
                }
            },
        ),
        "studies.q.log_y names evidence.elb, which measures does not",
    ),
    "a sweep with a value twice, written in two ways": (
        _set("sweeps", {"s": {"models": ["vae"], "width": ["8", 8.0]}}),
        "sweeps.s: vae@width=8 and vae@width=8.0 are the same",
    ),
    "a sweep with a model twice": (
        _set("sweeps", {"s": {"models": ["vae", "vae"], "width": [8]}}),
        "sweeps.s.models lists a model twice: vae, vae",
    ),
    "a seed that no float can hold, as text": (
        _set("seeds", ["9007199254740993"]),
        "seeds.0 must be less than 2**53",
    ),
    "more steps than anyone can make": (
        _set("models.vae.steps", 10**400),
        "models.vae.steps must be less than 2**53",
    ),
    "minutes of an unknown model": (
        _set("cluster.training_minutes.reelnvp", 10),
        "unknown key 'reelnvp' at cluster.training_minutes (did you mean 'realnvp'?)",
    ),
    "no minutes for the other models": (
        _delete("cluster.training_minutes.default"),
        "cluster training_minutes needs a key 'default'",
    ),
    "two models of one title": (
        _set("models.other", {"like": "wgan_vae", "title": "VAE"}),
        "models.vae and models.other have one title, 'VAE'; give one of them another by the key",
    ),
    "no models": (_set("models", {}), "models must have at least 1 of them, not 0"),
    "missing key": (_delete("models.vae.steps"), "key 'steps' is missing at models.vae"),
    "missing block": (_delete("data.moons"), "key 'moons' is missing at data"),
    "negative steps": (_set("models.vae.steps", -5), "models.vae.steps must be at least 1, not -5"),
    "no steps": (_set("models.otflow.steps", 0), "models.otflow.steps must be at least 1, not 0"),
    "fractional steps": (
        _set("models.vae.steps", 2.5),
        "models.vae.steps must be a whole number, not 2.5",
    ),
    "steps as text": (
        _set("models.vae.steps", "many"),
        "models.vae.steps must be a whole number, not 'many'",
    ),
    "learning rate of zero": (
        _set("models.vae.learning_rate", 0),
        "models.vae.learning_rate must be greater than 0, not 0",
    ),
    "batch of one": (
        _set("models.vae.batch_size", 1),
        "models.vae.batch_size must be at least 2, not 1",
    ),
    "seed twice": (_set("seeds", [0, 3, 0]), "seeds lists 0 twice"),
    "no seed": (_set("seeds", []), "seeds must have at least 1 of them, not 0"),
    "negative seed": (_set("seeds", [0, -1]), "seeds.1 must be at least 0, not -1"),
    "one seed that is no list": (_set("seeds", 4), "seeds must be a list, such as [0], not 4"),
    "seed as text": (_set("seeds", ["a"]), "seeds.0 must be a whole number, not 'a'"),
    "own seed twice": (_set("models.vae.seeds", [1, 1]), "models.vae.seeds lists 1 twice"),
    "no own seed": (
        _set("models.vae.seeds", []),
        "models.vae.seeds must have at least 1 of them, not 0",
    ),
    "seeds of a start that are not trained": (
        _set("models.wgan_vae.seeds", [0, 1, 4]),
        "models.wgan_vae starts from the generator of vae of the same seed, which has seeds [0] and"
        " not [1, 4]; add these to its `seeds` or leave them out here",
    ),
    "no seed that all models have": (
        _set("models.realnvp.seeds", [1, 2]),
        "models need one seed that all have, which figures show; there is none in [1, 2] of realnvp"
        " and [0] of the others",
    ),
    "seeds of the judge": (
        _set("models.classifier.seeds", [0]),
        "models.classifier.seeds must be left out: a judge is trained once, for all seeds",
    ),
    "swept seeds": (
        _set("sweeps", {"s": {"models": ["vae"], "seeds": [[0], [1]]}}),
        "sweeps.s.seeds: seeds are not swept; give them to the models, whose points have the same",
    ),
    "unknown device": (
        _set("device", "gpu"),
        "device is 'gpu' and should be auto, cpu, cuda, cuda:N or mps",
    ),
    "tier that leaves results": (
        _set("tier", "../elsewhere"),
        "tier is '../elsewhere' and should be lower-case letters, digits, - and _,"
        " as it names a folder",
    ),
    "tier of other results": (
        _set("tier", "mlartifacts"),
        "tier must not be 'mlartifacts', a folder below results/ that is no tier's",
    ),
    "dataset that leaves results": (
        _set("data.images.name", "../../etc"),
        "data.images.name is '../../etc' and should be lower-case letters",
    ),
    "folder as a number": (
        _set("data.images.folder", 7),
        "data.images.folder must be text, not 7",
    ),
    "cut-off checksum": (
        _set("data.images.md5.t10k-labels-idx1-ubyte", "27ae"),
        "data.images.md5.t10k-labels-idx1-ubyte is '27ae' and should be an MD5 of 32",
    ),
    "no noise": (_set("data.moons.noise", 0), "data.moons.noise must be greater than 0, not 0"),
    "points that make no square": (
        _set("evaluation.latent.num_points", 63),
        "evaluation.latent.num_points must be a square number, as a square shows them, not 63",
    ),
    "more points than candidates": (
        _set("evaluation.latent.num_candidates", 63),
        "evaluation.latent.num_candidates must lie between num_points and resolution squared,"
        " 64 and 14400, not be 63",
    ),
    "more candidates than grid points": (
        _set("evaluation.latent.resolution", 40),
        "evaluation.latent.num_candidates must lie between num_points and resolution squared,"
        " 64 and 1600, not be 2000",
    ),
    "more neighbours than images": (
        _set("evaluation.quality.num_neighbours", 10_000),
        "evaluation.quality.num_neighbours must be less than num_images, which is 10000, not 10000",
    ),
    "block as a list": (_set("models", []), "models must be a block of keys, not []"),
}


@pytest.mark.parametrize(("change", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(change: Callable[[dict], None], sentence: str) -> None:
    config = copy.deepcopy(TIERS["config"])
    change(config)
    with pytest.raises(UserError) as error:
        read_config(config)
    message = str(error.value)
    assert message.startswith(f"config: {sentence}")
    assert message.endswith("; see config/README.md")
    assert "\n" not in message


def test_numbers_from_the_command_line_are_read() -> None:
    config = copy.deepcopy(TIERS["config"])
    config["seeds"] = ["0", "12"]
    config["models"]["vae"] |= {"steps": "50", "learning_rate": "0.01"}
    read = read_config(config)
    assert read.seeds == [0, 12]
    assert read.models["vae"].steps == 50
    assert read.setting("vae", "learning_rate") == 0.01


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(key=st.sampled_from(sorted(_keys(TIERS["config"]))), value=_JSON)
def test_no_value_whatever_breaks_the_check(key: str, value: Any) -> None:
    config = copy.deepcopy(TIERS["config"])
    _set(key.removeprefix("."), value)(config)
    # Anything but a UserError would be a traceback for the user.
    with contextlib.suppress(UserError):
        read_config(config)


def test_the_workflow_starts_without_torch() -> None:
    rules = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    imports = re.findall(r"^from dgmpipe\.[^(]*?$|^from dgmpipe\.[^(]*?\([^)]*\)$", rules, re.M)
    assert len(imports) > 3
    hooks = ["import dgmpipe.tracking.runs"]
    program = "\n".join([*imports, *hooks, "import sys; print('torch' in sys.modules)"])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr


FILES = {
    "a key that stands twice": (
        "seeds: [0]\ntier: a\nseeds: [1]\n",
        "the key 'seeds' stands twice in line 3",
    ),
    "a key that stands twice in a block": (
        "models:\n  vae:\n    steps: 1\n    steps: 2\n",
        "the key 'steps' stands twice in line 4",
    ),
    "a number in base 8": ("seeds: [010]\n", "010 would be read in base 8 in line 1"),
    "a number in base 60": ("steps: 1:30\n", "1:30 would be read in base 60 in line 1"),
    "a fraction in base 60": ("a: [1:30.5]\n", "1:30.5 would be read in base 60 in line 1"),
    "a number and a text that are one key": ("1: a\n'1': b\n", "the key '1' stands twice"),
    "a key that is a list": ("? [a]\n: 1\n", "line 1, is not YAML: found unhashable key"),
    "Latin-1": ("tier: a\n# größer\n".encode("latin-1"), "line 2, is not UTF-8"),
    "no YAML": ("tier: [a\nseeds: 0\n", "line 2, is not YAML"),
}


@pytest.mark.parametrize(("text", "sentence"), FILES.values(), ids=FILES)
def test_a_file_that_yaml_takes_or_refuses_without_help(
    text: str | bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        check_files([path])
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_the_files_that_come_with_it_are_taken() -> None:
    check_files(sorted((ROOT / "config").rglob("*.yaml")))


def _with_sweep(**sweep: Any) -> Any:
    return read_config(TIERS["config"] | {"sweeps": {"s": sweep}})


def test_a_sweep_has_a_point_for_each_combination() -> None:
    config = _with_sweep(models=["realnvp"], noise=[0.1, 0.2], width=[8, 16])
    names = [f"realnvp@noise={n},width={w}" for n in (0.1, 0.2) for w in (8, 16)]
    assert list(config.models)[8:] == names
    assert [config.setting(name, "noise") for name in names] == [0.1, 0.1, 0.2, 0.2]
    assert config.title(names[0]) == "Real NVP, noise 0.1, width 8"
    assert config.of_family("flow") == ["realnvp", "otflow", *names]


def test_a_sweep_can_zip_its_lists() -> None:
    config = _with_sweep(models=["vae"], combine="zip", width=[8, 16], steps=[1, 2])
    assert list(config.models)[8:] == ["vae@width=8,steps=1", "vae@width=16,steps=2"]


def test_a_point_starts_from_the_point_with_the_same_values() -> None:
    config = _with_sweep(models=["vae", "wgan_vae"], latent_dim=[1, 8])
    assert config.models["wgan_vae@latent_dim=8"].start == "vae@latent_dim=8"
    assert config.models["wgan_vae"].start == "vae"
    alone = _with_sweep(models=["wgan_vae"], batch_size=[16])
    assert alone.models["wgan_vae@batch_size=16"].start == "vae"


def test_a_model_has_the_settings_of_the_one_that_it_is_like() -> None:
    config = copy.deepcopy(TIERS["config"])
    config["models"]["other"] = {"like": "wgan_vae", "clip": 0.02}
    read = read_config(config)
    other, like = read.models["other"], read.models["wgan_vae"]
    assert other.model_dump(exclude={"clip"}) == like.model_dump(exclude={"clip"})
    assert read.setting("other", "clip") == 0.02
    assert read.title("other") == "other"


def test_a_model_of_another_kind_has_the_settings_that_both_kinds_share() -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["realnvp"] |= {"noise": 0.1, "num_layers": 3, "standardised": True}
    config["models"]["maf"] = {"like": "realnvp", "kind": "maf", "learning_rate": 0.002}
    config["models"]["planar"] = {"like": "maf", "kind": "planar", "standardised": False}
    config["models"]["other"] = {"like": "maf", "kind": "iaf", "width": 8}
    read = read_config(config)
    maf, planar = read.models["maf"], read.models["planar"]
    like = read.models["realnvp"]
    for key in ("steps", "batch_size", "noise", "evaluate_every", "held_out_size"):
        assert getattr(maf, key) == getattr(planar, key) == getattr(like, key)
    assert (maf.learning_rate, planar.learning_rate) == (0.002, 0.002)
    assert (maf.standardised, planar.standardised) == (True, False)
    # What a layer is differs from kind to kind, unless their settings are one class.
    assert (maf.num_layers, planar.num_layers) == (6, 32)
    assert (read.models["other"].num_layers, read.models["other"].width) == (6, 8)


@pytest.mark.parametrize(
    ("kind", "other", "settings"),
    [
        ("wgan", "gan", {"critic_steps": 7, "clip": 0.2, "clip_before_update": False}),
        ("wgan", "wgan_gp", {"critic_steps": 7}),
        ("wgan_gp", "gan", {"critic_steps": 7, "penalty": 3.0, "beta_1": 0.3, "beta_2": 0.4}),
        ("dcgan", "gan", {"fresh_latent_points": False, "beta_1": 0.3, "beta_2": 0.4}),
        (
            *("vae", "flexible_vae"),
            {"learning_rate": 0.3, "weight_decay": 0.2, "likelihood": "continuous_bernoulli"},
        ),
    ],
)
def test_a_relative_of_another_kind_loses_none_of_the_settings_that_it_has_as_well(
    kind: str, other: str, settings: dict[str, Any]
) -> None:
    config = copy.deepcopy(TIERS["paper"])
    common = {"steps": 9, "evaluate_every": 3, "checkpoint_every": 3, "width": 5}
    if "gan" in kind:
        common |= {"discriminator_learning_rate": 0.1, "generator_learning_rate": 0.2}
    config["models"]["first"] = {"kind": kind, **common, **settings}
    config["models"]["second"] = {"like": "first", "kind": other}
    second = read_config(config).models["second"].model_dump()
    assert second | common | settings == second


def test_settings_have_the_papers_values_where_they_are_left_out() -> None:
    """Whatever a kind takes by default stands in paper.yaml as well."""
    paper = read_config(TIERS["paper"])
    how_often = {"evaluate_every", "checkpoint_every", "held_out_size", "start", "title"}
    for name, of_model in paper.models.items():
        for key, field in type(of_model).model_fields.items():
            if key not in how_often and not field.is_required():
                assert getattr(of_model, key) == field.default, f"{name}.{key}"
