import pytest
import torch

from selfguide.signal.condition import BatchCondition
from tests.unit.denoiser.test_registry import make

PAPER = {
    "side": 32, "base_channels": 128, "channel_multipliers": [1, 2, 4], "num_blocks": 2, "num_heads": 8,
    "time_width": 512, "guidance_width": 256,
}  # fmt: skip


@pytest.mark.parametrize(("num_ids", "millions"), [(400, 74.10), (1000, 74.25), (5000, 75.28), (10_000, 76.57)])
def test_parameter_count_of_the_paper(num_ids, millions):
    # The official network's counts at 32 px, base 128, two blocks, multipliers 1, 2, 4.
    with torch.device("meta"):
        network = make(**PAPER, num_ids=num_ids)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.015)


def test_the_network_without_masks_is_the_one_from_before_there_were_any():
    # Numbers of the code that knew no masks and one id an image: same parts, same draws, same outputs.
    torch.manual_seed(3)
    network = make()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, t, c = torch.randn(3, 3, 16, 16), torch.tensor([0, 5, 999]), torch.tensor([-1, 0, 4])
    out = network(x, t, BatchCondition(c)).detach()
    assert out.flatten()[[0, 100, 500, 2000]].tolist() == pytest.approx(
        [0.0793485790, -0.0618042648, -0.0627773106, -0.0320947208], rel=1e-4
    )
    assert float(out.double().square().sum()) == pytest.approx(41.64625884, rel=1e-5)


def test_attention_sits_at_the_named_resolutions_and_in_the_middle():
    network = make(attention_resolutions=[])
    assert [s.attention is not None for s in network.middle] == [True, False]
    assert not any(s.attention is not None for s in [*network.encoder, *network.decoder])
    network = make()
    assert [s.attention is not None for s in network.encoder] == [False, False, True]
