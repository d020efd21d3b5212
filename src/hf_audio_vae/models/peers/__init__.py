"""Published autoencoders of other classes, each behind an adapter around its original module."""

from hf_audio_vae.models.peers.cosmos3_audio import Cosmos3AudioVAE
from hf_audio_vae.models.peers.higgs_audio_v2_tokenizer import HiggsCodec
from hf_audio_vae.models.peers.kvae_audio import KVAEAudioVAE
from hf_audio_vae.models.peers.longcat_audio_dit_vae import LongCatVAE
from hf_audio_vae.models.peers.mimi import MimiCodec
from hf_audio_vae.models.peers.minimax_h3_audio import MiniMaxH3AudioVAE
from hf_audio_vae.models.peers.neucodec import NeuCodec
from hf_audio_vae.models.peers.peer import PeerAutoencoder
from hf_audio_vae.models.peers.pocket_tts import PocketTTSVAE
from hf_audio_vae.models.peers.same import SAMEVAE
from hf_audio_vae.models.peers.vibevoice import VibeVoiceVAE
from hf_audio_vae.models.peers.xcodec import XcodecCodec
from hf_audio_vae.models.peers.xcodec2 import Xcodec2Codec

CLASSES: tuple[type[PeerAutoencoder], ...] = (
    Cosmos3AudioVAE,
    HiggsCodec,
    KVAEAudioVAE,
    LongCatVAE,
    MimiCodec,
    MiniMaxH3AudioVAE,
    NeuCodec,
    PocketTTSVAE,
    SAMEVAE,
    VibeVoiceVAE,
    Xcodec2Codec,
    XcodecCodec,
)
PEERS: dict[str, type[PeerAutoencoder]] = {peer.family_name(): peer for peer in CLASSES}
