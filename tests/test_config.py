import contextlib
import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.utils import update_config

from dgmpipe.config import check_config, tier_changes
from dgmpipe.errors import UserError
from dgmpipe.models.catalog import MODELS
from dgmpipe.report import dump_config

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
TIERS = {
    name: yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    for name in ("config", "paper", "smoke")
}


def _keys(block: Any, path: str = "") -> set[str]:
    if not isinstance(block, dict):
        return {path}
    return set().union(*(_keys(value, f"{path}.{key}") for key, value in block.items()))


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_is_valid(tier: str) -> None:
    check_config(TIERS[tier], SCHEMA)


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


def test_a_tier_of_few_keys_is_compared_with_all_that_it_is_laid_over() -> None:
    config: dict[str, Any] = {}
    for name in ("config", "fashion"):
        update_config(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    assert tier_changes(config, ROOT / "config") == []
    config["seeds"] = [5, 6]
    assert tier_changes(config, ROOT / "config") == ["seeds: [5, 6] instead of [0]"]


@pytest.mark.parametrize("thousand", [1000.0, "1.0e+3", "1000"])
def test_a_whole_number_may_be_written_as_another(thousand: Any) -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["realnvp"]["steps"], config["seeds"] = thousand, [0.0]
    check_config(config, SCHEMA)
    for value in (config["models"]["realnvp"]["steps"], config["seeds"][0]):
        assert type(value) is int
    config["models"]["realnvp"]["steps"] = 1000.5
    with pytest.raises(UserError, match=r"realnvp.steps must be a whole number, not 1000\.5"):
        check_config(config, SCHEMA)


def test_a_config_that_is_kept_leaves_out_what_it_left_out_when_it_is_laid_over_another() -> None:
    config = copy.deepcopy(TIERS["smoke"])
    del config["models"]["wgan_vae"]
    laid = copy.deepcopy(TIERS["config"])
    update_config(laid, yaml.safe_load(dump_config(config)))
    check_config(laid, SCHEMA)
    assert laid["models"] == config["models"]


@pytest.mark.parametrize("nothing", [None, "null"])
def test_a_model_that_is_null_is_left_out(nothing: str | None) -> None:
    config = copy.deepcopy(TIERS["paper"])
    config["models"]["wgan_vae"] = nothing
    check_config(config, SCHEMA)
    assert "wgan_vae" not in config["models"]
    assert tier_changes(config, ROOT / "config") == ["models.wgan_vae is left out"]
    config["models"]["vae"] = nothing
    with pytest.raises(UserError, match="dcgan_vae starts from the generator of vae, which"):
        check_config(config, SCHEMA)


def test_every_key_is_explained() -> None:
    text = (ROOT / "config/README.md").read_text()
    for key in _keys(TIERS["config"]):
        names = {f"`{key.split('.')[-1]}`", f"`{'.'.join(key.split('.')[-2:])}`"}
        assert any(name in text for name in names), f"config/README.md does not explain {key}"


def test_the_schema_and_the_catalogue_know_the_same_models() -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    assert list(schema["properties"]["models"]["properties"]) == list(MODELS)


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
        _set("models.wgan_random.held_out_size", 7),
        "held_out_size must be the same for all GANs, to be compared; it is",
    ),
    "no momentum but more": (
        _set("models.dcgan_vae.beta_1", 1),
        "models.dcgan_vae.beta_1 must be less than 1, not 1",
    ),
    "typo at the top": (
        _set("sedes", [0]),
        "unknown key 'sedes' at the top level (did you mean 'seeds'?); the allowed keys are"
        " tier, seeds, device, data, models, evaluation, cluster",
    ),
    "typo in a model": (
        _set("models.vae.stpes", 5),
        "unknown key 'stpes' at models.vae (did you mean 'steps'?)",
    ),
    "unknown model": (
        _set("models.diffusion", {}),
        f"unknown key 'diffusion' at models; the allowed keys are {', '.join(MODELS)}",
    ),
    "minutes of an unknown model": (
        _set("cluster.training_minutes.reelnvp", 10),
        "unknown key 'reelnvp' at cluster.training_minutes (did you mean 'realnvp'?)",
    ),
    "no minutes for the other models": (
        _delete("cluster.training_minutes.default"),
        "key 'default' is missing at cluster.training_minutes",
    ),
    "no models": (_set("models", {}), "models must have at least 1 of them, not 0"),
    "missing key": (_delete("models.vae.width"), "key 'width' is missing at models.vae"),
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
    "a number that YAML reads as text": (
        _set("models.vae.learning_rate", "1e-3"),
        "models.vae.learning_rate must be a number, not '1e-3' (YAML wants a dot before the"
        " exponent: write 0.001)",
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
    "one seed that is no list": (_set("seeds", 4), "seeds must be a list, not 4"),
    "seed as text": (_set("seeds", ["a"]), "seeds.0 must be a whole number, not 'a'"),
    "unknown device": (
        _set("device", "gpu"),
        "device is 'gpu' and should be auto, cpu, cuda or cuda:N",
    ),
    "tier that leaves results": (
        _set("tier", "../elsewhere"),
        "tier is '../elsewhere' and should be lower-case letters, digits, - and _,"
        " as it names a folder",
    ),
    "dataset that leaves results": (
        _set("data.images.name", "../../etc"),
        "data.images.name is '../../etc' and should be lower-case letters",
    ),
    "folder as a number": (
        _set("data.images.folder", 7),
        "data.images.folder must be text or null, not 7",
    ),
    "cut-off checksum": (
        _set("data.images.md5.t10k-labels-idx1-ubyte", "27ae"),
        "data.images.md5.t10k-labels-idx1-ubyte is '27ae' and should be an MD5 of 32",
    ),
    "no noise": (_set("data.moons.noise", 0), "data.moons.noise must be at least 0.01, not 0"),
    "too many hidden dimensions": (
        _set("models.vae.latent_dim", 3),
        "models.vae.latent_dim must be at most 2, not 3",
    ),
    "points that make no square": (
        _set("evaluation.latent.num_points", 63),
        "evaluation.latent.num_points must be one of 4, 9, 16, 25, 36, 49, 64, 81, 100, not 63",
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
        check_config(config, SCHEMA)
    message = str(error.value)
    assert message.startswith(f"config: {sentence}")
    assert message.endswith("; see config/README.md")
    assert "\n" not in message


def test_numbers_from_the_command_line_are_read() -> None:
    config = copy.deepcopy(TIERS["config"])
    config["seeds"] = ["0", "12"]
    config["models"]["vae"] |= {"steps": "50", "learning_rate": "0.01"}
    check_config(config, SCHEMA)
    assert config["seeds"] == [0, 12]
    assert config["models"]["vae"]["steps"] == 50
    assert config["models"]["vae"]["learning_rate"] == 0.01


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
        check_config(config, SCHEMA)


def test_the_workflow_starts_without_torch() -> None:
    rules = (ROOT / "workflow/rules/common.smk").read_text()
    imports = re.findall(r"^from dgmpipe\..*$", rules, re.M)
    assert len(imports) > 3
    hooks = ["import dgmpipe.tracking, dgmpipe.report"]
    program = "\n".join([*imports, *hooks, "import sys; print('torch' in sys.modules)"])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr
