"""Pages of the reference with the docstrings of public names."""

import importlib

MODELS = "hf_audio_vae.models"
LOADING = (
    *("FAMILIES", "load_autoencoder", "load_vae", "load_merged", "new_autoencoder", "model_arguments"),
    *("with_training_arguments", "saved_class", "saved_config"),
)
INTERFACE = ("AutoencoderModel", "VariationalAutoencoderMixin", "BaseLocation", "LoraAdapter")
CONFIGURATIONS = ("WaveformVQVAEConfig", "HierarchicalVQVAEConfig", "WaveVAEConfig", "TokenVAEConfig")
# By page: its title, and what it describes of each module; None for all public names.
PAGES: dict[str, tuple[str, dict[str, tuple[str, ...] | None]]] = {
    "models": (
        "Models",
        {
            MODELS: (
                *("WaveformVAE", "STFTVAE", "SpectrogramVAE", "MelVAE", "WaveVAE", "WaveformVQVAE"),
                *("WaveformVQVAEFeatureExtractor", "HierarchicalVQVAE", "TokenVAE", "LatentConditioner"),
            )
        },
    ),
    "configurations": ("Configurations", {MODELS: CONFIGURATIONS}),
    "interface": (
        "Loading and common interface",
        {
            MODELS: (*LOADING, *INTERFACE),
            "hf_audio_vae.models.autoencoder": ("AudioAutoencoderMixin",),
            "hf_audio_vae.models.transformers_autoencoder": ("TransformersAutoencoderMixin",),
            "hf_audio_vae.modules.distributions": ("DiagonalGaussian",),
        },
    ),
    "quantizers": ("Quantizers", {"hf_audio_vae.modules.quantization": None}),
    "discriminators": ("Discriminators", {"hf_audio_vae.discriminators": None}),
    "losses": ("Losses", {"hf_audio_vae.losses": None}),
    "latents": ("Latents and codes", {"hf_audio_vae.latents": None, "hf_audio_vae.tokens": None}),
    "evaluation": ("Evaluation", {"hf_audio_vae.evaluation": None}),
    "data": ("Data", {"hf_audio_vae.data": None}),
    "audio": ("Audio", {"hf_audio_vae.audio": None}),
    "pipelines": ("Pipelines", {"hf_audio_vae.pipelines": None}),
    "streaming": (
        "Streaming",
        {"hf_audio_vae.runtime.streaming": ("Streaming", "StreamingCoder", "AlgorithmicLatency")},
    ),
    "export": ("Export", {"hf_audio_vae.models.exporting": ("export_model",)}),
}
NOTES = {
    "models": "[Loading and common interface](interface.md) has the methods that all models have, such as `fuse`.",
    "streaming": "`streaming()` of a model returns them.",
}


def names_on(page: str) -> list[str]:
    """Return the full names that a page describes."""
    return [
        f"{module}.{name}"
        for module, names in PAGES[page][1].items()
        for name in names or importlib.import_module(module).__all__
    ]


def public_names_page(page: str) -> str:
    """Return a page of docstrings: mkdocstrings replaces the lines that begin with `:::`."""
    title, modules = PAGES[page]
    sources = ", ".join(f"`{module}`" for module in modules)
    return f"# {title}\n\nImport from {sources}. {NOTES.get(page, '')}\n\n" + "\n\n".join(
        f"::: {name}" for name in names_on(page)
    )
