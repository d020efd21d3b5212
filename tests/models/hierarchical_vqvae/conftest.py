import pytest

from tests.models.hierarchical_vqvae.tiny import VARIANTS


@pytest.fixture(params=VARIANTS, ids=["separate", "shared-joint"])
def variant(request) -> dict:
    return request.param
