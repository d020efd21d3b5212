import torch
import torch.nn.functional as F

from hf_audio_vae.modules.convnext import ConvNeXtBlock
from tests.dependence import inputs_read


def seeded_block(**options: bool) -> ConvNeXtBlock:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = ConvNeXtBlock(6, kernel_size=5, expansion=2, **options).double()
    for parameter in block.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return block


def test_block_is_the_published_formula() -> None:
    block = seeded_block()
    x = torch.randn(2, 6, 9, dtype=torch.float64)
    y = F.conv1d(x, block.depthwise.weight, block.depthwise.bias, padding=2, groups=6).transpose(1, 2)
    y = F.layer_norm(y, (6,), block.norm.weight, block.norm.bias)
    y = F.gelu(F.linear(y, block.expand.weight, block.expand.bias))
    y = F.linear(y, block.project.weight, block.project.bias) * block.scale.weight
    torch.testing.assert_close(block(x), x + y.transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_causal_block_reads_no_later_frames() -> None:
    x = torch.randn(1, 6, 20, dtype=torch.float64)
    assert inputs_read(seeded_block(causal=True), x, 10, 11) == (6, 11)
    assert inputs_read(seeded_block(), x, 10, 11) == (8, 13)


def test_memory_format_is_kept_and_changes_no_result() -> None:
    block = seeded_block()
    x = torch.randn(2, 6, 9, dtype=torch.float64)
    by_frame = x.transpose(1, 2).contiguous().transpose(1, 2)
    y = block(by_frame)
    assert y.transpose(1, 2).is_contiguous()
    torch.testing.assert_close(y, block(x), rtol=1e-12, atol=1e-12)
