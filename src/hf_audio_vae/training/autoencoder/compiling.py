"""`torch.compile` of the networks of an autoencoder in training."""

from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.modules.stack import is_recurrent


def compile_networks(model: AutoencoderModel, backend: str = "inductor") -> None:
    """Compile encoder and decoder in place, as one graph each for the fixed shape of the crops.

    The weights and their names do not change. A graph break is an error.

    Args:
        model (`AutoencoderModel`): Model in training.
        backend (`str`): Backend of `torch.compile`.

    Raises:
        ValueError: A network has an LSTM or draws single samples, which `torch.compile` cannot capture in a graph.
    """
    for network in model.networks:
        if is_recurrent(network):
            reason = "draws one sample after another" if model.decodes_sample_by_sample else "has an LSTM"
            raise ValueError(
                f"{type(network).__name__} {reason}, which cannot be compiled; leave out `torch_compile`."
            )
        network.compile(backend=backend, fullgraph=True, dynamic=False)
