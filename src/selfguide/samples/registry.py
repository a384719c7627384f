"""The samplers by their name in `samples.sampler`."""

from selfguide.samples.ddim import Ddim
from selfguide.samples.ddpm import Ddpm
from selfguide.samples.dpmpp_2m import Dpmpp2m
from selfguide.samples.heun import Heun
from selfguide.samples.solver import Solver
from selfguide.samples.unipc import UniPC

SAMPLERS: dict[str, type[Solver]] = {"ddim": Ddim, "ddpm": Ddpm, "dpmpp_2m": Dpmpp2m, "unipc": UniPC, "heun": Heun}
