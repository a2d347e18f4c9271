"""The config, checked against its schema before any job starts."""

import difflib
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft4Validator, Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from dgmpipe.errors import UserError
from dgmpipe.models.catalog import MODELS, is_gan

__all__ = ["check_config", "tier_changes"]

# What JSON Schema calls the types of YAML's values.
_TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a block of keys",
    "boolean": "true or false",
    "null": "null",
}


# Only since Draft 6 is 1000.0 an integer as well, which it is not to what is given it here.
_Validator = validators.extend(Draft202012Validator, type_checker=Draft4Validator.TYPE_CHECKER)


def check_config(config: dict[str, Any], schema: str | Path) -> None:
    """Check a config, as parsed from YAML, against a schema file.

    Numbers that are text where the schema wants a number are replaced in place: Snakemake passes
    on what stands within braces or brackets on its command line as text. So are whole numbers
    written as others are, such as 1.0e+3, where the schema wants an integer. Models that are null
    are left out: a config that is laid over another has no other way to say so.

    Raises:
        UserError: If a key is unknown or missing, a value is not allowed, or two values do not go
            together; the message names the key by its path from the top, the value, and what is
            allowed.
    """
    if isinstance(models := config.get("models"), dict):
        config["models"] = {n: block for n, block in models.items() if block not in (None, "null")}
    rules = yaml.safe_load(Path(schema).read_text(encoding="utf-8"))
    validator = _Validator(rules)
    _read_numbers(config, list(validator.iter_errors(config)))
    error = best_match(validator.iter_errors(config))
    if error is not None:
        raise UserError(f"config: {_explain(error)}; see config/README.md")
    for sentence in _contradictions(config):
        raise UserError(f"config: {sentence}; see config/README.md")


def tier_changes(config: Mapping[str, Any], folder: str | Path) -> list[str]:
    """Say where a config differs from the file of its tier, laid over the one with all keys.

    Args:
        config: The config of an invocation.
        folder: Folder of the config files.

    Returns:
        A line a key, such as "models.vae.steps: 500 instead of 2000"; none if the tier has no file.
        The block `cluster` does not count: it changes no result.
    """
    from snakemake.utils import update_config

    folder = Path(folder)
    blocks = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))
    )
    own = [block for block in blocks if block.get("tier") == config["tier"]]
    if not own:
        return []
    expected = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    update_config(expected, own[0])
    return list(_differences(config, expected | {"cluster": {}}))


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key, value in theirs.items():
        if key not in ours:
            yield f"{at}{key} is left out"
        elif isinstance(value, Mapping):
            yield from _differences(ours[key], value, f"{at}{key}.")
        elif ours[key] != value:
            yield f"{at}{key}: {ours[key]} instead of {value}"


def _contradictions(config: dict[str, Any]) -> Iterator[str]:
    """Say what does not go together in blocks that are valid key by key."""
    models = config["models"]
    latent, quality = config["evaluation"]["latent"], config["evaluation"]["quality"]
    for name in config["cluster"]["training_minutes"]:
        if name not in (known := ["default", *MODELS]):
            yield _unknown_key(str(name), "cluster.training_minutes", known)
    if not latent["num_points"] <= latent["num_candidates"] <= latent["resolution"] ** 2:
        yield (
            "evaluation.latent.num_candidates must lie between num_points and resolution squared,"
            f" {latent['num_points']} and {latent['resolution'] ** 2}, not be"
            f" {latent['num_candidates']}"
        )
    if quality["num_neighbours"] >= quality["num_images"]:
        yield (
            "evaluation.quality.num_neighbours must be less than num_images, which is"
            f" {quality['num_images']}, not {quality['num_neighbours']}"
        )
    for name, block in models.items():
        start = MODELS[name].generator_from
        if start is None:
            continue
        if start not in models:
            yield f"models.{name} starts from the generator of {start}, which models does not have"
            return
        for key in ("latent_dim", "width"):
            if block[key] != models[start][key]:
                yield (
                    f"models.{name}.{key} must be {models[start][key]}, as models.{start}.{key} is:"
                    f" it starts from that generator; not {block[key]}"
                )
    sizes = {n: b["held_out_size"] for n, b in models.items() if is_gan(n)}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size} in models.{name}" for name, size in sizes.items())
        yield f"held_out_size must be the same for all GANs, to be compared; it is {listed}"


def _read_numbers(config: dict[str, Any], errors: Iterable[ValidationError]) -> None:
    """Replace text, or a float, by the number that an error says is to be in its place."""
    for error in errors:
        value = error.instance
        if error.validator != "type" or type(value) not in (str, float):
            continue
        if isinstance(value, str):
            try:
                value = yaml.safe_load(value)
            except yaml.YAMLError:
                continue
        if type(value) is float and error.validator_value == "integer" and value.is_integer():
            value = int(value)
        if type(value) in (int, float):
            *parents, last = error.absolute_path
            block = functools.reduce(operator.getitem, parents, config)
            block[last] = value


def _explain(error: ValidationError) -> str:
    """Say in one sentence what a validation error means for whoever wrote the config."""
    where = ".".join(str(part) for part in error.absolute_path) or "the top level"
    value, allowed = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema["properties"])
            unknown = sorted(str(key) for key in value if key not in known)[0]
            return _unknown_key(unknown, where, known)
        case "required":
            missing = next(key for key in allowed if key not in value)
            return f"key '{missing}' is missing at {where}"
        case "type":
            names = [allowed] if isinstance(allowed, str) else allowed
            expected = " or ".join(_TYPE_NAMES[name] for name in names)
            return f"{where} must be {expected}, not {value!r}{_number_hint(value)}"
        case "enum" | "const":
            choices = allowed if isinstance(allowed, list) else [allowed]
            return f"{where} must be one of {', '.join(map(str, choices))}, not {value!r}"
        case "minimum":
            return f"{where} must be at least {allowed}, not {value}"
        case "maximum":
            return f"{where} must be at most {allowed}, not {value}"
        case "exclusiveMinimum":
            return f"{where} must be greater than {allowed}, not {value}"
        case "exclusiveMaximum":
            return f"{where} must be less than {allowed}, not {value}"
        case "uniqueItems":
            twice = next(item for k, item in enumerate(value) if item in value[:k])
            return f"{where} lists {twice} twice"
        case "minItems" | "minProperties":
            return f"{where} must have at least {allowed} of them, not {len(value)}"
        case "pattern":
            expected = error.schema.get("description", f"text that matches {allowed}")
            return f"{where} is {value!r} and should be {expected}"
    return f"{where}: {error.message}"


def _unknown_key(unknown: str, where: str, known: list[str]) -> str:
    close = difflib.get_close_matches(unknown, known, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"unknown key '{unknown}' at {where}{hint}; the allowed keys are {', '.join(known)}"


def _number_hint(value: Any) -> str:
    """YAML reads 1e-3 as text: a number needs a dot before its exponent."""
    try:
        return f" (YAML wants a dot before the exponent: write {float(value)!r})"
    except (TypeError, ValueError):
        return ""
