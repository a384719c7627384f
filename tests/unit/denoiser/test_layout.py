"""What the configuration refuses is what no network can be built of."""

import random
from typing import Any

import pytest
import torch

from selfguide.core.errors import UserError
from selfguide.denoiser.config import read_network
from selfguide.denoiser.layout import faults, lay_out
from selfguide.denoiser.registry import DENOISERS
from selfguide.signal.condition import BatchCondition
from tests.unit.denoiser.test_registry import make


def _drawn(dice: random.Random) -> dict[str, Any]:
    """A network that may or may not be possible, each about as often."""
    side = dice.choice([4, 8, 12, dice.randint(3, 12)])
    return {
        "variant": dice.choice(sorted(DENOISERS)), "side": side, "channels": 3, "num_ids": dice.choice([0, 3]),
        "patch_size": dice.choice([1, 1, 2, 3]), "base_channels": dice.choice([2, 4, 8, 16, 32, 64, 40, 48, 1, 7]),
        "channel_multipliers": [dice.randint(1, 3) for _ in range(dice.choice([1, 2, 2, 3]))],
        "num_blocks": dice.choice([1, 1, 2]),
        "attention_resolutions": dice.sample([side, side // 2, max(1, side // 4), 5], 2),
        "num_heads": dice.choice([1, 1, 2, 3, 4, 8]), "dropout": 0.0, "time_width": dice.randint(1, 9),
        "guidance_width": dice.randint(1, 9), "map_channels": dice.randint(0, 1),
    }  # fmt: skip


def _runs(config: dict[str, Any]) -> bool:
    """Whether torch itself accepts it: built without any check, and run in both ways."""
    config = dict(config)
    sizes = {key: config.pop(key) for key in ("side", "channels", "num_ids", "map_channels")}
    side = sizes["side"]
    x, t = torch.zeros(1, 3, side, side), torch.tensor([5])
    c = BatchCondition(torch.tensor([-1]), torch.zeros(1, 1, side, side) if sizes["map_channels"] else None)
    try:
        network = DENOISERS[config["variant"]](read_network(config, "test"), **sizes)
        with torch.no_grad():
            shapes = network(x, t, c).shape, network.unrolled(t, c)(x, 0).shape
    except (ValueError, RuntimeError, ZeroDivisionError):
        return False
    return shapes == (x.shape, x.shape)


def test_a_network_runs_if_and_only_if_nothing_is_at_fault():
    dice = random.Random(0)
    drawn = [_drawn(dice) for _ in range(150)]
    # What no level attends to is said, and would be left out in silence.
    found = [
        ([text for text in faults(config["side"], config) if "no level" not in text], _runs(config), config)
        for config in drawn
    ]
    assert not [each for each in found if bool(each[0]) == each[1]]
    assert 40 < sum(runs for _, runs, _ in found) < 110
    for reason in ("images.size", "is odd", "32 groups", "num_heads"):
        assert [texts for texts, *_ in found if len(texts) == 1 and reason in texts[0]], f"{reason} never decided alone"


FAULTS = [
    ({"side": 18, "patch_size": 2}, "images.size: 18 is not a multiple of 4 = denoiser.network.patch_size x 2"),
    ({"base_channels": 16}, "denoiser.network.base_channels: 16 makes maps of 48 channels, .* use a multiple of 32"),
    ({"base_channels": 9, "num_heads": 1}, "denoiser.network.base_channels: 9 is odd"),
    (
        {"base_channels": 1024, "channel_multipliers": [64, 64]},
        "network.channel_multipliers: 131072 channels in a map, with base_channels 1024; expected at most 16384",
    ),
    (
        {"num_heads": 3},
        "denoiser.network.num_heads: 3 does not divide the 16 channels of the attention at side 8; .* of 16",
    ),
    # Of the level at side 16, too, and not of the deepest alone.
    (
        {"base_channels": 32, "num_heads": 64, "attention_resolutions": [16]},
        "num_heads: 64 does not divide the 32 channels of the attention at side 16; use a divisor of 32",
    ),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=[str(changes) for changes, _ in FAULTS])
def test_each_fault_names_its_key_and_the_remedy(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_all_faults_are_told_at_once():
    with pytest.raises(UserError, match=r"images\.size: 15 .*\n.*base_channels: 17 is odd.*\n.*34 channels.*\n.*heads"):
        make(side=15, base_channels=17)


def test_skip_connections_join_what_the_encoder_left_last():
    layout = lay_out(16, 2, 32, [1, 2], 1, [8])
    found = [(b.channels_in, b.channels_out, b.side, b.resample, b.attends) for b in layout.blocks]
    assert found == [
        (32, 32, 8, "none", True), (32, 32, 8, "down", False), (32, 64, 4, "none", False),
        (64, 64, 4, "none", True), (64, 64, 4, "none", False),
        (64 + 64, 64, 4, "none", False), (64 + 32, 64, 4, "none", False), (64, 64, 4, "up", False),
        (64 + 32, 32, 8, "none", True), (32 + 32, 32, 8, "none", True),
    ]  # fmt: skip
    assert (layout.sides, layout.stem) == ((8, 4), 32)
