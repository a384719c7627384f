"""Strict configuration: YAML 1.2 scalars, no duplicate keys, and errors that name the key and the nearest valid one."""

import difflib
import json
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from selfguide.core.errors import UserError

#: Lightning's names, and `auto`: bf16-mixed where the hardware multiplies bf16 faster than float32, else 32-true.
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class StrictModel(BaseModel):
    """Base of every configuration section: frozen, no unknown keys, no silent conversion ("12" is not 12)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Yaml12Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, where 1e-05 is a string and `no` is false. DVC writes and reads YAML 1.2; so do we."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise UserError(f"line {line}: the key '{key}' appears twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in [
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
]:
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value)  # YAML 1.2: 010 is ten, not eight


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Yaml12Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping.

    Raises:
        UserError: the file is missing, is not YAML, repeats a key, or is not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the project's root, or give --params")
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12Loader)  # noqa: S506 (a SafeLoader)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {type(value).__name__}")
    return value


def nearest(word: str, valid: list[str]) -> str:
    """Return "; did you mean 'x'?" for the closest valid word, or an empty string."""
    found = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


Model = TypeVar("Model", bound=StrictModel)


def parse(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Validate `values` strictly; every problem is reported, each on a line that names its key.

    Raises:
        UserError: an unknown, missing, ill-typed or out-of-range key.
    """
    try:
        # JSON mode, so that a YAML list is a fine tuple while "12" stays a bad int.
        return model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        lines = [f"{where}: {_explain(model, problem)}" for problem in error.errors()]
        raise UserError("\n".join(lines)) from None
    except TypeError as error:  # json: a date, say
        raise UserError(f"{where}: {error}") from None


def _explain(model: type[StrictModel], problem: Any) -> str:
    location = [part for part in problem["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    fields = _fields(model, location[:-1])
    # A union adds its branch (int, str, list[str]) to the location; only real keys and list positions are shown.
    shown = [p for i, p in enumerate(location) if isinstance(p, int) or i == 0 or p in _fields(model, location[:i])
             or (problem["type"] == "extra_forbidden" and i == len(location) - 1)]  # fmt: skip
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown).lstrip(".")
    found = json.dumps(problem["input"]) if problem["type"] != "missing" else ""
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(location[-1]), list(fields))}"
    if problem["type"] == "missing":
        return f"{key}: missing; give it a value"
    if problem["type"] == "literal_error":
        valid = [str(v) for v in _literals(model, shown)]
        return f"{key}: unknown value {found}; valid: {', '.join(valid)}{nearest(str(problem['input']), valid)}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}: {message}, found {found if len(found) < 200 else found[:200] + '...'}" if key else message


def _fields(model: Any, location: list[Any]) -> dict[str, Any]:
    for part in location:
        if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            return {}
        field = model.model_fields.get(part)
        model = _unwrap(field.annotation) if field else None
    return dict(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else {}


def _unwrap(annotation: Any) -> Any:
    options = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    return options[0] if options else annotation


def _literals(model: Any, location: list[Any]) -> Iterator[Any]:
    names = [part for part in location if isinstance(part, str)]
    for part in names[:-1]:
        model = _unwrap(model.model_fields[part].annotation)
    stack = [model.model_fields[names[-1]].annotation]
    while stack:
        annotation = stack.pop(0)
        if isinstance(annotation, type) or annotation is None:
            continue
        arguments = get_args(annotation)
        if not arguments and annotation is not None:
            yield annotation
        stack[:0] = arguments
