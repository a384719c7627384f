"""The annotation of a kind of guidance on disk.

the arrays of its signal    see `selfguide.signal.signal`
annotator/                  what found the places, to find them again in samples; where there is one
meta.json                   guidance, the signal's form, names of the ids or null, the backbone or null
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selfguide.core.frame import Framed
from selfguide.signal.signal import Signal


@dataclass(frozen=True)
class Annotation(Framed):
    """The guidance signal of every image.

    Attributes:
        guidance: the guidance kind.
        signal: of the training images.
        names: a word per id, where there is one.
        backbone: variant and digest of the backbone whose features became the ids; None: no backbone was used.
        annotator: writes what found the places into the folder given to it; None: nothing did, or it is on disk.
    """

    kind = "annotation"
    parts = {"signal": Signal.load}
    kept_elsewhere = ("annotator",)

    guidance: str
    signal: Signal
    names: tuple[str, ...] | None = None
    backbone: str | None = None
    annotator: Callable[[Path], None] | None = None

    @classmethod
    def stage(cls, folder: Path) -> str:
        """Each kind of guidance has its own."""
        return folder.name

    def add(self, folder: Path) -> None:
        """The annotator, where there is one."""
        if self.annotator is not None:
            self.annotator(folder / "annotator")
