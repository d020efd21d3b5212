"""Tab: the sounds between two sounds."""

import gradio as gr

from hf_audio_vae.latents import ALIGNMENTS, Alignment, interpolate, moving_morph
from hf_audio_vae.latents.interpolation import METHODS
from hf_audio_vae.studio.components import menu, run_on, sound_input, sound_output
from hf_audio_vae.studio.workshop import EXAMPLES, Workshop, decode, encode


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    with gr.Row():
        ends = [
            sound_input(f"{name} sound", f"morph-{name}", str(EXAMPLES / file))
            for name, file in (("first", "loop_breakbeat.flac"), ("second", "speech_en_0890.flac"))
        ]
    with gr.Row():
        model = menu("model", workshop.latent_models, "morph-model")
        alignment = menu("lengths", ALIGNMENTS, "morph-alignment")
        method = menu("interpolation", METHODS, "morph-method")
    weight = gr.Slider(0, 1, 0.5, step=0.05, label="weight of the second sound", elem_id="morph-weight")
    with gr.Row():
        one = gr.Button("Sound at this weight", variant="primary", elem_id="morph-button")
        moving = gr.Button("Sound that moves from the first to the second", elem_id="morph-moving")
    result = sound_output("morph", "morph-result")

    def aligned(name: str, first: str | None, second: str | None, how: str) -> Alignment:
        vae = workshop.latent_models[name]
        return ALIGNMENTS[how]([encode(vae, workshop.read(path, vae)) for path in (first, second)])

    def morph(name: str, first: str | None, second: str | None, how: str, kind: str, share: float) -> str:
        vae = workshop.latent_models[name]
        latents = interpolate(*aligned(name, first, second, how).at(share), share, method=kind)
        return workshop.write(decode(vae, latents), vae.sampling_rate)

    def morph_moving(name: str, first: str | None, second: str | None, how: str, kind: str) -> str:
        vae = workshop.latent_models[name]
        latents = moving_morph(aligned(name, first, second, how), method=kind)
        return workshop.write(decode(vae, latents), vae.sampling_rate)

    inputs = [model, *ends, alignment, method]
    run_on([one.click, weight.release], morph, [*inputs, weight], [result])
    run_on(moving.click, morph_moving, inputs, [result])
