import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from selfguide.denoiser.blocks import Attention, GuidanceEmbedding, multi_hot_product


def test_guidance_row_look_up_is_a_linear_layer_on_one_hot_vectors():
    embedding = GuidanceEmbedding(4, 8)
    ids = torch.tensor([2, -1, 0])
    one_hot = torch.stack([torch.eye(4)[2], torch.zeros(4), torch.eye(4)[0]])
    hidden = F.linear(one_hot, embedding.rows.T, embedding.bias)
    assert torch.allclose(embedding(ids), embedding.out(F.silu(hidden)), atol=1e-6)


@given(st.lists(st.lists(st.integers(-1, 5), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_set_of_ids_is_a_multi_hot_vector(sets):
    rows = torch.arange(6 * 4, dtype=torch.float32).view(6, 4).square()
    multi_hot = torch.zeros(len(sets), 6)
    for vector, ids in zip(multi_hot, sets, strict=True):
        vector[[i for i in ids if i >= 0]] = 1  # an id that is named twice counts once
    assert torch.equal(multi_hot_product(rows, torch.tensor(sets)), multi_hot @ rows)


@pytest.mark.parametrize("width", [1, 4])
def test_a_set_of_one_is_the_id_itself(width):
    embedding, ids = GuidanceEmbedding(7, 8), torch.tensor([2, -1, 0, 6])
    padded = torch.full((4, width), -1)
    padded[:, width // 2] = ids
    assert torch.equal(embedding(padded), embedding(ids))


def test_attention_over_cells_and_context_is_one_softmax():
    torch.manual_seed(0)
    layer = Attention(8, 2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, context = torch.randn(3, 8, 2, 5), torch.randn(3, 4, 16)
    cells = layer.norm(x).flatten(2).mT
    q, k, v = layer.qkv(cells).chunk(3, dim=2)
    mixed = []
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        keys = torch.cat([k[..., own], context[..., :8][..., own]], 1)
        values = torch.cat([v[..., own], context[..., 8:][..., own]], 1)
        mixed.append((q[..., own] @ keys.mT / 2).softmax(-1) @ values)
    expected = x + layer.out(torch.cat(mixed, 2)).mT.view_as(x)
    torch.testing.assert_close(layer(x, context), expected)
    assert not torch.allclose(layer(x, context), layer(x))
