"""The condition on disk.

the arrays of its signal    what training sees, and the distribution that sampling draws from: `selfguide.signal.signal`
corrupted.npy               bool (N,), whose ids and places were permuted
meta.json                   guidance, the signal's form, corruption, seed, backbone
"""

from dataclasses import dataclass

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError, rerun
from selfguide.core.frame import Framed
from selfguide.signal.signal import Signal


@dataclass(frozen=True)
class Condition(Framed):
    """One condition per training image; see the module for the arrays.

    Attributes:
        backbone: variant and digest of the backbone whose features became the ids, so that scores in its space can say
            so; None: no backbone was used.
    """

    kind = "condition"
    arrays = {"corrupted": ("bool", (None,))}
    parts = {"signal": Signal.load}

    guidance: str
    signal: Signal
    corrupted: Array
    corruption: float
    seed: int
    names: tuple[str, ...] | None = None
    backbone: str | None = None

    def validate(self) -> None:
        """Check that there is a flag for each image.

        Raises:
            UserError: there is not.
        """
        if len(self.corrupted) != len(self.signal):
            raise UserError(
                f"data/condition: {len(self.corrupted)} flags, expected {len(self.signal)}, one for each of the ids;"
                f" {rerun(self.kind)}"
            )
