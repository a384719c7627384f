import torch
from torch import nn

from selfguide.denoiser.ema import Ema


def test_average_is_the_recurrence():
    network = nn.Linear(2, 2)
    ema = Ema(network, 0.5)
    want = network.weight.detach().clone()
    for n in range(1, 30):
        network.weight.data.add_(n)
        ema.update(n)
        decay = min(0.5, (1 + n) / (10 + n))
        want = decay * want + (1 - decay) * network.weight.detach()
    assert torch.allclose(ema.state_dict()["weight"], want)


def test_applied_swaps_and_restores():
    network = nn.Linear(2, 2)
    ema = Ema(network, 0.9)
    network.weight.data.add_(1)
    raw, average = network.weight.detach().clone(), ema.state_dict()["weight"].clone()
    with ema.applied():
        assert torch.equal(network.weight, average)
    assert torch.equal(network.weight, raw)


def test_state_round_trip():
    network = nn.Linear(2, 2)
    ema = Ema(network, 0.9)
    saved = {k: v.clone() for k, v in ema.state_dict().items()}
    network.weight.data.add_(1)
    ema.update(1)
    ema.load_state_dict(saved)
    assert torch.equal(ema.state_dict()["weight"], saved["weight"])
