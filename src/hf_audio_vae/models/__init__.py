"""The registry: every family by the name its configuration carries."""

from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE

FAMILIES = {"WaveformVAE": WaveformVAE}
