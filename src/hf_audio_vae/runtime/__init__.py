"""Ways to run encoders and decoders: whole, in chunks, on kernels, in pieces."""

from hf_audio_vae.modules.snake import use_kernels
from hf_audio_vae.runtime.snake_cuda import TritonSnake

use_kernels("cuda", TritonSnake())
