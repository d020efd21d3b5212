"""Published autoencoders of other classes, each behind an adapter around its original module."""

from hf_audio_vae.models.peers.cosmos3_audio import Cosmos3AudioVAE
from hf_audio_vae.models.peers.kvae_audio import KVAEAudioVAE
from hf_audio_vae.models.peers.longcat_audio_dit_vae import LongCatVAE
from hf_audio_vae.models.peers.mimi import MimiCodec
from hf_audio_vae.models.peers.minimax_h3_audio import MiniMaxH3AudioVAE
from hf_audio_vae.models.peers.peer import PeerAutoencoder
from hf_audio_vae.models.peers.pocket_tts import PocketTTSVAE
from hf_audio_vae.models.peers.same import SAMEVAE
from hf_audio_vae.models.peers.vibevoice import VibeVoiceVAE

CLASSES: tuple[type[PeerAutoencoder], ...] = (
    Cosmos3AudioVAE,
    KVAEAudioVAE,
    LongCatVAE,
    MimiCodec,
    MiniMaxH3AudioVAE,
    PocketTTSVAE,
    SAMEVAE,
    VibeVoiceVAE,
)
PEERS: dict[str, type[PeerAutoencoder]] = {peer.family_name(): peer for peer in CLASSES}
