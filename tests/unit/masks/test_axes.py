import pytest
import torch

from selfguide.masks.axes import leading_axes


@pytest.mark.parametrize("number", [1, 3, 6])
def test_axes_are_the_eigenvectors_of_the_largest_eigenvalues(number):
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = leading_axes(vectors.T @ vectors, number)
    _, right = torch.linalg.svd(vectors, full_matrices=False)[1:]
    torch.testing.assert_close((found * right[:number].T).sum(0).abs(), torch.ones(number, dtype=torch.float64))


def test_few_vectors_of_many_channels():
    # Of rank 2: there torch.linalg.eigh may fail to converge.
    vectors = torch.nn.functional.normalize(torch.randn(2, 1280, generator=torch.Generator().manual_seed(1)).relu())
    found = leading_axes(vectors.double().T @ vectors.double(), 8)
    torch.testing.assert_close(found.T @ found, torch.eye(8, dtype=torch.float64))
    inside = found[:, :2] @ (found[:, :2].T @ vectors.double().T)
    torch.testing.assert_close(inside, vectors.double().T)
