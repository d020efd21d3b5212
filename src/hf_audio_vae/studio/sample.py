"""Tab: samples of the measured latents of a model."""

import gradio as gr
import torch

from hf_audio_vae.audio.framing import frame_count, units_of
from hf_audio_vae.latents.prior import PRIORS
from hf_audio_vae.studio.components import menu, run_on, seconds_input, seed_input, sound_output
from hf_audio_vae.studio.workshop import Workshop, decode

HELP = """
Latents are drawn from a distribution that `hf-audio-vae statistics` measured, and decoded. No generator was trained:
this is what the model decodes from noise of the right statistics.
"""
MISSING = """
No model of this studio has measured latents. Measure them: `hf-audio-vae statistics MODEL --dataset_name DATA`
"""


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    if not workshop.priors:
        gr.Markdown(MISSING)
        return
    gr.Markdown(HELP)
    with gr.Row():
        model = menu("model", workshop.priors, "sample-model")
        kind = menu("distribution", sorted(PRIORS, key=lambda name: name != "autoregressive"), "sample-prior")
    with gr.Row():
        seconds = seconds_input(workshop.max_seconds, "sample-seconds")
        temperature = gr.Slider(0, 1.5, 1.0, label="temperature", elem_id="sample-temperature")
        seed = seed_input("sample-seed")
    button = gr.Button("Sample", variant="primary", elem_id="sample-button")
    result = sound_output("sample", "sample-result")

    def sample(name: str, prior: str, length: float, factor: float, number: int) -> str:
        vae = workshop.latent_models[name]
        time = units_of("seconds", length, vae.sampling_rate)
        generator = torch.Generator().manual_seed(number)
        frames = frame_count(time, vae.hop_length)
        latents = workshop.priors[name].sampler(prior).sample(frames, generator=generator, temperature=factor)
        return workshop.write(decode(vae, latents[0], time), vae.sampling_rate)

    run_on(button.click, sample, [model, kind, seconds, temperature, seed], [result])
