"""Tab: a sound through all models, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from torch import Tensor

from hf_audio_vae.evaluation.metrics import reconstruction_metrics
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.evaluation.reports import METRICS
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.studio.components import run_on, sound_input, sound_output
from hf_audio_vae.studio.workshop import EXAMPLES, ORIGINAL, Workshop, reconstruct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("si_sdr_db", "multi_resolution_stft", "mel_distance")
HELP = """
Each reconstruction is compared with the sound at the rate and with the channels of its model. Figures of models with
different ones are not comparable; `hf-audio-vae evaluate` converts all to the highest rate.
"""


def tab(workshop: Workshop) -> None:
    """Build the tab, with the results of an example."""
    names, example = list(workshop.models), str(EXAMPLES / "loop_breakbeat.flac")

    def compare(path: str | None, chosen: Sequence[str]) -> list[Any]:
        if not chosen:
            raise ValueError("no model is chosen; choose one or more.")
        models = {name: workshop.models[name] for name in chosen}
        results = {name: Result.of(model, workshop.read(path, model)) for name, model in models.items()}
        paths = {name: workshop.write(result.output, result.rate) for name, result in results.items()}
        rows = [[name, result.rate, len(result.sound), *result.metrics()] for name, result in results.items()]
        return [*(paths.get(name) for name in names), rows, spectrograms_of(results)]

    try:
        *paths, rows, figure = compare(example, names)
    except ValueError:  # the example is longer than the sounds of this studio; the button says so, too
        paths, rows, figure = [None for _ in names], None, None
    sound = sound_input("sound", "reconstruct-sound", example)
    gr.Examples([[str(path)] for path in sorted(EXAMPLES.glob("*.flac"))], [sound], label="examples")
    chosen = gr.CheckboxGroup(names, value=names, label="models", elem_id="reconstruct-models")
    button = gr.Button("Reconstruct", variant="primary", elem_id="reconstruct-button")
    players = [
        sound_output(name, f"reconstruct-result-{index}", path)
        for index, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    gr.Markdown(HELP)
    headers = ["model", "rate (Hz)", "channels", *(METRICS[name] for name in SHOWN)]
    metrics = gr.Dataframe(rows, headers=headers, label="metrics", elem_id="reconstruct-metrics")
    spectrograms = gr.Plot(figure, label="spectrograms", elem_id="reconstruct-spectrograms")
    run_on(button.click, compare, [sound, chosen], [*players, metrics, spectrograms])


@dataclass(frozen=True)
class Result:
    """A sound and its reconstruction, both (audio_channels, time) at the rate of the model in Hz."""

    sound: Tensor
    output: Tensor
    rate: int

    @classmethod
    def of(cls, model: AutoencoderModel, sound: Tensor) -> "Result":
        """Reconstruct a sound, (audio_channels, time)."""
        return cls(sound, reconstruct(model, sound), model.sampling_rate)

    def metrics(self) -> list[float]:
        """Return the values of `SHOWN`."""
        values = reconstruction_metrics(self.output[None], self.sound[None], self.rate)
        return [round(float(values[name]), 3) for name in SHOWN]


def spectrograms_of(results: Mapping[str, Result]) -> "Figure":
    """Draw the sound, as the model with the highest rate reads it, above all reconstructions."""
    finest = max(results.values(), key=lambda result: result.rate)
    waveforms = {ORIGINAL: finest.sound} | {name: result.output for name, result in results.items()}
    rates = {ORIGINAL: finest.rate} | {name: result.rate for name, result in results.items()}
    return spectrogram_figure(waveforms, rates)
