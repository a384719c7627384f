"""A loss in parts against the loss of the whole batch."""

import pytest
import torch
from torch import nn

from selfguide.core.workers import in_threads
from selfguide.denoiser.parts import InParts

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("workers", "rounds"), [(1, 1), (2, 1), (1, 3), (2, 2), (3, 2), (2, 4), (1, 50)])
def test_loss_and_gradients_are_those_of_the_whole_batch(workers, rounds):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.SiLU(), nn.Linear(8, 1))
    whole = network(X).square().mean()
    expected = torch.autograd.grad(whole, list(network.parameters()))
    in_parts = InParts(network, workers, rounds)
    for _ in range(2):  # the second time with weights that moved
        network.zero_grad()
        loss = in_parts(lambda net, rows: net(X[rows]).square().mean(), len(X))
        (loss * 3).backward()
        torch.testing.assert_close(loss, whole)
        torch.testing.assert_close([p.grad for p in network.parameters()], [3 * g for g in expected])
        with torch.no_grad():
            network[0].weight.data = network[0].weight.data + 1  # a new tensor, as swapped averages are
        whole = network(X).square().mean()
        expected = torch.autograd.grad(whole, list(network.parameters()))


def test_threads_keep_the_callers_modes_and_leave_its_threads():
    before = torch.get_num_threads()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        seen = in_threads(lambda x: (x @ x.T).dtype, [X, X])
    with torch.no_grad():
        grads = in_threads(lambda _: torch.is_grad_enabled(), [0, 1])
    assert seen == [torch.bfloat16] * 2
    assert grads == [False, False]
    assert torch.get_num_threads() == before
    assert in_threads(lambda _: torch.is_grad_enabled(), [0, 1]) == [True, True]


def test_an_error_in_a_thread_is_raised():
    def fail(number):
        raise ValueError(f"part {number}")

    with pytest.raises(ValueError, match="part 0"):
        in_threads(fail, [0, 1])
