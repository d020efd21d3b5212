"""Comparison of autoencoders with each other and with Opus, MP3 and Vorbis."""
