import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Weighted means of a sequence, one for each learned query.

    The weights are a softmax of the products of query and vectors. Queries near zero give means over the whole
    sequence, which keep a VAE of sequences from posterior collapse better than the last state does (Long et al.,
    2019, arXiv:1911.03976).

    Args:
        channels (`int`): Size of the vectors.
        num_queries (`int`): Number of outputs.

    Shape:
        (batch, length, channels), mask (batch, length) -> (batch, num_queries, channels)
    """

    def __init__(self, channels: int, num_queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(num_queries, channels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the queries near zero."""
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        scores = self.queries @ vectors.transpose(1, 2)  # (batch, num_queries, length)
        scores = scores.float().masked_fill(~mask[:, None], torch.finfo(torch.float32).min)
        return scores.softmax(dim=-1).to(vectors.dtype) @ vectors
