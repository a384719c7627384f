"""Presets hold what differs from presets/default.yaml; `make preset NAME=voc64_boxed` writes params.yaml, whole."""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from selfguide.core.config import nearest, read_yaml
from selfguide.core.errors import UserError
from selfguide.core.settings import merged
from selfguide.core.stage import run
from selfguide.core.target import replacing_file

DEFAULT = "default"


class Presets:
    """The files of a folder.

    Args:
        folder: with default.yaml, which is whole.
    """

    def __init__(self, folder: str | Path = "presets") -> None:
        self.folder = Path(folder)

    @property
    def names(self) -> list[str]:
        """Of all, the default among them."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def values(self, name: str) -> dict[str, Any]:
        """The whole configuration.

        Raises:
            UserError: there is no such preset.
        """
        if DEFAULT not in self.names:
            raise UserError(f"{self._path(DEFAULT)} is missing: run from the project's root")
        if name not in self.names:
            raise UserError(f"preset: unknown {name!r}; valid: {', '.join(self.names)}{nearest(name, self.names)}")
        own = read_yaml(self._path(name))
        return own if name == DEFAULT else merged(read_yaml(self._path(DEFAULT)), own)

    def text(self, name: str) -> str:
        """params.yaml of a preset: the default's layout and comments under the preset's first comment, as DVC writes.

        Raises:
            UserError: there is no such preset.
        """
        values, default = self.values(name), self._path(DEFAULT).read_text(encoding="utf-8")
        if name == DEFAULT:
            return default
        yaml = YAML()
        yaml.default_flow_style = False
        document = yaml.load(default)
        _update(document, values)
        written = io.StringIO()
        yaml.dump(document, written)
        _, body = _split(written.getvalue())
        head, _ = _split(self._path(name).read_text(encoding="utf-8"))
        return head + body

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"


def _split(text: str) -> tuple[str, str]:
    """The comment at the head of a file, and the rest."""
    lines = text.splitlines(keepends=True)
    length = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[:length]), "".join(lines[length:])


def _update(document: Any, values: Mapping[str, Any]) -> None:
    """Set what differs, so that everything else stays as it is written."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            _update(document[key], value)
        elif key not in document or document[key] != value:
            document[key] = value


def choose(name: str, presets: Presets, path: Path) -> str:
    """Write a preset to `path`. What nobody could write again is kept beside it.

    Returns:
        what happened to the file that was there.

    Raises:
        UserError: there is no such preset.
    """
    text, said = presets.text(name), f"{path}: preset {name}"
    if path.is_file():
        before = path.read_bytes()  # which may be no text
        known = next((each for each in presets.names if presets.text(each).encode() == before), None)
        if known is not None:
            said += f", in the place of preset {known}"
        else:
            kept = _free(path)
            path.rename(kept)
            said += f"; the file that was there is no preset as it is written, and is kept as {kept}"
    with replacing_file(path, lambda _: True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return said


def _free(path: Path) -> Path:
    number = 0
    while (kept := path.with_name(f"{path.name}.before{number or ''}")).exists():
        number += 1
    return kept


def main() -> None:
    """Write a preset as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m selfguide.presets")
    parser.add_argument("name", metavar="NAME", help="of a file in presets/, without .yaml")
    print(choose(parser.parse_args().name, Presets(), Path("params.yaml")))


if __name__ == "__main__":
    run(main)
