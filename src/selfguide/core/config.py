"""Strict configuration: no silent conversion, and errors that name the key and the nearest valid one."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from selfguide.core.errors import UserError, shown
from selfguide.core.yaml12 import load_yaml

#: Characters of a value that a message repeats.
_SHOWN = 180
#: Problems that a message lists.
_LINES = 50
#: Bytes of a configuration that is read; ours have 6,000, and so many take PyYAML ten seconds.
_MAX_BYTES = 1_000_000

#: Lightning's names, and `auto`: bf16-mixed where the hardware multiplies bf16 faster than float32, else 32-true.
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path has no NUL character")
    return path


# No run comes near these bounds: a slip of the keyboard is an error, and not memory that is not there or years of work.
#: Images of a data set.
NumImages = Annotated[int, Field(ge=1, le=1_000_000_000)]
#: Images that are drawn.
NumSamples = Annotated[int, Field(ge=1, le=10_000_000)]
#: Images per step or call.
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
#: Steps of an optimiser, or between two events of a training.
Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
#: Of an optimiser whose steps are about as long as its rate; beyond 1 none has converged.
LearningRate = Annotated[float, Field(gt=0, le=10)]
#: Decoupled, in units of the learning rate.
WeightDecay = Annotated[float, Field(ge=0, le=100)]
#: Strength of guidance; it is multiplied with float32.
MAX_W = 1_000_000
Guidance = Annotated[float, Field(ge=-MAX_W, le=MAX_W)]
#: Of a file or folder.
FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_without_nul)]


class StrictModel(BaseModel):
    """Base of every configuration section: frozen, no unknown keys, no silent conversion ("12" is not 12)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping.

    Raises:
        UserError: the file is missing, no file or not UTF-8; not the YAML of a configuration, see
            `selfguide.core.yaml12`; or not a mapping.
    """
    text = _read_text(Path(path))
    try:
        value = load_yaml(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise UserError(f"{path}: expected a mapping of keys to values, found {found}")
    return value


def _read_text(path: Path) -> str:
    try:
        if not path.exists():
            raise UserError(f"{path}: no such file; run from the project's root, or give --params")
        if not path.is_file():
            raise UserError(f"{path}: expected a file, found a {'folder' if path.is_dir() else 'pipe or device'}")
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: expected at most {_MAX_BYTES} bytes, found {path.stat().st_size}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: expected text in UTF-8, found {error.reason} at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def nearest(word: str, valid: list[str]) -> str:
    """Return "; did you mean 'x'?" for the closest valid word, or an empty string."""
    found = difflib.get_close_matches(word[:_SHOWN], valid, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


def one_of(names: Iterable[str]) -> AfterValidator:
    """A check for the names of a table, which a `Literal` cannot have."""
    valid = list(names)

    def check(name: str) -> str:
        if name not in valid:
            raise PydanticCustomError("literal_error", "unknown", {"valid": valid})
        return name

    return AfterValidator(check)


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
        raise UserError("\n".join(f"{where}: {line}" for line in _explain_all(model, error.errors()))) from None
    except (TypeError, ValueError, RecursionError) as error:  # json: a date, say, or a list that holds itself
        raise UserError(f"{where}: {error}") from None


def _explain_all(model: type[StrictModel], problems: Sequence[Any]) -> list[str]:
    """A line for each key with a problem; where there are very many, for the first of them."""
    by_key: dict[tuple[Any, ...], list[Any]] = {}
    for problem in problems:
        by_key.setdefault(tuple(_real_keys(model, problem)), []).append(problem)
    above = {key[:length] for key in by_key for length in range(len(key))}
    lines = []
    for key, found in by_key.items():
        # A branch of a union that wants another type has nothing to say beside one that has the type, nor has a list of
        # which only what is wrong inside of it is wrong.
        telling = [each for each in found if not each["type"].endswith("_type") and each["type"] != "too_short"]
        if telling or key not in above:
            lines += _explain(model, key, telling or found)
    more = len(lines) - _LINES
    return lines if more <= 0 else [*lines[:_LINES], f"and {more} more"]


def _real_keys(model: type[StrictModel], problem: Any) -> list[Any]:
    """A union adds its branch (int, str, list[str]) to the location; only real keys and list positions are shown."""
    location, keys = _location(problem), list[Any]()
    for place, part in enumerate(location):
        is_unknown = problem["type"] == "extra_forbidden" and place == len(location) - 1
        if isinstance(part, int) or place == 0 or is_unknown or part in _fields(model, keys):
            keys.append(part)
    return keys


def _location(problem: Any) -> list[Any]:
    return [part for part in problem["loc"] if not (isinstance(part, str) and part.startswith("function-"))]


def _explain(model: type[StrictModel], keys: Sequence[Any], problems: Sequence[Any]) -> list[str]:
    """Usually one line: what branches of a union say of one value is joined."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part, _SHOWN)}" for part in keys).lstrip(".")
    lines, messages = [], []
    for problem in problems:
        value, kind = problem["input"], problem["type"]
        if kind == "extra_forbidden":
            lines.append(f"{key}: unknown key{nearest(str(keys[-1]), _valid_keys(model, keys[:-1], str(keys[-1])))}")
        elif kind == "missing":
            lines.append(f"{key}: missing; give it a value")
        elif kind == "union_tag_not_found":
            lines.append(f"{key}.{problem['ctx']['discriminator'].strip(chr(39))}: missing; give it a value")
        elif kind == "union_tag_invalid":
            valid = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
            name, found = problem["ctx"]["discriminator"].strip("'"), problem["ctx"]["tag"]
            lines.append(
                f"{key}.{name}: unknown value {_shown(found)}; valid: {', '.join(valid)}{nearest(str(found), valid)}"
            )
        elif kind == "literal_error":
            valid = [str(v) for v in (problem.get("ctx", {}).get("valid") or _literals(model, keys))]
            lines.append(f"{key}: unknown value {_shown(value)}; valid: {', '.join(valid)}{nearest(str(value), valid)}")
        else:
            message = problem["msg"].removeprefix("Value error, ").replace(" after validation", "")
            messages.append(re.sub("^(Input|Tuple|List|String) ", "", message))
    if messages:
        value = problems[-1]["input"]
        # A check of a whole section has said what it found.
        is_section = isinstance(value, dict) and problems[-1]["type"] == "value_error"
        found = "" if is_section else f", found {_shown(value)}"
        lines.append(f"{key}{': ' if key else ''}{', or '.join(messages)}{found}")
    return lines


def _valid_keys(model: Any, location: Sequence[Any], name: str) -> list[str]:
    """Keys that could stand in the place of `name`: those of sections inside, where they have that very name."""
    fields = _fields(model, list(location))
    inside = [f"{key}.{name}" for key in fields if name in _fields(model, [*location, key])]
    return inside or list(fields)


def _shown(value: Any) -> str:
    return shown(json.dumps(value), _SHOWN)


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


def _literals(model: Any, location: Sequence[Any]) -> Iterator[Any]:
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
