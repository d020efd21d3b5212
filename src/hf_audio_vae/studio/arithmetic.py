"""Tab: add an attribute to a sound."""

import gradio as gr

from hf_audio_vae.studio.components import menu, run_on, sound_input, sound_output
from hf_audio_vae.studio.workshop import EXAMPLES, Workshop, decode, encode

MISSING = """
This studio has no attributes. Measure one, and start the studio with it:

    hf-audio-vae arithmetic --add WITH*.wav --subtract WITHOUT*.wav --save_vector attribute.safetensors
    hf-audio-vae studio --vector attribute.safetensors
"""


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    if not workshop.vectors:
        gr.Markdown(MISSING)
        return
    sound = sound_input("sound", "arithmetic-sound", str(EXAMPLES / "loop_breakbeat.flac"))
    with gr.Row():
        vector = menu("attribute", workshop.vectors, "arithmetic-vector")
        strength = gr.Number(
            1.0, minimum=-1000, maximum=1000, label="strength: how often it is added", elem_id="arithmetic-strength"
        )
    button = gr.Button("Add", variant="primary", elem_id="arithmetic-button")
    result = sound_output("result", "arithmetic-result")

    def add_attribute(path: str | None, name: str, times: float) -> str:
        model = workshop.model_of_vector(name)
        waveform = workshop.read(path, model)
        latents = workshop.vectors[name].apply(encode(model, waveform), times)
        return workshop.write(decode(model, latents, waveform.shape[-1]), model.sampling_rate)

    run_on(button.click, add_attribute, [sound, vector, strength], [result])
