"""What every sampler of the registry owes, on a real network."""

from typing import get_args

import numpy as np
import pytest

import selfguide
from selfguide.samples.config import SamplesConfig
from selfguide.samples.registry import SAMPLERS

IDS = [0, 1, 2, -1, 0]
every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))


def _differ(one, other) -> int:
    return np.abs(one.astype(int) - other.astype(int)).max()


def test_the_configuration_names_them_all():
    assert set(get_args(SamplesConfig.model_fields["sampler"].annotation)) == set(SAMPLERS)


@every_sampler
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_images_of_any_number_of_steps(denoiser, name, num_steps):
    images = selfguide.load(denoiser.folder).sample(IDS, num_steps=num_steps, sampler=name, eta=0.5)
    assert images.shape == (5, 16, 16, 3)
    assert images.dtype == np.uint8
    assert images.std(axis=(1, 2, 3)).min() > 0
    assert _differ(images[0], images[4]) > 0, "each image has a noise of its own"


@every_sampler
def test_batches_change_no_image_beyond_rounding(denoiser, name):
    model = selfguide.load(denoiser.folder)
    settings = {"num_steps": 4, "sampler": name, "eta": 0.5, "guidance_interval": (0.1, 10.0)}
    whole = model.sample(IDS, **settings)
    assert _differ(whole, model.sample(IDS, **settings, batch_size=2)) <= 1
    assert _differ(whole[2:], model.sample(IDS[2:], **settings, first_index=2)) <= 1
    assert _differ(whole, model.sample(IDS, **settings, seed=1)) > 1


@every_sampler
def test_w_0_is_unconditional_and_w_1_conditional(denoiser, name):
    model = selfguide.load(denoiser.folder)
    settings = {"num_steps": 3, "sampler": name}
    null = model.sample([-1, -1], **settings, w=1.0)
    assert np.array_equal(model.sample([0, 1], **settings, w=0.0), null)
    conditional = model.sample([0, 1], **settings, w=1.0)
    assert _differ(conditional, null) > 1
    assert _differ(model.sample([0, 1], **settings, w=3.0), conditional) > 1
    assert _differ(model.sample([0, 1], **settings, w=1.0001), conditional) <= 2
