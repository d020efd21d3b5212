"""Autoencoders beside each other and beside Opus, MP3 and Vorbis."""
