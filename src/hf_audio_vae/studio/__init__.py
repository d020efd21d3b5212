"""The studio: a browser app for the models, on Gradio."""

from hf_audio_vae.studio.app import build_app
from hf_audio_vae.studio.workshop import CodeGenerator, Workshop

__all__ = ["CodeGenerator", "Workshop", "build_app"]
