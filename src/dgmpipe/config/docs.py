"""The explanation of every key and the JSON schema of a config, made from its types.

`dgmpipe pages config` writes both anew: the tables in config/README.md below the line that
says so, and config/schema.json, by which editors check and complete a config.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from dgmpipe.config.blocks import Cluster, Data, Evaluation, General, Study
from dgmpipe.config.kinds import KINDS, ModelSettings

__all__ = ["MARK", "readme_tables", "schema", "write_docs"]

MARK = "<!-- All below is made by `dgmpipe pages config` from src/dgmpipe/config. -->\n"
_SCHEMA_TITLE = "A config of dgmpipe"


def readme_tables() -> str:
    """Return the tables of keys as Markdown."""
    parts = [
        *_table("General", General),
        *_nested("`data`: what the models are trained on", "data", Data),
        "## `models`: which are trained, and how\n\n",
        *_table("Every model", ModelSettings, level=3),
    ]
    for name, kind in KINDS.items():
        parts += _table(
            f"`kind: {name}`", kind.settings, level=3, without=ModelSettings.model_fields
        )
    parts += _nested(
        "`evaluation`: what is computed of the trained models", "evaluation", Evaluation
    )
    parts += _table("`cluster`: what a job asks for", Cluster)
    parts += _table("`studies`: questions that sweeps answer", Study)
    return "".join(parts)


def _nested(title: str, name: str, block: type[BaseModel]) -> Iterator[str]:
    yield f"## {title}\n\n{_sentence(block)}\n\n"
    for key, field in block.model_fields.items():
        inner = next(iter(get_args(field.annotation)), field.annotation)  # of `Block | None`
        assert isinstance(inner, type)
        yield from _table(f"`{name}.{key}`", inner, level=3)


def _table(
    title: str, block: type[BaseModel], *, level: int = 2, without: Collection[str] = ()
) -> Iterator[str]:
    yield f"{'#' * level} {title}\n\n{_sentence(block)}\n\n"
    yield "| key | meaning | default |\n|---|---|---|\n"
    for key, field in block.model_fields.items():
        # A kind's table has what it adds, and what it says otherwise.
        if key in without and field.description == ModelSettings.model_fields[key].description:
            continue
        inner = next(iter(get_args(field.annotation)), field.annotation)  # of `Block | None`
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for name, part in inner.model_fields.items():
                yield _row(
                    f"{key}.{part.alias or name}", part, part.description or field.description
                )
        else:
            yield _row(key, field, field.description)
    yield "\n"


def _row(key: str, field: FieldInfo, text: str | None) -> str:
    default = "" if field.is_required() else f"`{json.dumps(field.default)}`"
    return f"| `{key}` | {text or ''} | {default} |\n"


def _sentence(block: type[BaseModel]) -> str:
    return " ".join((block.__doc__ or "").split())


def _or_null(block: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, block]}


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config: what an editor can know without the rest of the file."""
    definitions: dict[str, Any] = {}

    def of(kind: Any) -> dict[str, Any]:
        made = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
        definitions.update(made.pop("$defs", {}))
        # Laid over another config a block has only what is to be otherwise.
        for block in (made, *definitions.values()):
            block.pop("required", None)
        return made

    models = []
    for name, kind in KINDS.items():
        block = of(kind.settings)
        block["properties"]["kind"] = {"const": name}
        models.append(block)
    like = {"type": "object", "required": ["like"], "properties": {"like": {"type": "string"}}}
    general = of(General)["properties"]
    sweep = {
        "type": "object",
        "required": ["models"],
        "properties": {
            "models": {"type": "array", "items": {"type": "string"}},
            "combine": {"enum": ["product", "zip"]},
        },
        "additionalProperties": {"type": "array"},
    }
    properties = {
        **general,
        "data": of(Data),
        "models": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "null"}, like, *models]},
        },
        "sweeps": {"type": "object", "additionalProperties": _or_null(sweep)},
        "studies": {"type": "object", "additionalProperties": _or_null(of(Study))},
        "evaluation": of(Evaluation),
        "cluster": of(Cluster),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": _SCHEMA_TITLE,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions,
    }


def write_docs(folder: Path) -> None:
    """Write the tables of README.md, below its hand-written part, and schema.json.

    Raises:
        OSError: If there is no README.md in the folder, or it cannot be written.
    """
    readme = folder / "README.md"
    written = readme.read_text(encoding="utf-8").split(MARK)[0]
    readme.write_text(written + MARK + "\n" + readme_tables().rstrip() + "\n", encoding="utf-8")
    text = json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "schema.json").write_text(text + "\n", encoding="utf-8")
