"""The frame of artifacts that are dataclasses in memory: arrays are .npy of their names, the rest is in meta.json."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from selfguide.core.artifact import Array, Meta, read_meta, save_array, write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing


class Framed:
    """Base of a frozen dataclass that is an artifact; a field `digest` is that of the folder it was loaded from.

    Attributes:
        kind: of the artifact.
        arrays: dtype and shape of the fields that are arrays; None stands for any length.
        kept_elsewhere: fields that are not written here.
        parts: fields with a `save(folder)` that returns words for meta.json, and how each is read from a meta.json.
    """

    kind: ClassVar[str]
    arrays: ClassVar[Mapping[str, tuple[str, tuple[int | None, ...]]]] = {}
    kept_elsewhere: ClassVar[tuple[str, ...]] = ("digest",)
    parts: ClassVar[Mapping[str, Callable[[Meta], Any]]] = {}

    @classmethod
    def stage(cls, folder: Path) -> str:
        """The stage that makes it, for messages."""
        return cls.kind

    def validate(self) -> None:
        """Check what belongs together.

        Raises:
            UserError: it does not.
        """

    def add(self, folder: Path) -> None:
        """Put further files into the artifact's folder."""

    def save(self, folder: str | Path, **facts: Any) -> None:
        """Write the artifact; `facts` go to meta.json."""
        self.validate()
        with replacing(folder, self.kind) as temporary:
            words: dict[str, Any] = {}
            for name, value in ((name, getattr(self, name)) for name in self._names()):
                if name in self.arrays:
                    array: Array = value.astype(self.arrays[name][0], copy=False)
                    save_array(temporary / f"{name}.npy", array)
                else:
                    words[name] = value.save(temporary) if name in self.parts else value
            self.add(temporary)
            write_meta(temporary, self.kind, **words, **facts)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read the artifact; its arrays are memory-mapped.

        Raises:
            UserError: missing, foreign, of another version, damaged or inconsistent.
        """
        stage = cls.stage(Path(folder))
        meta = read_meta(folder, cls.kind, stage)
        values: dict[str, Any] = {"digest": meta["digest"]} if "digest" in cls._fields() else {}
        for name in cls._names():
            if name in cls.arrays:
                values[name] = meta.array(f"{name}.npy", *cls.arrays[name])
            elif name in cls.parts:
                values[name] = cls.parts[name](meta)
            else:
                values[name] = tuple(meta[name]) if isinstance(meta[name], list) else meta[name]
        try:
            found = cls(**values)
            found.validate()
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # words of another type
            raise UserError(f"{folder}/meta.json: not as this version writes it ({error}); {rerun(stage)}") from None
        return found

    @classmethod
    def _fields(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in cls._fields() if name not in cls.kept_elsewhere]
