"""Tab: generate sound with a pipeline, or with a language model of codes."""

from typing import Any

import gradio as gr
import torch

from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline, Sampling, generate_sounds
from hf_audio_vae.studio.components import (
    menu,
    run_on,
    seconds_input,
    seed_input,
    sound_input,
    sound_output,
    steps_input,
)
from hf_audio_vae.studio.workshop import Workshop

MISSING = """
This studio has no generator. Train one (`make generate`, `make tokens`), and start the studio with it:

    hf-audio-vae studio --pipeline PIPELINE
    hf-audio-vae studio --language_model LANGUAGE_MODEL
"""
NO_CLASS = "(no class)"


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    if not workshop.pipelines and not workshop.code_generators:
        gr.Markdown(MISSING)
    if workshop.pipelines:
        _pipelines(workshop)
    if workshop.code_generators:
        _language_models(workshop)


def class_menu(workshop: Workshop, elem_id: str) -> gr.Dropdown:
    """Return a menu of the classes of all pipelines."""
    names = {name for pipeline in workshop.pipelines.values() for name in pipeline.conditioner.config.class_names}
    return menu("class", [NO_CLASS, *sorted(names)], elem_id)


def condition(prompt: str, label: str) -> dict[str, Any]:
    """Return the arguments of a pipeline for a text and a class; empty ones are left out."""
    given = {"prompt": prompt.strip() or None, "class_labels": None if label == NO_CLASS else label}
    return {name: value for name, value in given.items() if value is not None}


def _pipelines(workshop: Workshop) -> None:
    with gr.Row():
        name = menu("pipeline", workshop.pipelines, "generate-pipeline")
        label = class_menu(workshop, "generate-class")
        prompt = gr.Textbox(label="text, for a pipeline that accepts one", elem_id="generate-prompt")
    with gr.Row():
        steps = steps_input("generate-steps")
        scale = gr.Slider(1, 10, 4, label="guidance scale, with a class or a text", elem_id="generate-scale")
        seed = seed_input("generate-seed")
    with gr.Accordion("start from a sound", open=False):
        start = sound_input("sound to vary", "generate-sound")
        strength = gr.Slider(0.05, 1, 0.7, label="strength of the change", elem_id="generate-strength")
    button = gr.Button("Generate", variant="primary", elem_id="generate-button")
    result = sound_output("generated", "generate-result")

    def generate(
        chosen: str, label: str, prompt: str, steps: int, scale: float, seed: int, path: str | None, strength: float
    ) -> str:
        pipeline = workshop.pipelines[chosen]
        options: dict[str, Any]
        if path is None:
            options = {"audio_end_in_s": min(pipeline.max_seconds, workshop.max_seconds)}
        else:
            sound = workshop.read(path, pipeline.vae, max_seconds=pipeline.max_seconds)
            options = {"init_audio": sound, "strength": strength}
        generated = run(pipeline, steps, seed, scale, **condition(prompt, label), **options)
        return workshop.write(generated, pipeline.sampling_rate)

    run_on(button.click, generate, [name, label, prompt, steps, scale, seed, start, strength], [result])


def run(pipeline: AudioLatentDiffusionPipeline, steps: int, seed: int, scale: float, **options: Any) -> torch.Tensor:
    """Generate one sound, (audio_channels, time)."""
    generator = torch.Generator().manual_seed(seed)
    options |= {"num_inference_steps": steps, "guidance_scale": scale, "generator": generator}
    return pipeline(**options, return_dict=False)[0][0]


def _language_models(workshop: Workshop) -> None:
    with gr.Row():
        name = menu("language model", workshop.code_generators, "codes-model")
        seconds = seconds_input(workshop.max_seconds, "codes-seconds")
        temperature = gr.Slider(0.1, 2, 1.0, label="temperature", elem_id="codes-temperature")
        top_k = gr.Number(0, precision=0, minimum=0, label="top k, 0 for all codes", elem_id="codes-top-k")
        seed = seed_input("codes-seed")
    button = gr.Button("Generate codes", variant="primary", elem_id="codes-button")
    result = sound_output("generated", "codes-result")

    def generate_codes(name: str, length: float, temperature: float, top_k: int, seed: int) -> str:
        found = workshop.code_generators[name]
        sounds = generate_sounds(
            found.priors,
            found.autoencoder,
            length,
            sampling=Sampling(temperature=temperature, top_k=top_k),
            generator=torch.Generator().manual_seed(seed),
        )
        return workshop.write(sounds[0], found.autoencoder.sampling_rate)

    run_on(button.click, generate_codes, [name, seconds, temperature, top_k, seed], [result])
