import colorsys

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from selfguide.backbone.augment import View, apply_view, draw_view
from tests.unit.backbone.configs import augmentation

OFF = {
    "crop_scale": 1.0, "flip": 0.0, "color_jitter": 0.0, "grayscale": 0.0, "blur": 0.0,
}  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, size=16):
    return torch.rand(n, 3, size, size, generator=generator(1))


def identity(n):
    """Nothing happens: whole image, in its own proportions."""
    return View(
        torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(n, 2, 3), torch.ones(n, 1, 1, 1), torch.ones(n, 1, 1, 1),
        torch.eye(3).expand(n, 3, 3), torch.zeros(n),
    )  # fmt: skip


def changed(n, **fields):
    return View(**{**vars(identity(n)), **fields})


def test_the_identity_changes_nothing():
    torch.testing.assert_close(apply_view(images(), identity(6), 16), images(), atol=1e-5, rtol=0)


def test_all_off_leaves_only_the_aspect_ratio():
    view = draw_view(500, augmentation(**OFF), generator())
    torch.testing.assert_close(view.color, torch.eye(3).expand(500, 3, 3), atol=1e-5, rtol=0)
    assert (view.brightness == 1).all()
    assert (view.contrast == 1).all()
    assert (view.sigma == 0).all()
    width, height = view.affine[:, 0, 0], view.affine[:, 1, 1]
    assert torch.maximum(width, height).min() == 1
    assert torch.minimum(width, height).min() >= (3 / 4) ** 0.5 - 1e-6


def test_crops_stay_inside_and_keep_the_area_asked_for():
    view = draw_view(2000, augmentation(crop_scale=0.2, flip=0.0), generator())
    width, x = view.affine[:, 0, 0], view.affine[:, 0, 2]
    height, y = view.affine[:, 1, 1], view.affine[:, 1, 2]
    assert (x.abs() + width <= 1 + 1e-6).all()
    assert (y.abs() + height <= 1 + 1e-6).all()
    area = width * height
    assert area.min() >= 0.2 - 1e-6
    assert area.max() <= 1
    assert area.mean() == pytest.approx(0.6, abs=0.04)  # uniform, less what the borders cut off


def test_a_crop_shows_that_part_of_the_image():
    x = images(1, 16)
    affine = torch.tensor([[[0.5, 0, -0.5], [0, 0.5, 0.5]]])  # the lower left quarter
    torch.testing.assert_close(apply_view(x, changed(1, affine=affine), 8), x[:, :, 8:, :8], atol=1e-5, rtol=0)


def test_flips_happen_as_often_as_asked():
    x = images(400)
    view = draw_view(400, augmentation(**{**OFF, "flip": 0.25}), generator())
    assert (view.affine[:, 0, 0] < 0).float().mean() == pytest.approx(0.25, abs=0.06)
    mirrored = changed(1, affine=torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]]))
    torch.testing.assert_close(apply_view(x[:1], mirrored, 16), x[:1].flip(3), atol=1e-5, rtol=0)


def test_brightness_and_contrast():
    x = images(2) * 0.5 + 0.2
    doubled = apply_view(x, changed(2, brightness=torch.tensor([1.2, 0.5]).view(2, 1, 1, 1)), 16)
    torch.testing.assert_close(doubled, x * torch.tensor([1.2, 0.5]).view(2, 1, 1, 1), atol=1e-5, rtol=0)
    flat = apply_view(x, changed(2, contrast=torch.zeros(2, 1, 1, 1)), 16)
    luma = (x * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1).mean((1, 2))
    torch.testing.assert_close(flat, luma.view(2, 1, 1, 1).expand_as(flat), atol=1e-5, rtol=0)


def test_grayscale_drops_colour_and_keeps_luma():
    view = draw_view(6, augmentation(**{**OFF, "grayscale": 1.0}), generator())
    gray = apply_view(images(), changed(6, color=view.color), 16)
    luma = (images() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(gray, luma.expand_as(gray), atol=2e-3, rtol=0)


def test_hue_turns_by_at_most_what_is_asked():
    config = augmentation(**{**OFF, "color_jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0,
                             "hue": 0.05})  # fmt: skip
    view = draw_view(300, config, generator())
    red = view.color @ torch.tensor([0.8, 0.3, 0.3])
    shift = torch.tensor([(colorsys.rgb_to_hsv(*pixel)[0] + 0.5) % 1 - 0.5 for pixel in red.tolist()])
    assert shift.abs().max() < 0.08  # YIQ turns are close to HSV turns, not equal
    assert shift.abs().max() > 0.02
    assert shift.min() < 0 < shift.max()
    luma = red @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma, torch.full((300,), 0.8 * 0.299 + 0.3 * 0.701), atol=2e-3, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_blur_is_the_gaussian_of_torchvision(sigma):
    x = images(2, 32)
    blurred = apply_view(x, changed(2, sigma=torch.tensor([sigma, 0.0])), 32)
    torch.testing.assert_close(blurred[0], gaussian_blur(x, [7, 7], [sigma, sigma])[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(blurred[1], x[1], atol=1e-4, rtol=0)


def test_blur_at_twice_the_size_has_twice_the_sigma():
    x = images(1, 64)
    blurred = apply_view(x, changed(1, sigma=torch.tensor([1.0])), 64)
    torch.testing.assert_close(blurred, gaussian_blur(x, [13, 13], [2.0, 2.0]), atol=1e-4, rtol=0)


def test_values_stay_in_range():
    view = draw_view(64, augmentation(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5), generator())
    out = apply_view(images(64), view, 16)
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6  # the blur's weights add up to 1 but for rounding
    assert out.isfinite().all()


def test_ranks_see_the_rows_that_one_process_would():
    x, view = images(9), draw_view(9, augmentation(), generator())
    whole = apply_view(x, view, 16)
    for rank in range(2):
        torch.testing.assert_close(apply_view(x[rank::2], view.rows(rank, 2), 16), whole[rank::2], atol=1e-5, rtol=0)


def test_strengths_change_nothing_else_that_is_drawn():
    """Each draw has its own place in the stream, so one setting can be studied alone."""
    plain, strong = (draw_view(50, augmentation(hue=hue), generator()) for hue in (0.0, 0.3))
    for name in ("affine", "brightness", "contrast", "sigma"):
        assert torch.equal(getattr(plain, name), getattr(strong, name))
