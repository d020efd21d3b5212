"""Random crops of streamed data sets."""

from hf_audio_vae.data.clips import clip_starts, random_crop
from hf_audio_vae.data.code_records import CodesRecord
from hf_audio_vae.data.codes import CodeStream, TokenBatch, collate_tokens, tokenize_dataset
from hf_audio_vae.data.crops import CropBatch, CropStream
from hf_audio_vae.data.held_out import split_held_out
from hf_audio_vae.data.latent_records import LatentsRecord, read_record
from hf_audio_vae.data.latents import LatentBatch, LatentStream, load_latent_stream
from hf_audio_vae.data.loading import EncodedAudio, load_audio_stream
from hf_audio_vae.data.spread import spread_sample
from hf_audio_vae.data.stream_loader import StreamLoader
from hf_audio_vae.data.streaming import TooManyBadItemsError

__all__ = [
    "CodeStream",
    "CodesRecord",
    "CropBatch",
    "CropStream",
    "EncodedAudio",
    "LatentBatch",
    "LatentStream",
    "LatentsRecord",
    "StreamLoader",
    "TokenBatch",
    "TooManyBadItemsError",
    "collate_tokens",
    "load_audio_stream",
    "load_latent_stream",
    "random_crop",
    "read_record",
    "split_held_out",
    "spread_sample",
    "tokenize_dataset",
    "clip_starts",
]
