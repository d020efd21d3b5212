"""Ways to run encoders and decoders: on whole signals, in chunks, on compiled kernels, or as streams."""

from hf_audio_vae.modules.snake import use_kernels
from hf_audio_vae.runtime.snake_cuda import TritonSnake

use_kernels("cuda", TritonSnake())
