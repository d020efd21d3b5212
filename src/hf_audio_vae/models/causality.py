from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def reads_ahead(predict: Callable[[Tensor], Tensor], vocab_size: int, length: int) -> bool:
    """Whether an output of a sequence model depends on later tokens: changing the last token changes one before it.

    Args:
        predict (`Callable`): Maps ids (1, length) to outputs (1, length, channels), in evaluation mode.
        vocab_size (`int`): Number of ids.
        length (`int`): Length of the sequence to try, at least 2.
    """
    ids = torch.arange(length)[None] % vocab_size
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % vocab_size
    first, second = (predict(inputs)[:, :-1].float() for inputs in (ids, changed))
    return bool(((first - second).abs() > 1e-4 * first.abs().max()).any())
