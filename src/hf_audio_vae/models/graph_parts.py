"""Encoders and decoders from tensors to tensors, with the metadata of their graphs."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hf_audio_vae.modules.stack import is_recurrent

PADDED = "Zeros are appended up to a whole frame: frames = ceil(time / hop_length). NaN and infinity are not checked."
CODES = "Codes have to be at least 0 and less than the size of their codebook; this is not checked."

Graphed = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Signal:
    """An input or output of a graph: (batch, channels, rate * unit), or (batch, channels) without a unit.

    Args:
        channels (`int`): Channels of audio or latents, or number of codebooks.
        unit (`str`, *optional*): Name of the dynamic length: `"time"` or `"frames"`.
        rate (`int`): Values per unit.
        codebook_sizes (`tuple[int, ...]`, *optional*): Sizes for codes, which are int64; other signals are float32.
    """

    channels: int
    unit: str | None = None
    _: KW_ONLY
    rate: int = 1
    codebook_sizes: tuple[int, ...] | None = None

    def describe(self) -> dict[str, object]:
        """Return the shape and dtype for the metadata."""
        dtype = "float32" if self.codebook_sizes is None else "int64"
        length = self.unit if self.rate == 1 else f"{self.rate} * {self.unit}"
        return {"shape": ["batch", self.channels, length][: 3 if self.unit else 2], "dtype": dtype}

    def name_dimensions(self, dims: Mapping[str, Dim]) -> dict[int, object]:
        """Return the dynamic dimensions for torch.export."""
        batch: dict[int, object] = {0: dims["batch"]}
        return batch if self.unit is None else batch | {2: self.rate * dims[self.unit]}

    def draw(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """Return random codes, or values that are uniform in [-1, 1]; in (0, 1] without a unit, as scales are."""
        length = () if self.unit is None else (self.rate * sizes[self.unit],)
        if self.codebook_sizes is None:
            uniform = torch.rand(sizes["batch"], self.channels, *length, generator=generator)
            return 1 - uniform if self.unit is None else 2 * uniform - 1
        shape = (sizes["batch"], *length)
        return torch.stack([torch.randint(n, shape, generator=generator) for n in self.codebook_sizes], dim=1)


class GraphPart(nn.Module):
    """An encoder or a decoder, from tensors to a tuple of tensors.

    Args:
        modules (`list[torch.nn.Module]`): The modules with its weights.
        run (`Callable`): The function that it computes.
        inputs (`dict[str, Signal]`): The arguments of `run`, in order.
        outputs (`dict[str, Signal]`): The results of `run`, in order.
        facts (`dict[str, object]`): Metadata of this part only.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        run: Graphed,
        *,
        inputs: dict[str, Signal],
        outputs: dict[str, Signal],
        facts: dict[str, object],
    ) -> None:
        super().__init__()
        self.used = nn.ModuleList(modules)
        self.run, self.inputs, self.outputs, self.facts = run, inputs, outputs, facts

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the part."""
        return self.run(*inputs)

    def draw(self, batch: int, frames: int, *, hop_length: int) -> tuple[Tensor, ...]:
        """Return random inputs; the last frame of a waveform is incomplete if `hop_length` is above 1."""
        sizes = {"batch": batch, "frames": frames, "time": frames * hop_length - hop_length // 2}
        generator = torch.Generator().manual_seed(frames)
        return tuple(signal.draw(sizes, generator) for signal in self.inputs.values())


def posterior_parts(model: Any) -> dict[str, GraphPart]:
    """Return the encoder of a model with a posterior, which returns its mode, and the decoder."""
    latents = {"latents": Signal(model.latent_channels, "frames")}

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return (model.encode(waveform).latent_dist.mode(),)

    def decode(latents: Tensor) -> tuple[Tensor, ...]:
        return model.decode(latents, return_dict=False)

    encoder_description = "The latents are the mean of the posterior, not normalised by `latents_mean`."
    decoder_description = "Takes latents as the encoder returns them: undo a normalisation by `latents_mean` first."
    return {
        "encoder": GraphPart(
            [*model.networks[:1]],
            encode,
            inputs=waveform_signal(model),
            outputs=latents,
            facts={"description": f"{encoder_description} {PADDED}"},
        ),
        "decoder": GraphPart(
            [*model.networks[1:]],
            decode,
            inputs=latents,
            outputs=decoded_signal(model, model.hop_length),
            facts={"description": decoder_description},
        ),
    }


def code_parts(model: Any) -> dict[str, GraphPart]:
    """Return the encoder of a model with codebooks, which returns codes, and the decoder.

    Raises:
        ValueError: There is an RNN.
    """
    if is_recurrent(model):
        raise ValueError(
            "torch.export fixes an LSTM to the length of its traced input; export a model without one, such as with "
            "`num_lstm_layers` 0, or compile this one where it runs."
        )
    coded = {"codes": Signal(model.num_codebooks, "frames", codebook_sizes=model.codebook_sizes)}
    coding, decoding = PADDED, CODES
    if model.codes_need_scales:
        coded["scales"] = Signal(1)
        coding += " `scales` holds the divisor of each item: the root mean square of the mean of its channels."
        decoding += " The waveform is multiplied by `scales`: pass those that came with the codes."

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return tuple(model.encode(waveform, return_dict=False))

    def decode(codes: Tensor, scales: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(model.decode(codes, audio_scales=scales, return_dict=False))

    return {
        "encoder": GraphPart(
            [model.encoder, model.quantizer],
            encode,
            inputs=waveform_signal(model),
            outputs=coded,
            facts={"description": coding},
        ),
        "decoder": GraphPart(
            [model.quantizer, model.decoder],
            decode,
            inputs=coded,
            outputs=decoded_signal(model, model.hop_length),
            facts={"description": decoding},
        ),
    }


def waveform_signal(model: Any) -> dict[str, Signal]:
    """Return the signal that an encoder takes, by its name."""
    return {"waveform": Signal(model.config.audio_channels, "time")}


def decoded_signal(model: Any, hop_length: int) -> dict[str, Signal]:
    """Return the signal that a decoder of frames of `hop_length` samples returns, by its name."""
    return {"waveform": Signal(model.config.audio_channels, "frames", rate=hop_length)}
