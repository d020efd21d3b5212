"""Tab: walk along the principal axes of the latents of a model."""

import gradio as gr

from hf_audio_vae.studio.components import menu, run_on, sound_input, sound_output
from hf_audio_vae.studio.sample import MISSING
from hf_audio_vae.studio.workshop import EXAMPLES, Workshop, decode, encode

MOST_AXES = 16
HELP = """
A principal axis is a direction in which the latents of the training data vary. The sound is moved along it by a number
of standard deviations, in all frames.
"""


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    if not workshop.priors:
        gr.Markdown(MISSING)
        return
    gr.Markdown(HELP)
    sound = sound_input("sound", "axes-sound", str(EXAMPLES / "loop_breakbeat.flac"))
    with gr.Row():
        model = menu("model", workshop.priors, "axes-model")
        axis = gr.Slider(
            1, MOST_AXES, 1, step=1, precision=0, label="axis, by its share of the variance", elem_id="axes-axis"
        )
        amount = gr.Slider(-4, 4, 2, step=0.1, label="standard deviations", elem_id="axes-amount")
    button = gr.Button("Move", variant="primary", elem_id="axes-button")
    result = sound_output("result", "axes-result")
    share = gr.Markdown(elem_id="axes-share")

    def move(path: str | None, name: str, number: int, deviations: float) -> tuple[str, str]:
        vae, axes = workshop.latent_models[name], workshop.priors[name].principal_axes
        index = min(number, len(axes.variances)) - 1
        waveform = workshop.read(path, vae)
        latents = axes.move(encode(vae, waveform), index, deviations)
        line = f"Axis {index + 1} has {float(axes.shares[index]):.1%} of the variance."
        return workshop.write(decode(vae, latents, waveform.shape[-1]), vae.sampling_rate), line

    run_on([button.click, axis.release, amount.release], move, [sound, model, axis, amount], [result, share])
