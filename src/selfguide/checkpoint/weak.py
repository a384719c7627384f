"""Finds the weak model of autoguidance: an earlier snapshot, or another denoiser of the same images and conditions."""

from selfguide.core.errors import UserError
from selfguide.core.project import located
from selfguide.denoiser.artifact import Denoiser


def find_weak(weak_model: int | str, final: Denoiser) -> Denoiser:
    """The weak model.

    Args:
        weak_model: step of a snapshot of `final`, or the folder of another denoiser.
        final: the trained denoiser.

    Raises:
        UserError: no such snapshot or folder, or a model that estimates something else than `final` does.
    """
    if isinstance(weak_model, str):
        other = Denoiser.load(located(weak_model))
        _check_same_task(other, final)
        return other
    earlier = {snapshot.step: snapshot for snapshot in final.snapshots()[:-1]}
    if weak_model not in earlier:
        steps = f"there are {', '.join(map(str, earlier))}" if earlier else "there are none"
        raise UserError(
            f"checkpoint.weak_model: no snapshot of step {weak_model} in {final.folder}; {steps}. Set"
            " denoiser.snapshot_every_steps and train again, or name the folder of a denoiser"
        )
    return earlier[weak_model]


def _check_same_task(weak: Denoiser, final: Denoiser) -> None:
    found, expected = weak.task.facts(), final.task.facts()
    for part in ("space", "form"):
        found |= {**found.pop(part)}
        expected |= {**expected.pop(part)}
    for key, value in expected.items():
        if found.get(key) != value:
            raise UserError(
                f"checkpoint.weak_model: {weak.folder} has {key} {found.get(key)}, expected {value} as in"
                f" {final.folder}; train the weak model on the same images and conditions"
            )
