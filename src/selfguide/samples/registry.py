"""The samplers: functions (model, noise, abar, num_steps, eta, clip) => images."""

from collections.abc import Callable

from torch import Tensor

from selfguide.samples.ddim import ddim
from selfguide.samples.ddpm import ddpm
from selfguide.samples.guidance import EpsModel
from selfguide.samples.noise import ImageNoise

Sampler = Callable[[EpsModel, ImageNoise, Tensor, int, float, bool], Tensor]

SAMPLERS: dict[str, Sampler] = {"ddim": ddim, "ddpm": ddpm}
