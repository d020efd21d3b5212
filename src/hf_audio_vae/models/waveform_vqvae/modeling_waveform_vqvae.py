"""Neural codec: waveform to codes and back, a superset of DAC (arXiv:2306.06546) and EnCodec (arXiv:2210.13438)."""

from transformers.modeling_utils import PreTrainedAudioTokenizerBase

from hf_audio_vae.models.codec import CodecMixin
from hf_audio_vae.models.transformers_autoencoder import TransformersAutoencoderMixin
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.parts import new_decoder, new_encoder, new_quantizer
from hf_audio_vae.modules.quantization import Quantizer


class WaveformVQVAE(CodecMixin, TransformersAutoencoderMixin, PreTrainedAudioTokenizerBase):  # type: ignore[misc]
    """Convolutional codec on waveforms with residual vector quantization, or finite scalar quantization.

    DAC and EnCodec are two configurations of it; `convert_dac` and `convert_encodec` read and write their files. With
    `stft_options`, its networks are those of `STFTVAE`. It
    also keeps every sample at odd strides, trains through any of its quantizers, codes long signals exactly in chunks,
    and gives an item the same codes with any padding in a batch.

    Args:
        config (`WaveformVQVAEConfig`): Layers and quantizer of the model.

    Example:
        >>> import torch
        >>> config = WaveformVQVAEConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=(2, 5),
        ...     hidden_size=16, num_codebooks=3, codebook_size=64, sampling_rate=16000)
        >>> model = WaveformVQVAE(config).eval()
        >>> waveform = torch.randn(1, 1, 1234)
        >>> codes = model.encode(waveform).audio_codes
        >>> codes.shape, model.decode(codes).audio_values.shape, model(waveform).audio_values.shape
        (torch.Size([1, 3, 124]), torch.Size([1, 1, 1240]), torch.Size([1, 1, 1234]))
        >>> model.decode(codes[:, :1]).audio_values.shape, model.bits_per_second  # one codebook of three is enough
        (torch.Size([1, 1, 1240]), 28800.0)
    """

    config: WaveformVQVAEConfig
    config_class = WaveformVQVAEConfig
    base_model_prefix = "waveform_vqvae"
    main_input_name = "input_values"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = [
        "SEANetEncoderBlock",
        "SEANetDecoderBlock",
        "SkipLSTM",
        "ShortTimeStage",
        "ConvNeXtBlock",
        "VectorQuantizer",
    ]

    def __init__(self, config: WaveformVQVAEConfig) -> None:
        super().__init__(config)
        self.encoder = new_encoder(config)
        self.quantizer: Quantizer = new_quantizer(config)
        self.decoder = new_decoder(config)
        self.coder = self.new_coder()
        self.post_init()

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def codes_need_scales(self) -> bool:
        """Whether codes lack the loudness, because the model divides a waveform by it."""
        return self.config.normalize
