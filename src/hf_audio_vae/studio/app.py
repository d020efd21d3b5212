"""The page of the studio: a tab for each use of a model."""

import os
from collections.abc import Callable

import gradio as gr

from hf_audio_vae.studio import abx, arithmetic, axes, generate, inpaint, morph, reconstruct, sample
from hf_audio_vae.studio.workshop import Workshop
from hf_audio_vae.version import __version__

TITLE = "hf-audio-vae studio"
KEPT_SECONDS = 24 * 3600  # a day; older sounds are deleted
MOST_WAITING = 32  # calls; later ones are refused
TABS: dict[str, Callable[[Workshop], None]] = {
    "Reconstruct": reconstruct.tab,
    "Blind test": abx.tab,
    "Morph": morph.tab,
    "Principal axes": axes.tab,
    "Arithmetic": arithmetic.tab,
    "Sample": sample.tab,
    "Generate": generate.tab,
    "Inpaint": inpaint.tab,
}
NEED_LATENTS = ("Morph", "Principal axes", "Arithmetic", "Sample")


def build_app(workshop: Workshop) -> gr.Blocks:
    """Build the app; its `launch` starts the server.

    Args:
        workshop (`Workshop`): Models and limits. Gradio's files lie in its folder, too.

    Returns:
        `gradio.Blocks`: The app. It sends nothing to Gradio's authors.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(workshop.folder)  # Gradio has no other way to set the folder of its files
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, KEPT_SECONDS)) as app:
        gr.Markdown(
            f"# {TITLE}\nModels: {', '.join(workshop.models)}. Sounds of up to {workshop.max_seconds:g} s. "
            f"Version {__version__}."
        )
        for name, tab in TABS.items():
            with gr.Tab(name, elem_id=f"tab-{name.lower().replace(' ', '-')}"):
                if name in NEED_LATENTS and not workshop.latent_models:
                    gr.Markdown("The models of this studio encode to codes; this tab needs a model with latents.")
                else:
                    tab(workshop)
    # Without the queue, callers of the API would run models side by side.
    return app.queue(max_size=MOST_WAITING, api_open=False)
