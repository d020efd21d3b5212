import torch

from hf_audio_vae.modules.quantization.quantizer import masked_mean

VALUES = torch.tensor([[1.0, 2.0, 90.0], [6.0, torch.nan, 90.0]])
MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_a_mean_is_over_the_frames_of_the_mask() -> None:
    assert masked_mean(VALUES, MASK).item() == (1 + 2 + 6) / 3
    assert masked_mean(VALUES[:1], None).item() == 31
    assert masked_mean(VALUES, torch.zeros_like(MASK)).item() == 0


def test_an_item_that_is_not_used_counts_as_zero() -> None:
    assert masked_mean(VALUES, MASK, torch.tensor([False, True])).item() == 6 / 3
