"""The graphs of a hierarchy: one encoder, and one decoder or one per level."""

from typing import Any

from torch import Tensor, nn

from hf_audio_vae.models.graph_parts import CODES, PADDED, GraphPart, Signal, decoded_signal, waveform_signal

LEVEL = "`frames` counts frames of this `level`, of `level_hop_length` samples; 0 is the finest level."


def level_parts(model: Any) -> dict[str, GraphPart]:
    """Return the exported parts of a hierarchy by file name."""

    def codes_of(hop_length: int, frame_length: int) -> Signal:
        size = model.config.codebook_size
        return Signal(1, "frames", rate=frame_length // hop_length, codebook_sizes=(size,))

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        levels: Any = model.encode(waveform, return_dict=False)[0]
        return levels

    def decoder(level: int | None) -> GraphPart:
        def decode(*codes: Tensor) -> tuple[Tensor, ...]:
            return tuple(model.decode(codes if level is None else codes[0], level=level, return_dict=False))

        hop = model.hop_length if level is None else model.hop_lengths[level]
        facts: dict[str, object] = {"description": CODES}
        if level is not None:
            facts = {"description": f"{CODES} {LEVEL}", "level": level, "level_hop_length": hop}
        return GraphPart(
            [model.quantizers, model.decoders],
            decode,
            inputs=coded if level is None else {f"codes_{level}": codes_of(hop, hop)},
            outputs=decoded_signal(model, hop),
            facts=facts,
        )

    coded = {f"codes_{i}": codes_of(hop, model.hop_length) for i, hop in enumerate(model.hop_lengths)}
    modules: list[nn.Module] = [model.encoders, model.quantizers]
    encoder = GraphPart(modules, encode, inputs=waveform_signal(model), outputs=coded, facts={"description": PADDED})
    if model.config.joint_decoding:
        return {"encoder": encoder, "decoder": decoder(None)}
    return {"encoder": encoder} | {f"decoder_{level}": decoder(level) for level in range(model.num_levels)}
