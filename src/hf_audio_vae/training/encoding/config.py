from pathlib import Path
from typing import Literal

from pydantic import Field

from hf_audio_vae.training.sections import Section


class EncodingConfig(Section):
    """Options of encoding a data set into latents or codes."""

    model: str = Field(
        description="folder or Hub id of the autoencoder; the statistics are written into the config of a folder"
    )
    model_subfolder: str | None = Field(None, description="subfolder of the model, `vae` in a pipeline")
    model_revision: str | None = None

    dataset_name: str = Field(description="Hub id, or a folder of audio, parquet or tar files")
    dataset_config_name: str | None = None
    dataset_split: str = "train"
    dataset_revision: str | None = None
    data_files: str | list[str] | None = None
    audio_column: str | None = None
    output_dir: Path = Field(description="folder of the latents or codes, shared by all machines")

    items_per_file: int = Field(
        100, ge=1, description="items per file; after a kill, each process encodes at most one file again"
    )
    max_row_seconds: float = Field(60.0, gt=0, description="maximum length of a row; longer items are split")
    latents_dtype: Literal["float16", "float32"] | None = Field(
        None, description="of mean and std in the files; default float16"
    )
    max_bad_share: float = Field(0.1, ge=0, le=1, description="fail if the share of undecodable items is higher")

    def location(self) -> dict[str, str | None]:
        """Return the source of the model for the record; for a folder, the absolute path with the subfolder."""
        folder = Path(self.model)
        if folder.is_dir():
            return {"model": str((folder / (self.model_subfolder or "")).resolve())}
        names = ("model", "model_subfolder", "model_revision")
        return {name: getattr(self, name) for name in names}

    def source(self) -> dict[str, str]:
        """Return the source of the data for the record."""
        names = ("dataset_name", "dataset_config_name", "dataset_split", "dataset_revision", "data_files")
        values = {name: getattr(self, name) for name in (*names, "audio_column")}
        return {name: str(value) for name, value in values.items() if value is not None}
