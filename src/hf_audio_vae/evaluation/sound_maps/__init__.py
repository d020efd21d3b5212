"""Maps of data sets: a point for each clip, as a picture, as numbers and as a page with sound."""

from hf_audio_vae.evaluation.sound_maps.figure import map_figure
from hf_audio_vae.evaluation.sound_maps.page import map_page
from hf_audio_vae.evaluation.sound_maps.previews import mp3_preview
from hf_audio_vae.evaluation.sound_maps.sound_map import MappedClip, SoundMap

__all__ = ["MappedClip", "SoundMap", "map_figure", "map_page", "mp3_preview"]
