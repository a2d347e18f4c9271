"""From the YAML of a config to a checked one; whatever is wrong is one sentence."""

import difflib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dgmpipe.config.blocks import Cluster, Data, Evaluation, General, Study
from dgmpipe.config.kinds import KINDS, Family, Kind, ModelSettings
from dgmpipe.config.sweeps import Point, expand
from dgmpipe.errors import UserError

__all__ = ["Config", "check_files", "read_config", "settings_of", "tier_changes", "unknown_key"]

_Block = TypeVar("_Block", bound=BaseModel)
_SEE = "see config/README.md"
_TOP = [*General.model_fields, "data", "models", "sweeps", "studies", *("evaluation", "cluster")]

# What an error of pydantic's calls a type.
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, such as [0]",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "none_required": "left out",
}
_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


@dataclass(frozen=True)
class Config:
    """A config that was checked, with its sweeps expanded.

    Attributes:
        tier, seeds, device, released: As in the config.
        data, evaluation, cluster: Its blocks.
        models: The settings of every model by its name, points of sweeps included.
        sweeps: The points of each sweep, by its name.
        studies: The studies by name.
    """

    tier: str
    seeds: list[int]
    device: str
    released: bool
    data: Data
    evaluation: Evaluation
    cluster: Cluster
    models: dict[str, ModelSettings]
    sweeps: dict[str, list[Point]]
    studies: dict[str, Study]

    def points(self, study: str) -> list[Point]:
        """Return what answers a study: the points of its sweep, or models, that set nothing."""
        asked = self.studies[study]
        if asked.sweep:
            return self.sweeps[asked.sweep]
        return [Point(name, name, {}, self.models[name].model_dump()) for name in asked.models]

    def kind(self, model: str) -> Kind:
        """Return the kind of a model."""
        return KINDS[self.models[model].kind]

    def of_family(self, *families: Family) -> list[str]:
        """Return the models of some families, in the order of the config."""
        return [name for name in self.models if self.kind(name).family in families]

    def seeds_of(self, model: str) -> list[int]:
        """Return the seeds of a model's trainings, a judge's one for all others."""
        if self.kind(model).family == "judge":
            return [self.shown_seed]
        return self.models[model].seeds or self.seeds

    @property
    def all_seeds(self) -> list[int]:
        """The seeds of any training, the tier's first."""
        own = [settings.seeds or [] for settings in self.models.values()]
        return list(dict.fromkeys(itertools.chain(self.seeds, *own)))

    @property
    def shown_seed(self) -> int:
        """The seed that figures show: the first that all models have."""
        return self._shared_seeds()[0]

    @property
    def several(self) -> bool:
        """Whether any model is trained for more than one seed."""
        return any(len(self.seeds_of(model)) > 1 for model in self.models)

    def _shared_seeds(self) -> list[int]:
        judges = self.of_family("judge")
        own = [self.models[m].seeds or self.seeds for m in self.models if m not in judges]
        return [seed for seed in self.all_seeds if all(seed in seeds for seeds in own)]

    def setting(self, model: str, key: str) -> Any:
        """Return a setting of a model, or nothing if its kind has no such key."""
        return getattr(self.models[model], key, None)

    def title(self, model: str) -> str:
        """Return what a model is called in figures, tables and captions."""
        for points in self.sweeps.values():
            for point in points:
                if point.name == model:
                    values = ", ".join(f"{k} {v}" for k, v in point.values.items())
                    return f"{self.title(point.model)}, {values.replace('_', ' ')}"
        settings = self.models[model]
        if settings.title:
            return settings.title
        # The paper's names say what starts from where; another name speaks for itself.
        kind = self.kind(model).title
        if settings.start is None:
            return kind if model in (settings.kind, f"{settings.kind}_random") else model
        derived = f"{settings.kind}_{settings.start}"
        return f"{kind} from {self.title(settings.start)}" if model == derived else model


def read_config(config: Mapping[str, Any]) -> Config:
    """Check a config, as parsed from YAML, and return it.

    Numbers may be text, as Snakemake's command line gives them, and whole numbers may be written
    as others, such as 1.0e+3. Models that are null are left out: a config that is laid over another
    has no other way to say so. A model that is `like` another has that model's settings but for
    those that it gives itself; if it is of another kind, those that both kinds have in common, such
    as the steps and not the layers.

    Raises:
        UserError: If a key is unknown or missing, a value is not allowed, or two values do not go
            together; the message names the key by its path from the top, the value, and what is
            allowed.
    """
    try:
        return _read(config)
    except UserError as error:
        raise UserError(f"config: {error}; {_SEE}") from None


def _read(config: Mapping[str, Any]) -> Config:
    for key in config:
        if key not in _TOP:
            raise UserError(unknown_key(str(key), "the top level", _TOP))
    for key in ("data", "models", "evaluation", "cluster"):
        if key not in config:
            raise UserError(f"key '{key}' is missing at the top level")
    general = _validate(General, {k: v for k, v in config.items() if k in General.model_fields})
    data = _validate(Data, config["data"], "data")
    evaluation = _validate(Evaluation, config["evaluation"], "evaluation")
    cluster = _validate(Cluster, config["cluster"], "cluster")
    blocks = _model_blocks(config["models"])
    models = {name: _settings(name, block, f"models.{name}") for name, block in blocks.items()}
    sweeps = {
        name: expand(name, sweep, blocks)
        for name, sweep in _entries(config.get("sweeps"), "sweeps").items()
    }
    for name, points in sweeps.items():
        for point in points:
            settings = _settings(point.name, point.block, f"sweeps.{name}, {point.name}")
            if models.setdefault(point.name, settings) != settings:
                raise UserError(f"two sweeps have a point {point.name} with different settings")
        first: dict[tuple[str, str], str] = {}
        for point in points:
            settings_of_point = (point.model, models[point.name].model_dump_json())
            if settings_of_point in first:
                other = first[settings_of_point]
                raise UserError(f"sweeps.{name}: {other} and {point.name} are the same")
            first[settings_of_point] = point.name
    studies = {
        name: _validate(Study, block, f"studies.{name}")
        for name, block in _entries(config.get("studies"), "studies").items()
    }
    read = Config(
        **general.model_dump(),
        data=data,
        evaluation=evaluation,
        cluster=cluster,
        models=models,
        sweeps=sweeps,
        studies=studies,
    )
    for sentence in _contradictions(read):
        raise UserError(sentence)
    return read


def _entries(block: Any, name: str) -> dict[str, Any]:
    """Return the entries of a block of named ones but those that are null."""
    if block is None:
        return {}
    if not isinstance(block, Mapping):
        raise UserError(f"{name} must be a block of keys, not {block!r}")
    return {str(key): value for key, value in block.items() if value not in (None, "null")}


def _model_blocks(models: Any) -> dict[str, dict[str, Any]]:
    """Return the block of each model, with what it has of the one that it is `like`."""
    given = _entries(models, "models")
    if not given:
        raise UserError("models must have at least 1 of them, not 0")
    for name, block in given.items():
        if not isinstance(block, Mapping):
            raise UserError(f"models.{name} must be a block of keys, not {block!r}")
        # It names folders, and `real` are the real images that evaluations set beside the models.
        if not re.fullmatch(r"\w[^@/{}\s]*", name) or name == "real":
            raise UserError(
                f"models.{name}: a model's name begins with a letter or digit, has no space, @, /,"
                " { and }, and is not `real`; choose another"
            )

    def resolve(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
        block = dict(given[name])
        other = block.pop("like", None)
        if other is None:
            return block
        if not isinstance(other, str) or other not in given:
            raise UserError(f"models.{name} is like {other}, which models does not have")
        if other in (*above, name):
            raise UserError(f"models.{name} is like {other}, which is like itself")
        inherited = resolve(other, (*above, name))
        inherited.pop("title", None)
        return {**_shared(inherited, block), **block}

    return {name: resolve(name) for name in given}


def _shared(inherited: dict[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a block has of one that it is like: of another kind what both kinds share.

    That is what their common bases have: a key such as `width`, which each flow has of its own, is
    of another network there.
    """
    kinds = inherited.get("kind"), block.get("kind")
    if None in kinds or kinds[0] == kinds[1] or not all(kind in KINDS for kind in kinds):
        return inherited
    theirs, ours = (KINDS[str(kind)].settings.__mro__ for kind in kinds)
    bases = [base for base in theirs if base in ours and issubclass(base, BaseModel)]
    return {k: v for k, v in inherited.items() if any(k in base.model_fields for base in bases)}


def _settings(name: str, block: Mapping[str, Any], at: str) -> ModelSettings:
    kind = block.get("kind")
    if kind is None:
        known = [k for k in KINDS if name.split("_")[0] == k]
        start = ", and `start: vae`" if name.endswith("_vae") else ""
        advice = f"write `kind: {known[0]}`{start} in it" if known else _one_of(list(KINDS))
        raise UserError(f"{at} has no kind: {advice}")
    if not isinstance(kind, str) or kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise UserError(f"{at}.kind must be {_one_of(list(KINDS))}, not {kind!r}{hint}")
    return settings_of(kind, block, at)


def settings_of(kind: str, values: Mapping[str, Any], at: str) -> ModelSettings:
    """Check the settings of a model of a known kind, whose path is `at`, and return them.

    Raises:
        UserError: As by `read_config`.
    """
    return _validate(KINDS[kind].settings, values, at)


def _validate(kind: type[_Block], block: Any, at: str = "") -> _Block:
    try:
        return kind.model_validate(block)
    except ValidationError as error:
        # A key that is misspelt is missing as well; the first says what to do.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise UserError(_explain(first, kind, at)) from None


def _explain(error: ErrorDetails, kind: type[BaseModel], at: str) -> str:
    """Say in one sentence what an error means for whoever wrote the config."""
    *parents, last = error["loc"] or ("",)
    path = [part for part in (at, *map(str, error["loc"])) if part]
    where, above = ".".join(path), ".".join(path[:-1]) or "the top level"
    value, name = error["input"], error["type"]
    context = error.get("ctx", {})
    match name:
        case "extra_forbidden":
            return unknown_key(str(last), above, _keys_at(kind, parents))
        case "missing":
            return f"key '{last}' is missing at {above}"
        case "value_error":
            reason = str(context["error"])
            return f"{where}.{reason}" if reason.startswith("num_") else f"{where} {reason}"
        case "literal_error":
            return f"{where} must be one of {context['expected']}, not {value!r}"
        case "too_short":
            return f"{where} must have at least {context['min_length']} of them, not {len(value)}"
        case "too_long":
            return f"{where} must have at most {context['max_length']} of them, not {len(value)}"
    if name in _BOUNDS:
        (limit,) = (context[key] for key in ("gt", "ge", "lt", "le") if key in context)
        return f"{where} must be {_BOUNDS[name]} {limit:g}, not {value}"
    if name in _WANTED:
        return f"{where} must be {_WANTED[name]}, not {value!r}"
    return f"{where}: {error['msg']}"


def _keys_at(kind: type[BaseModel], path: list[str | int]) -> list[str]:
    """Return the keys of the block at a path below a block of such a kind."""
    for part in path:
        for name, field in kind.model_fields.items():
            inner = next(iter(get_args(field.annotation)), field.annotation)  # of `Block | None`
            if part in (name, field.alias) and isinstance(inner, type):
                kind = inner
    return [field.alias or name for name, field in kind.model_fields.items()]


def _contradictions(config: Config) -> Iterator[str]:
    """Say what does not go together in blocks that are valid one by one."""
    for name in config.cluster.training_minutes:
        known = ["default", *dict.fromkeys([*KINDS, *config.models])]
        if name not in known:
            yield unknown_key(name, "cluster.training_minutes", known)
    yield from _starts(config)
    yield from _titles(config)
    yield from _circles(config)
    yield from _seeds(config)
    sizes = {name: config.models[name].held_out_size for name in config.of_family("gan")}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size} in models.{name}" for name, size in sizes.items())
        yield f"held_out_size must be the same for all GANs, to be compared; it is {listed}"
    if len(judges := config.of_family("judge")) > 1:
        yield f"there can be one judge of images, not {len(judges)}: {', '.join(judges)}"
    prior = config.evaluation.prior
    if prior is not None and (prior.flow not in KINDS or KINDS[prior.flow].family != "flow"):
        flows = [name for name, kind in KINDS.items() if kind.family == "flow"]
        yield f"evaluation.prior.flow must be {_one_of(flows)}, not {prior.flow!r}"
    yield from _studies(config)


def _starts(config: Config) -> Iterator[str]:
    for name, settings in config.models.items():
        start = settings.start
        if start is None:
            continue
        of_codes = config.kind(name).data == "codes"
        if config.kind(name).family not in ("vae", "gan") and not of_codes:
            yield f"models.{name} cannot start from {start}: only a VAE or a GAN can"
        elif start not in config.models:
            yield f"models.{name} starts from the generator of {start}, which models does not have"
        elif config.kind(start).family not in ("vae", "gan"):
            yield f"models.{name} starts from the generator of {start}, which has none"
        elif of_codes and config.kind(start).family != "vae":
            yield f"models.{name} starts from {start}, which has no encoder; name a VAE"
        else:
            for key in ("latent_dim", "width"):
                ours, theirs = config.setting(name, key), config.setting(start, key)
                if ours != theirs:
                    yield (
                        f"models.{name}.{key} must be {theirs}, as models.{start}.{key} is: it"
                        f" starts from that generator; not {ours}"
                    )


def _studies(config: Config) -> Iterator[str]:
    for name, study in config.studies.items():
        if not re.fullmatch(r"[\w-]+", name):
            yield f"studies.{name}: a study's name has letters, digits, - and _, as it names files"
        for model in study.models:
            if model not in config.models:
                yield f"studies.{name}.models names {model}, which models does not have"
        if study.sweep and study.sweep not in config.sweeps:
            yield f"studies.{name}.sweep names {study.sweep}, which sweeps does not have"
        elif study.sweep and study.x not in ("model", *config.sweeps[study.sweep][0].values):
            yield f"studies.{name}.x must be a key of the sweep {study.sweep}, not {study.x!r}"
        elif study.y and study.y not in config.sweeps[study.sweep or ""][0].values:
            yield f"studies.{name}.y must be a key of the sweep {study.sweep}, not {study.y!r}"
        for key, named in (("log_y", study.log_y), ("lines", study.lines)):
            for measure in named:
                if measure not in study.measures:
                    yield f"studies.{name}.{key} names {measure}, which measures does not"


def _titles(config: Config) -> Iterator[str]:
    """Say of two models that figures and tables could not tell apart."""
    named: dict[tuple[bool, str], str] = {}
    for name in config.models:
        at = config.kind(name).family == "flow", config.title(name)
        if at in named:
            yield (
                f"models.{named[at]} and models.{name} have one title, {at[1]!r}; give one of them"
                " another by the key title"
            )
        named[at] = name


def _seeds(config: Config) -> Iterator[str]:
    for name in config.of_family("judge"):
        if config.models[name].seeds is not None:
            yield f"models.{name}.seeds must be left out: a judge is trained once, for all seeds"
    if not config._shared_seeds():
        own = {name: settings.seeds for name, settings in config.models.items()}
        listed = ", ".join(f"{seeds} of {name}" for name, seeds in own.items() if seeds)
        yield (
            f"models need one seed that all have, which figures show; there is none in {listed} and"
            f" {config.seeds} of the others"
        )
        return
    for name, settings in config.models.items():
        if settings.start is None:
            continue
        theirs = config.seeds_of(settings.start)
        if missing := [seed for seed in config.seeds_of(name) if seed not in theirs]:
            yield (
                f"models.{name} starts from the generator of {settings.start} of the same seed,"
                f" which has seeds {theirs} and not {missing}; add these to its `seeds` or leave"
                " them out here"
            )


def _circles(config: Config) -> Iterator[str]:
    for name in config.models:
        seen, at = [name], config.models[name].start
        while at is not None:
            if at in seen:
                yield f"models.{name} starts, over {' and '.join(seen[1:]) or at}, from itself"
                return
            seen.append(at)
            at = config.models[at].start


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(names)}"


def unknown_key(unknown: str, where: str, known: list[str]) -> str:
    """Say that a key is not among the known ones at a place, and which it may be meant for."""
    close = difflib.get_close_matches(unknown, known, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"unknown key '{unknown}' at {where}{hint}; the allowed keys are {', '.join(known)}"


class _StrictLoader(yaml.SafeLoader):
    """Refuses what YAML takes without a word: a key that stands twice, numbers like 010 or 1:30."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = str(self.construct_object(key_node, deep=True))  # `1` and `"1"` are one name
            if key in seen:
                raise UserError(f"the key '{key}' stands twice{_place(key_node)}; leave one out")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        text = node.value.lstrip("+-").replace("_", "")
        if len(text) > 1 and text.startswith("0") and text.isdecimal():
            raise UserError(
                f"{node.value} would be read in base 8{_place(node)}; leave out the leading zero"
            )
        _refuse_base_60(node)
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> float:
        _refuse_base_60(node)
        return super().construct_yaml_float(node)


def _refuse_base_60(node: Any) -> None:
    if ":" in node.value:
        raise UserError(f"{node.value} would be read in base 60{_place(node)}; write the number")


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_yaml_float)


def _place(node: Any) -> str:
    return f" in line {node.start_mark.line + 1}"


def check_files(paths: list[str | Path]) -> None:
    """Check config files for what a YAML parser lets pass, or says in words of its own.

    Raises:
        UserError: With a sentence that names file and line.
    """
    for path in paths:
        try:
            yaml.load(Path(path).read_text(encoding="utf-8"), _StrictLoader)
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UserError(f"{path}, line {line}, is not UTF-8; save the file as UTF-8") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UserError(f"{path}, line {line}, is not YAML: {error.problem}") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def tier_changes(config: Mapping[str, Any], folder: str | Path) -> list[str]:
    """Say where a config differs from the file of its tier, laid over the one with all keys.

    Args:
        config: The config of an invocation.
        folder: Folder of the config files.

    Returns:
        A line a key, such as "models.vae.steps: 500 instead of 2000"; none if the tier has no file.
        What changes no result does not count: `cluster`, `released`, and the folder that images
        come from, whose MD5 says which they are.
    """
    from snakemake.utils import update_config

    folder = Path(folder)
    blocks = (yaml.safe_load(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.yaml")))
    own = [b for b in blocks if isinstance(b, Mapping) and b.get("tier") == config["tier"]]
    if not own:
        return []
    expected = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    update_config(expected, own[0])
    for key in ("cluster", "released"):
        expected.pop(key, None)
    expected["data"]["images"].pop("folder", None)
    return [*_differences(config, expected), *_additions(config["models"], expected["models"])]


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key, value in theirs.items():
        if ours.get(key) in (None, "null") and value is not None:
            yield f"{at}{key} is left out"
        elif isinstance(value, Mapping):
            yield from _differences(ours[key], value, f"{at}{key}.")
        elif json.dumps(ours[key]) != json.dumps(value):
            yield f"{at}{key}: {ours[key]} instead of {value}"


def _additions(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of models that theirs leave at their defaults, and ours do not."""
    for name, block in theirs.items():
        if not block or ours.get(name) in (None, "null") or block.get("kind") not in KINDS:
            continue
        settings = KINDS[block["kind"]].settings
        defaults = settings.defaults()
        for key, value in ours[name].items():
            if key in block or key in settings.without_effect:
                continue
            if value != defaults.get(key):
                yield f"models.{name}.{key}: {value} instead of {defaults.get(key)}"
