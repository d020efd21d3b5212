"""Pack the training scripts and their recipes, which lie beside `src`, into the package; setup.cfg has the rest."""

from setuptools import find_packages, setup

SCRIPTS = "hf_audio_vae.training.scripts"

setup(
    packages=[*find_packages("src"), SCRIPTS],
    package_dir={"": "src", SCRIPTS: "training"},
    package_data={
        "hf_audio_vae": [
            "py.typed",
            "evaluation/sound_maps/*.html",
            "runtime/*.c",
            "runtime/*.h",
            "pretrained/*/*",
            "studio/sounds/*",
        ],
        SCRIPTS: ["recipes/*.yaml"],
    },
)
