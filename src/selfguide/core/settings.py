"""`--set KEY=VALUE`: what `dvc exp run -S` does to params.yaml, for one run of one stage, by the same parser."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfguide.core.config import nearest
from selfguide.core.errors import UserError, shown


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with changes: mappings are merged key by key, lists and scalars replaced."""
    found = dict(values)
    for key, change in changes.items():
        old = found.get(key)
        found[key] = merged(old, change) if isinstance(old, Mapping) and isinstance(change, Mapping) else change
    return found


def with_settings(values: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`values` with some of them set.

    Args:
        values: of params.yaml.
        settings: KEY=VALUE each, KEY with dots into sections, VALUE in hydra's grammar: numbers, words, null, [1, 2],
            {a: 1}.

    Raises:
        UserError: not such a text, or a key that is not there.
    """
    if not settings:
        return values
    # Not at the top: parsers take a while, and hardly any run needs them. DVC brings them along.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for text in settings:
        setting = shown(text)
        try:
            override = OverridesParser.create().parse_override(text)
            value: Any = override.value()
        # Of Python: a number of more digits than it reads, or brackets nested too deeply.
        except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
            why = shown(str(error).partition("\n")[0])
            raise UserError(f"--set {setting}: {why}; expected KEY=VALUE") from None
        if not override.key_or_group:
            raise UserError(f"--set {setting}: expected KEY=VALUE")
        if override.is_add() or override.is_delete() or override.is_sweep_override() or override.package is not None:
            raise UserError(f"--set {setting}: expected KEY=VALUE with one value, of a key that params.yaml has")
        *sections, key = override.key_or_group.split(".")
        change: Any = {key: value}
        inside: Any = values
        for depth, name in enumerate([*sections, key]):
            if not isinstance(inside, Mapping) or name not in inside:
                where = ".".join([*sections, key][: depth + 1])
                raise UserError(f"--set {setting}: {where}: unknown key{nearest(name, _known(inside, name))}")
            inside = inside[name]
        for name in reversed(sections):
            change = {name: change}
        values = merged(values, change)
    return values


def _known(section: Any, name: str) -> list[str]:
    """Keys that could stand in the place of `name`: those of sections inside, where they have that very name."""
    if not isinstance(section, Mapping):
        return []
    inside = [f"{key}.{name}" for key, value in section.items() if isinstance(value, Mapping) and name in value]
    return inside or list(map(str, section))
