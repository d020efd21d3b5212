"""The list of planted faults: boundaries, scales, rates, seeds, axes and rounding."""

from tests.mutants.fault import Fault

LOSSES = (
    Fault("losses/complex_spectral.py", "** (self.exponent - 1)", "** self.exponent"),
    Fault(
        "losses/complex_spectral.py", "window_length ** (-self.exponent / 2)", "window_length ** (self.exponent / 2)"
    ),
    Fault("losses/complex_spectral.py", "spectra.narrow(dim, 0, length).conj()", "spectra.narrow(dim, 0, length)"),
    Fault("losses/stereo.py", "right.conj()", "right", "losses/test_complex_spectral.py"),
    Fault("losses/stereo.py", "(powers[0] * powers[1])", "(powers[0] + powers[1])", "losses/test_complex_spectral.py"),
    Fault(
        "losses/kl.py", "self.weight * min(step / self.steps, 1.0)", "self.weight * min((step + 1) / self.steps, 1.0)"
    ),
    Fault("losses/kl.py", "math.cos(math.pi * min(", "math.cos(math.pi / 2 * min("),
    Fault(
        "losses/kl.py", "position = step % self.steps / self.steps", "position = (step + 1) % self.steps / self.steps"
    ),
    Fault("losses/kl.py", "if not 0 < self.ramp <= 1:", "if not 0 <= self.ramp <= 1:"),
    Fault("losses/kl.py", "if steps < 1:", "if steps < 0:"),
    Fault("losses/kl_control.py", "> self.bits * NATS_A_BIT", "> self.bits"),
    Fault("losses/kl_control.py", "> self.bits * NATS_A_BIT", ">= self.bits * NATS_A_BIT"),
    Fault("losses/kl_control.py", "sum(self.mean) >= capacity", "sum(self.mean) > capacity"),
    Fault("losses/kl_control.py", "min(step / self.steps, 1.0)", "min(step / self.steps, 2.0)"),
    Fault(
        "losses/kl_control.py",
        "return _bounded(math.log(rate / self.bits_per_second), MAX_LOG_ERROR)",
        "return math.log(rate / self.bits_per_second)",
    ),
    Fault("losses/kl_control.py", "/ NATS_A_BIT * self.frame_rate", "* self.frame_rate"),
    Fault(
        "losses/kl_control.py",
        "self.decay * old + (1 - self.decay) * new",
        "(1 - self.decay) * old + self.decay * new",
    ),
    Fault("losses/kl_control.py", "super().__init__(decay=0.0)", "super().__init__()"),
    Fault("losses/balancing.py", "len(waveform) * torch.linalg", "torch.linalg"),
    Fault("losses/balancing.py", "dim=(1, 2)).mean()", "dim=(1, 2)).max()"),
    Fault("losses/balancing.py", "self.norms[name] / (1 - self.decay**steps) if", "self.norms[name] if"),
    Fault("losses/balancing.py", "total_weight = sum(weights.values()) or 1.0", "total_weight = 1.0"),
    Fault("losses/diffusion.py", "(2 * t - 1) / (", "(t - 1) / ("),
    Fault("losses/diffusion.py", ".mean(dim=1)  # (batch, frames)", ".sum(dim=1)  # (batch, frames)"),
    Fault("losses/diffusion.py", "/ mask.sum(dim=1)", "/ mask.shape[1]"),
    Fault("losses/diffusion.py", "angle.cos() * noise - angle", "angle.cos() * noise + angle"),
    Fault("losses/adversarial.py", "(score <= boundary)", "(score < boundary)"),
    Fault("losses/adversarial.py", "boundary = 0.5", "boundary = 0.0"),
    Fault("losses/adversarial.py", "(y - x).abs().mean() for", "(y - x).abs().sum() for"),
    Fault("losses/spectral.py", ".sum(dim=0).mean()", ".mean(dim=0).mean()"),
    Fault("losses/spectral.py", "distance = distance + self._distance(ours.mid", "distance = self._distance(ours.mid"),
    Fault("losses/waveform.py", ".square().mean()", ".square().sum(dim=-1).mean()"),
    Fault("losses/weighting.py", "(term * factor).sum()", "(term * factor).mean()"),
)

PIPELINES = (
    Fault(
        "pipelines/arguments.py",
        "math.ceil(round(value * steps, 6))",
        "math.floor(round(value * steps, 6))",
        "pipelines/test_noise_levels.py",
    ),
    Fault(
        "pipelines/noise_levels.py",
        "share(strength, steps)) * self.scheduler.order",
        "share(strength, steps))",
        "pipelines/test_noise_levels.py",
    ),
    Fault(
        "pipelines/noise_levels.py",
        "return (1 - time) * latents + time * noise",
        "return latents + time * noise",
        "pipelines/test_audio_latent_diffusion.py::test_a_denoiser_that_knows_the_sound_leads_to_it_from_another_at_any_strength",
        "pipelines/test_audio_latent_diffusion.py::test_strength_is_how_far_a_sound_is_changed",
    ),
    Fault(
        "pipelines/noise_levels.py",
        "signal.sqrt()) * (2 / math.pi)",
        "signal.sqrt())",
        "pipelines/test_audio_latent_diffusion.py::test_a_denoiser_that_knows_the_sound_generates_it",
    ),
    Fault(
        "pipelines/time_ranges.py",
        "math.ceil(end * frame_rate - ROUNDING)",
        "math.floor(end * frame_rate)",
        "pipelines/test_time_ranges.py",
    ),
    Fault(
        "pipelines/time_ranges.py",
        "math.floor(start * frame_rate + ROUNDING)",
        "math.ceil(start * frame_rate)",
        "pipelines/test_time_ranges.py",
    ),
    Fault("pipelines/time_ranges.py", "end <= seconds + ROUNDING", "end < seconds", "pipelines/test_time_ranges.py"),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "<= self.max_seconds + sample / 2:",
        "< self.max_seconds:",
        "pipelines/test_audio_latent_diffusion.py::test_the_sound_is_as_long_as_asked_for",
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "duration = frames / self.vae.frame_rate  #",
        "duration = seconds  #",
        "pipelines/test_audio_latent_diffusion.py::test_a_duration_is_told_in_whole_frames_as_in_training",
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "return unconditional + guidance_scale",
        "return conditional + guidance_scale",
        "pipelines/test_audio_latent_diffusion.py::test_guidance_goes_along_the_line_from_without_to_with",
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "latents.repeat_interleave(batch // len(latents), dim=0)",
        "latents.repeat(batch // len(latents), 1, 1)",
        "pipelines/test_audio_latent_diffusion.py::test_variations_of_a_sound_follow_each_other",
    ),
    Fault(
        "pipelines/conditions.py",
        "[value for value in values for _ in range(times)]",
        "[value for _ in range(times) for value in values]",
        "pipelines/test_audio_latent_diffusion.py::test_waveforms_of_a_class_follow_each_other",
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "(1.0 if ranges else 0.7)",
        "0.7",
        "pipelines/test_audio_latent_diffusion.py::test_the_default_strength_changes_a_sound_in_part_and_a_mask_fully",
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "timesteps[step + 1] if step + 1 < len(timesteps) else None",
        "timestep",
        "pipelines/test_audio_latent_diffusion.py::test_what_no_mask_touches_stays_and_the_rest_is_new",
    ),
    Fault(
        "pipelines/token_generation.py",
        "if num_frames <= codes.shape[2]:",
        "if num_frames < codes.shape[2]:",
        "pipelines/test_token_generation.py::test_what_cannot_be_written_is_refused",
    ),
    Fault(
        "pipelines/token_generation.py",
        "codes.shape[2] - overlap, num_frames - window_frames)",
        "codes.shape[2] - overlap, num_frames)",
        "pipelines/test_token_generation.py::test_codes_of_any_length_and_what_is_known_stays",
    ),
    Fault(
        "pipelines/token_generation.py",
        "return dict(vars(self)) if",
        'return {"do_sample": True, "temperature": self.temperature} if',
        "pipelines/test_token_generation.py::test_each_setting_can_leave_the_likeliest_code_alone",
    ),
    Fault(
        "pipelines/token_generation.py",
        "fork_rng(enabled=generator is not None)",
        "fork_rng(enabled=False)",
        "pipelines/test_token_generation.py::test_a_seed_is_a_sound_and_torchs_own_state_is_left_alone",
    ),
    Fault(
        "pipelines/token_generation.py",
        'if not 0 < finite("top_p", self.top_p) <= 1:',
        'if not 0 <= finite("top_p", self.top_p) <= 1:',
        "pipelines/test_token_generation.py::test_nothing_can_be_drawn_by_such_settings",
    ),
    Fault(
        "pipelines/token_generation.py",
        "upsample_codes(prior, codes[0],",
        "upsample_codes(prior, codes[-1],",
        "pipelines/test_token_generation.py::test_a_hierarchy_is_written_from_the_coarsest_level_down",
    ),
    Fault(
        "pipelines/token_generation.py",
        "// per_fine - window // 2, 0)",
        "// per_fine, 0)",
        "pipelines/test_token_generation.py::test_a_window_of_a_finer_level_begins_in_the_middle_of_the_one_before",
    ),
)

DATA = (
    Fault(
        "data/streaming.py",
        "shard_index = self.rank * num_workers + reader if",
        "shard_index = self.rank if",
        "data/test_streaming.py::test_seeds_differ_between_readers_of_different_shards",
    ),
    Fault(
        "data/streaming.py",
        "[self.seed, position.epoch, shard_index, position.index]",
        "[self.seed, shard_index, position.index]",
        "data/test_streaming.py::test_seeds_differ_between_crops_epochs_and_readers",
    ),
    Fault(
        "data/streaming.py",
        "self.bad_items > self.max_bad_share",
        "self.bad_items >= self.max_bad_share",
        "data/test_streaming.py::test_a_share_of_bad_items_exactly_at_the_limit_goes_on_and_one_more_ends_the_run",
    ),
    Fault(
        "data/streaming.py",
        "self.items >= MIN_ITEMS_TO_JUDGE",
        "self.items > MIN_ITEMS_TO_JUDGE",
        "data/test_streaming.py::test_a_share_of_bad_items_exactly_at_the_limit_goes_on_and_one_more_ends_the_run",
    ),
    Fault(
        "data/stream_loader.py",
        "self.batches % self._readers",
        "0",
        "data/test_streaming.py::test_resume_continues_at_the_next_batch",
    ),
    Fault(
        "data/streaming.py",
        "(epoch, index) > (start.epoch, start.index)",
        "(epoch, index) >= (start.epoch, start.index)",
        "data/test_streaming.py::test_resume_continues_at_the_next_batch",
    ),
    Fault(
        "data/streaming.py",
        "SeedSequence([self.seed, epoch])",
        "SeedSequence([self.seed])",
        "data/test_streaming.py::test_one_process_sees_each_item_once_in_every_epoch",
    ),
    Fault(
        "data/streaming.py",
        "local_index // self.batch_size % num_workers",
        "local_index % num_workers",
        "data/test_streaming.py::test_batches_do_not_depend_on_workers",
    ),
    Fault(
        "data/crops.py",
        "self.waveform.shape[0] * self.waveform.shape[-1]",
        "self.waveform.shape[-1]",
        "data/test_streaming.py::test_the_seconds_of_a_batch_are_those_of_all_of_its_crops",
    ),
    Fault(
        "data/clips.py",
        "integers(surplus + 1)",
        "integers(surplus)",
        "data/test_clips.py::test_every_start_that_fits_is_drawn",
    ),
    Fault(
        "data/clips.py",
        "min(longest, ",
        "min(round(max_seconds * reader.sampling_rate), ",
        "data/test_clips.py::test_whole_clips_are_the_start_of_every_item",
    ),
    Fault(
        "data/clips.py",
        "(0, crop_length - crop.shape[-1])",
        "(crop_length - crop.shape[-1], 0)",
        "data/test_clips.py::test_short_file_is_continued_with_silence",
    ),
    Fault(
        "data/latents.py",
        "integers(surplus + 1)",
        "integers(surplus)",
        "data/test_latents.py::test_every_start_that_fits_is_drawn",
    ),
    Fault(
        "data/latents.py",
        "self.mask.sum(dim=1) / self.frame_rate",
        "self.mask.shape[1] / self.frame_rate * self.mask[:, 0]",
        "data/test_latents.py::test_a_batch_is_as_long_as_its_longest_item",
    ),
    Fault(
        "data/latents.py",
        "sum(self.lengths) / self.frame_rate",
        "max(self.lengths) / self.frame_rate",
        "data/test_latents.py::test_a_batch_is_as_long_as_its_longest_item",
    ),
    Fault(
        "data/codes.py",
        "integers(surplus + 1)",
        "integers(surplus)",
        "data/test_codes.py::test_a_sequence_is_a_stretch_of_its_row_that_ends_where_the_row_does",
    ),
    Fault(
        "data/codes.py",
        "seconds=sum(crop.units for crop in crops)",
        "seconds=len(crops) * crops[0].units",
        "data/test_codes.py::test_a_batch_is_padded_and_counts_its_sound",
    ),
    Fault(
        "data/codes.py",
        "ended=stop == total and bool",
        "ended=bool",
        "data/test_codes.py::test_a_sequence_is_a_stretch_of_its_row_that_ends_where_the_row_does",
    ),
    Fault(
        "data/code_records.py",
        "offset : offset + len(self.codebook_sizes[level])",
        "offset:",
        "data/test_codes.py::test_a_record_of_codes_comes_back_as_it_was_and_knows_its_levels",
    ),
    Fault("data/encoding_records.py", "- self.outcomes - location", "- self.outcomes", "data/test_latent_records.py"),
    Fault("data/corpus.py", "for key in keys) / 3600", "for key in keys) / 60", "data/test_corpus.py"),
)

COMMANDS = (
    Fault("comparison/picture.py", "if is_anchor(system) else", 'if "@" in system else'),
    Fault("comparison/picture.py", "text.set_parse_math(False)", "text.set_parse_math(True)"),
    Fault(
        "evaluation/embeddings/log_mel.py",
        ".any(dim=1).all()",
        ".any(dim=1).any()",
        "evaluation/embeddings/test_embeddings.py",
    ),
    Fault("files/writing.py", "(path.is_file() or path.is_dir())", "path.exists()"),
    Fault("tokens/storage.py", "if Path(name).exists():", "if Path(name).is_dir():", "tokens/test_tokens.py"),
    Fault("cli/outputs.py", "targets.count(target) > 1", "targets.count(target) > 2", "cli/test_arithmetic.py"),
    Fault(
        "cli/outputs.py",
        "if path.resolve() in {source.resolve() for source in inputs}:",
        "if path in inputs[:1]:",
        "cli/test_arithmetic.py",
    ),
    Fault("cli/arithmetic.py", "unlabelled += 1", "unlabelled += 0"),
    Fault("cli/morph.py", "round(sum(weight * sound.padding ", "round(sum(sound.padding "),
    Fault(
        "cli/latent_sounds.py", "kept = block[0, :, :num_samples].cpu()", "kept = block[0].cpu()", "cli/test_morph.py"
    ),
    Fault("cli/arithmetic.py", "latents[chosen], latents[~chosen]", "latents[~chosen], latents[chosen]"),
    Fault("cli/statistics.py", "== HELD_OUT_PART - 1", "== 0"),
    Fault("comparison/doctor/model_checks.py", "right > count / 2", "right > 0", "cli/test_doctor.py"),
    Fault(
        "cli/generate.py",
        "write_audio(target, audio, rate)",
        "write_audio(target, audio, 44100)",
        "cli/test_figures.py::test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class",
    ),
    Fault(
        "cli/generate.py",
        'for label in arguments.class_label or ["generated"] for _ in range(arguments.num_waveforms)',
        'for _ in range(arguments.num_waveforms) for label in arguments.class_label or ["generated"]',
        "cli/test_figures.py::test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class",
    ),
    Fault(
        "cli/generate.py",
        "{audio.shape[-1] / rate:.3f} s",
        "{audio.shape[-1] / 44100:.3f} s",
        "cli/test_figures.py::test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class",
    ),
    Fault(
        "cli/generate.py",
        "manual_seed(arguments.seed)",
        "manual_seed(0)",
        "cli/test_figures.py::test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class",
    ),
    Fault(
        "cli/generate.py",
        'shown.setdefault(f"generated: {printable(name)}", audio)',
        'shown[f"generated: {printable(name)}"] = audio',
        "cli/test_figures.py::test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class",
    ),
    Fault(
        "cli/decode.py",
        "infos[path].num_samples, infos[path].sampling_rate)",
        "infos[path].num_samples, 44100)",
        "cli/test_figures.py::test_decode_prints_the_length_of_the_sound",
    ),
    Fault(
        "cli/decode.py",
        "[0, :, :left]",
        "[0]",
        "cli/test_figures.py::test_decode_prints_the_length_of_the_sound",
    ),
    Fault(
        "cli/decode.py",
        "{info.num_samples / info.sampling_rate:.3f} s",
        "{info.num_samples / info.hop_length:.3f} s",
        "cli/test_figures.py::test_decode_prints_the_length_of_the_sound",
    ),
    Fault(
        "cli/reconstruct.py",
        "_checked(path, clock), time_samples, rate)",
        "_checked(path, clock), time_samples, 44100)",
        "cli/test_figures.py::test_reconstruct_writes_both_files_at_the_rate_of_the_model",
    ),
    Fault(
        "cli/reconstruct.py",
        "original, blocks, time_samples, rate)",
        "original, blocks, time_samples, 44100)",
        "cli/test_figures.py::test_reconstruct_writes_both_files_at_the_rate_of_the_model",
    ),
    Fault(
        "cli/reconstruct.py",
        "time_samples / rate / clock.seconds",
        "clock.seconds * rate / time_samples",
        "cli/test_figures.py::test_reconstruct_writes_both_files_at_the_rate_of_the_model",
    ),
    Fault(
        "cli/encode.py",
        "num_samples=sound.num_samples",
        "num_samples=sound.num_samples * model.config.audio_channels",
        "cli/test_figures.py::test_stereo_is_decoded_to_its_own_length",
    ),
    Fault(
        "comparison/speed.py",
        "length / median(found)",
        "median(found) / length",
        "cli/test_file_sounds.py::test_evaluate_prints_the_seconds_it_measured_and_the_speed",
    ),
    Fault(
        "comparison/results.py",
        "sum(item.seconds for item in self.items)",
        "max(item.seconds for item in self.items)",
        "comparison/test_run.py",
    ),
    Fault(
        "comparison/results.py",
        "self._embedded(REFERENCE, embedding))",
        "self._embedded(name, embedding))",
        "comparison/test_run.py",
    ),
    Fault("comparison/systems.py", "if rate >= sampling_rate", "if rate > 0"),
    Fault("comparison/systems.py", "numbers = model.latent_channels * model.frame_rate", "numbers = model.frame_rate"),
    Fault("comparison/run.py", "kept.get(name) != wanted[name]", "name not in kept"),
    Fault(
        "cli/card.py",
        "(read_json(arguments.results), fingerprint)",
        "(read_json(arguments.results), read_json(arguments.results)['settings']['systems']['vae'])",
    ),
    Fault("cli/card.py", "if sample.weights == fingerprint]", "]"),
    Fault("cli/card.py", "if card is None and os.path.lexists", "if card is None and os.path.exists"),
    Fault("cli/card.py", "if name not in linked and os.path", "if os.path"),
    Fault("cli/card.py", "(folder / name).unlink(missing_ok=True)", "pass"),
    Fault("cli/card.py", "origin_of(earlier) if earlier else Origin()", "Origin()"),
    Fault("cli/card.py", "samples = written or kept", "samples = written"),
    Fault("cli/card.py", "read_json(folder / name)[-1]", "read_json(folder / name)[0]"),
    Fault(
        "cli/inspect.py",
        "{items} items, {sum(seconds):.1f} s",
        "{items} items, {max(seconds):.1f} s",
        "cli/test_figures.py::test_evaluate_and_inspect_count_the_seconds_of_all_items",
    ),
    Fault(
        "cli/stream.py",
        "[name, 1e3 * streaming.latency.seconds",
        "[name, streaming.latency.seconds",
        "cli/test_stream.py::test_stream_writes_the_reconstruction_and_the_latency",
    ),
    Fault(
        "cli/stream.py",
        "_checked(path, blocks, time), time, model.sampling_rate)",
        "_checked(path, blocks, time), time, 44100)",
        "cli/test_stream.py::test_stream_writes_the_reconstruction_and_the_latency",
    ),
    Fault(
        "cli/stream.py",
        "time / sampling_rate / sum(played.seconds)",
        "sum(played.seconds) * sampling_rate / time",
        "cli/test_stream.py::test_the_delay_has_all_that_a_sample_waits_for",
    ),
    Fault(
        "cli/code_sounds.py",
        "return audios, autoencoder.sampling_rate",
        "return audios, 44100",
        "cli/test_figures.py::test_sounds_of_codes_have_the_rate_and_the_length_that_is_printed",
    ),
    Fault(
        "pipelines/code_sounds.py",
        "frames = math.ceil(",
        "frames = math.floor(",
        "cli/test_figures.py::test_sounds_of_codes_have_the_rate_and_the_length_that_is_printed",
    ),
    Fault(
        "pipelines/code_sounds.py",
        "audio_values[..., :time]",
        "audio_values",
        "cli/test_figures.py::test_sounds_of_codes_have_the_rate_and_the_length_that_is_printed",
    ),
    Fault(
        "cli/convert.py",
        "model.parameters()) / 1e6",
        "model.parameters()) / 1e3",
        "cli/test_convert.py::test_every_format_becomes_every_other_with_equal_weights",
    ),
)

AUDIO = (
    Fault("audio/completeness.py", "_ends(page) or end == size", "_ends(page) or end <= size"),
    Fault(
        "audio/stated_lengths.py",
        "return 42 + 2 * count",
        "return 42 + count",
        "audio/test_completeness.py::test_a_rarer_format_is_whole_or_refused",
    ),
    Fault(
        "audio/unset_lengths.py",
        "and not _has_resource_fork(Path(stream.name))",
        "",
        "audio/test_io.py::test_a_file_of_attributes_of_macos_changes_nothing",
    ),
    Fault("audio/distance.py", "math.sqrt(target[0].numel())", "math.sqrt(target.numel())"),
    Fault("audio/distance.py", "(estimate.log() - target.log())", "(estimate.log10() - target.log10())"),
    Fault(
        "audio/framing.py",
        "(time + hop_length - 1) // hop_length",
        "time // hop_length + 1",
        "runtime/test_chunking.py",
    ),
    Fault("audio/resampling.py", "max(start // step - margin, 0)", "max(start // step, 0)"),
    Fault(
        "audio/resampling.py",
        "waveform.mean(dim=0, keepdim=True)",
        "waveform.sum(dim=0, keepdim=True)",
        "audio/test_resampling.py::test_mono_from_many_is_the_mean",
    ),
    Fault(
        "audio/resampling.py",
        "reader.num_samples * sampling_rate // reader.sampling_rate",
        "-(-reader.num_samples * sampling_rate // reader.sampling_rate)",
        "audio/test_resampling.py",
        "data/test_clips.py::test_a_bad_item_of_a_validation_set_is_named",
    ),
    Fault(
        "audio/io.py",
        '"FLOAT" if wav',
        '"PCM_16" if wav',
        "audio/test_io.py::test_wav_keeps_every_bit_beyond_full_scale_too",
    ),
    Fault("audio/spectrogram.py", "window.sum() / 2", "window.sum()"),
    Fault("audio/spectrogram.py", "torch.tensor(1000.0,", "torch.tensor(100.0,"),
    Fault("audio/spectra.py", "(left + right, left - right)", "((left + right) / 2, left - right)"),
)

MODELS = (
    Fault(
        "models/padding.py",
        "output[items, :, : count * rate_out] = coded",
        "output[: len(items), :, : count * rate_out] = coded",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::TestWaveformVQVAELikeDac::test_an_item_in_a_padded_batch_is_what_it_is_alone",
    ),
    Fault(
        "models/padding.py",
        "waveform.masked_fill(~valid[:, None], 0)",
        "waveform",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::TestWaveformVQVAELikeDac::test_an_item_in_a_padded_batch_is_what_it_is_alone",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::TestWaveformVQVAELikeDac::test_padding_is_in_no_loss",
    ),
    Fault(
        "models/normalization.py",
        "return latents * std + mean",
        "return (latents + mean) * std",
        "models/waveform_vae/test_modeling_waveform_vae.py::TestWaveformVAE::test_latents_are_normalised_by_channel_and_back",
    ),
    Fault(
        "models/normalization.py",
        "if min(latents_std) <= 0:",
        "if min(latents_std) < 0:",
        "models/waveform_vae/test_modeling_waveform_vae.py::TestWaveformVAE::test_statistics_that_do_not_fit_are_refused",
    ),
    Fault(
        "models/variational.py",
        "posterior.kl().sum(dim=1).mean()}",
        "posterior.kl().mean()}",
        "models/waveform_vae/test_modeling_waveform_vae.py::TestWaveformVAE::test_forward_is_encode_then_decode",
        "models/waveform_vae/test_modeling_waveform_vae.py::TestWaveformVAE::test_kl_of_the_posterior_matches_torch_distributions",
    ),
    Fault(
        "models/loudness.py",
        "/ valid.sum(dim=1, keepdim=True)",
        "/ valid.shape[1]",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::test_the_loudness_of_padding_does_not_count",
    ),
    Fault(
        "models/codec.py",
        "math.log2(size) for",
        "math.log(size) for",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::TestWaveformVQVAELikeDac::test_the_bitrate_is_that_of_all_codebooks",
    ),
    Fault(
        "models/codec.py",
        "valid[:, :: self.hop_length]",
        "valid[:, self.hop_length - 1 :: self.hop_length]",
        "models/waveform_vqvae/test_modeling_waveform_vqvae.py::TestWaveformVQVAELikeDac::test_an_item_in_a_padded_batch_is_what_it_is_alone",
    ),
    Fault(
        "models/hierarchical_vqvae/levels.py",
        "config.dilation_growth ** (unit % cycle)",
        "config.dilation_growth**unit",
        "models/hierarchical_vqvae/test_configuration_hierarchical_vqvae.py",
        "models/hierarchical_vqvae/test_convert_jukebox.py",
    ),
    Fault(
        "models/latent_conditioner/modeling_latent_conditioner.py",
        "total = total + embedded * has_class[:, None]",
        "total = total + embedded",
    ),
    Fault("models/registry.py", "list(value) if isinstance(value, tuple) else value", "value"),
    Fault(
        "models/fingerprint.py", "{name} {tensor.dtype} {tuple(tensor.shape)}", "{tensor.dtype} {tuple(tensor.shape)}"
    ),
)

MODULES = (
    Fault("modules/short_time.py", "** (self.exponent - 1)", "** self.exponent"),
    Fault("modules/short_time.py", "left=(window_length - hop_length) // 2", "left=window_length // 2"),
    Fault("modules/short_time.py", "** (1 / self.exponent - 1)", "** (1 / self.exponent)"),
    Fault("modules/short_time.py", "(0, 0, delay, last - delay)", "(0, 0, last - delay, delay)"),
    Fault("modules/short_time.py", "(start + left - reach) // hop + 1", "(start + left - reach) // hop + 2"),
    Fault("modules/convnext.py", "groups=self.groups).squeeze(2)", "groups=self.groups).squeeze(2).roll(1, -1)"),
    Fault("modules/distributions.py", "return 0.5 * (mean.square()", "return (mean.square()"),
    Fault(
        "modules/distributions.py",
        "dtype = torch.promote_types(self.mean.dtype, torch.float32)",
        "dtype = self.mean.dtype",
    ),
    Fault(
        "modules/alignment.py",
        "left = padding if causal else math.ceil(padding / 2)",
        "left = padding if causal else padding // 2",
        "modules/test_convolution.py",
    ),
    Fault(
        "modules/alignment.py",
        "- self.left + self.reach\n        if",
        "- self.left + self.reach - 1\n        if",
        "modules/test_convolution.py::test_input_span_of_a_convolution_is_exact",
    ),
    Fault(
        "modules/quantization/codebook.py", "self.counts < share * average", "self.counts < share * self.counts.sum()"
    ),
    Fault(
        "modules/quantization/codebook.py",
        "self.counts.lerp_(counts, 1 - self.decay)",
        "self.counts.lerp_(counts, self.decay)",
    ),
    Fault("modules/quantization/finite_scalar.py", "(levels % 2 == 0)", "(levels % 2 == 1)"),
    Fault("modules/quantization/gradients.py", "scale * rotated", "rotated"),
    Fault("modules/quantization/residual.py", "depths > q", "depths >= q", "modules/quantization/test_quantizers.py"),
    Fault(
        "modules/quantization/residual.py",
        "1 + int(depth * count)",
        "int(depth * count)",
        "modules/quantization/test_quantizers.py",
    ),
    Fault("modules/quantization/search.py", ".sum(dim=1) / 2", ".sum(dim=1)"),
    Fault("modules/quantization/quantizer.py", "/ mask.sum().clamp_min(1)", "/ mask.numel()"),
    Fault(
        "modules/snake.py",
        "grad_b = 2 * a * b",
        "grad_b = a * b",
        "modules/test_snake.py::test_value_and_gradients_equal_those_of_the_formula",
    ),
)

EVALUATION = (
    Fault(
        "evaluation/linearity.py", "_error_db(answer, transformation.waveform(decoded))", "_error_db(answer, decoded)"
    ),
    Fault("evaluation/disentanglement.py", "(information[0] - information[1])", "information[0]"),
    Fault("evaluation/disentanglement.py", "importance.sum(axis=0) / importance.sum()", "1 / importance.shape[1]"),
    Fault("evaluation/latents.py", "self.mean_variance >= ACTIVE_VARIANCE", "self.mean_variance > ACTIVE_VARIANCE"),
    Fault("evaluation/latents.py", "self.kl_nats / math.log(2)", "self.kl_nats"),
    Fault("evaluation/latents.py", "fourth + 6 * mixed", "fourth + 3 * mixed"),
    Fault(
        "evaluation/latents.py", "if count >= min_active_share * channels:", "if count > min_active_share * channels:"
    ),
    Fault("evaluation/codes.py", "statistics.usage < required", "statistics.usage <= required"),
    Fault("evaluation/codes.py", "(counts > 0).sum()", "(counts > 1).sum()"),
    Fault("evaluation/health.py", "self.statistics.frames.max()", "self.statistics.frames.min()"),
    Fault("evaluation/metrics.py", "10 ** (-floor_db / 10)", "10 ** (-floor_db / 20)"),
    Fault("evaluation/metrics.py", "sum(column) / len(column)", "sum(column) / max(len(column) - 1, 1)"),
    Fault("evaluation/intervals.py", "0.5 + CONFIDENCE / 2", "CONFIDENCE"),
    Fault("evaluation/intervals.py", "(sign * found.mean > 0) == higher_is_better", "(sign * found.mean > 0)"),
    Fault("evaluation/lossy.py", "low, high = (middle, high)", "low, high = (low, middle)"),
    Fault("evaluation/lossy.py", "(len(whole) - len(headers))", "len(whole)"),
    Fault("evaluation/card_metadata.py", 'COMMIT.fullmatch(material.revision or "")', "material.revision"),
    Fault("evaluation/card_metadata.py", "or Path(name).expanduser().exists()", ""),
    Fault(
        "evaluation/card_metadata.py", "if math.isfinite(self.values.get(name, math.nan))", "if name in self.values"
    ),
    Fault("evaluation/card_metadata.py", "and CARD_TAG in tags", "", "evaluation/test_cards.py"),
    Fault("evaluation/cards.py", "[labels[name], values[name], f", "[labels[name], values[names[0]], f"),
    Fault("evaluation/cards.py", "if len(figures.systems) < 2:", "if len(figures.systems) < 3:"),
    Fault(
        "evaluation/cards.py",
        "for name, m in RECONSTRUCTION_METRICS.items() if name in values",
        "for m in [*RECONSTRUCTION_METRICS.values()]",
    ),
    Fault("evaluation/cards.py", "16 * samples / model.bits_per_second", "samples / model.bits_per_second"),
    Fault(
        "evaluation/plots.py",
        "0.0, rate / 2000)",
        "0.0, rate / 1000)",
        "evaluation/test_plots.py::test_the_axes_are_seconds_and_kilohertz",
    ),
)

TRAINING = (
    Fault("training/ema.py", "decay = min(self.decay", "decay = max(self.decay"),
    Fault(
        "training/loop.py",
        "initial=progress.step",
        "initial=0",
        "training/test_loop.py::test_the_bar_of_a_resumed_run_begins_at_its_step",
    ),
    Fault(
        "training/loop.py",
        "            return False, flags\n        learner.lr",
        "            pass\n        learner.lr",
        "training/test_skipped_steps.py::test_a_step_that_the_gradient_scaler_skips_moves_nothing_and_is_said",
    ),
    Fault(
        "training/loop.py",
        "values in batches]).mean(dim=0)",
        "values in batches]).sum(dim=0)",
        "training/test_loop.py::test_a_control_gets_the_mean_of_the_batches_of_a_step",
    ),
    Fault(
        "training/loop.py",
        "self._seconds += seconds",
        "self._seconds = seconds",
        "training/test_loop.py::test_the_speed_counts_the_seconds_of_all_crops",
    ),
    Fault(
        "training/loop.py",
        "progress.skipped_in_a_row >= limit",
        "progress.skipped_in_a_row > limit",
        "training/test_skipped_steps.py::test_too_many_in_a_row_end_the_run_with_a_usable_checkpoint",
    ),
    Fault(
        "training/loop.py",
        "time.monotonic() + 60 *",
        "time.monotonic() + 1 *",
        "training/test_loop.py::test_minutes_have_sixty_seconds",
    ),
    Fault("training/learner.py", "= clipped * nn.utils", "= nn.utils"),
    Fault(
        "training/autoencoder/objective.py",
        "step >= self.decoder_only_from_step",
        "step > self.decoder_only_from_step",
    ),
    Fault(
        "training/autoencoder/objective.py",
        "passed = step - self.start_step - self.warmup_discriminator_steps",
        "passed = step",
    ),
    Fault(
        "training/autoencoder/objective.py",
        "return step >= self.start_step",
        "return step > self.start_step",
    ),
    Fault(
        "training/autoencoder/steps.py",
        "manual_seed(seed) for seed in batch.seeds",
        "manual_seed(batch.seeds[0]) for seed in batch.seeds",
        "training/autoencoder/test_steps.py::test_the_noise_of_a_crop_is_its_own",
    ),
    Fault(
        "training/latent_diffusion/objective.py",
        "drops < condition_dropout",
        "drops > condition_dropout",
        "training/latent_diffusion/test_diffusion.py::test_the_share_of_dropped_conditions_is_the_one_asked_for",
    ),
    Fault(
        "training/token_prior/objective.py",
        "torch.float64) + 0.5",
        "torch.float64) + 1.0",
        "training/token_prior/test_token_prior.py::test_the_memoryless_guess_is_the_entropy_of_each_codebook",
    ),
    Fault(
        "training/token_prior/objective.py",
        "math.log(2) * task.codes_per_second",
        "math.log(2) * task.frame_rates[-1]",
        "training/token_prior/test_token_prior.py::test_a_uniform_model_is_measured_at_the_logarithm_of_its_vocabulary",
    ),
    Fault(
        "training/encoding/tallies.py",
        "self.items += other.items",
        "self.items = other.items",
        "training/encoding/test_code_encoding.py::test_rows_are_the_codes_of_their_items_and_counted",
    ),
    Fault(
        "training/encoding/dataset.py",
        "start + count >= time",
        "start + count > time",
        "training/encoding/test_code_encoding.py::test_only_the_last_row_of_an_item_says_so",
    ),
)

LATENT_FILES = (
    Fault("latents/moments.py", "(self._squares / self.frames).sqrt()", "(self._squares / (self.frames - 1)).sqrt()"),
    Fault("latents/moments.py", "(self.frames / total * frames)", "(frames / total)"),
    Fault("latents/transformations.py", "torch.lerp(z[..., 1:], z[..., :-1]", "torch.lerp(z[..., :-1], z[..., 1:]"),
    Fault("latents/transformations.py", "(self.hop_length - self.samples)", "self.samples"),
    Fault("latents/attributes.py", "direction / direction.square().sum()", "direction / direction.norm()"),
    Fault("latents/attributes.py", "rest = direction - basis @", "rest = direction + basis @"),
    Fault("latents/moments.py", "/ reference.std\n", "/ self.std\n"),
    Fault(
        "latents/interpolation.py",
        "torch.where(weights == 0, first, torch.where(weights == 1, second, between))",
        "between",
    ),
    Fault("latents/interpolation.py", "angle = 2 * torch.atan2(", "angle = torch.atan2("),
    Fault("latents/interpolation.py", "turned * norm)", "turned * first_norm)"),
    Fault("latents/alignment.py", "* last / max(frames - 1, 1)", "* last / frames", "latents/test_alignment.py"),
    Fault("latents/alignment.py", "torch.cat([start.flip(-1), start]", "torch.cat([start, start]"),
    Fault("latents/warping.py", "[before[one_less], last[one_less], last[cells]]", "[last[one_less], last[cells]]"),
    Fault("latents/warping.py", "start = columns - 1 - k + low", "start = columns - 1 - k + low - 1"),
    Fault("latents/warping.py", "now[low] = now[high + 2] = np.inf", "now[high + 2] = np.inf"),
    Fault("latents/warping.py", "k * (rows - 1) / max(sums - 1, 1)", "k / 2"),
    Fault(
        "latents/warping.py",
        "(1 - weight) * path[0] + weight * path[1]",
        "weight * path[0] + (1 - weight) * path[1]",
        "latents/test_warping.py",
        "latents/test_morphing.py",
    ),
    Fault(
        "latents/warping.py",
        "(weights * path.diff()).sum(dim=0)",
        "path.diff().sum(dim=0)",
        "latents/test_morphing.py",
    ),
    Fault(
        "latents/morphing.py",
        "weights = (position[here] - leg).clamp(0, 1)",
        "weights = position[here] - position[here].floor()",
    ),
    Fault("latents/frame_moments.py", "d[:, None] * trail[:, None]", "d[:, None] * lead[:, None]"),
    Fault(
        "latents/autoregression.py",
        "covariances[i - j].T for j",
        "covariances[i - j] for j",
        "latents/test_samplers.py",
    ),
    Fault("latents/noise.py", "truncation * math.sqrt(channels)", "truncation", "latents/test_samplers.py"),
    Fault("latents/prior.py", "offsets, upper=False)", "offsets.abs(), upper=False)"),
    Fault("latents/storage.py", "max(codebook_sizes) <= 2**15", "max(codebook_sizes) <= 2**16"),
    Fault("latents/storage.py", '[f"codes_{level}" for level in range(len(tensors))]', "sorted(tensors)"),
)

TOKENS = (
    Fault(
        "tokens/constraint.py",
        "known.shape[-1] > num_frames",
        "known.shape[-1] >= num_frames",
        "tokens/test_constraint.py::test_all_frames_may_be_known_and_the_end_follows",
    ),
    Fault(
        "tokens/constraint.py",
        "(ids < high)",
        "(ids <= high)",
        "tokens/test_constraint.py::test_all_frames_may_be_known_and_the_end_follows",
    ),
    Fault(
        "tokens/constraint.py",
        "min(input_ids.shape[1] - self.start, self.bounds[0].shape[1] - 1)",
        "input_ids.shape[1] - self.start",
        "tokens/test_constraint.py::test_after_the_end_only_the_end_may_follow",
    ),
    Fault(
        "tokens/code_tokens.py",
        "return 2 * self.delay + 1",
        "return 2 * self.delay",
        "tokens/test_tokens.py",
        "pipelines/test_token_generation.py::test_what_cannot_be_written_is_refused",
    ),
    Fault(
        "tokens/code_tokens.py",
        "(max(int(others[0]), 1), False)",
        "(int(others[0]), False)",
        "tokens/test_tokens.py",
        "tokens/test_constraint.py",
    ),
    Fault("tokens/upsampling_tokens.py", "return 2 + coarse", "return 1 + coarse", "tokens/test_tokens.py"),
)

RUNTIME = (
    Fault(
        "runtime/streams.py",
        "determined + (alignment.left if last else 0)",
        "determined",
        "runtime/test_streaming.py::test_pieces_make_the_whole_whatever_they_are[STFTVAE]",
    ),
    Fault(
        "runtime/chunking.py",
        "return first // hop_length, frame_count(last, hop_length)",
        "return first // hop_length, last // hop_length",
        "runtime/test_chunking.py",
    ),
    Fault(
        "runtime/chunking.py",
        "first = min(max(input_span(start, stop)[0], 0), frames - width)",
        "first = max(input_span(start, stop)[0], 0)",
        "runtime/test_chunking.py",
    ),
    Fault(
        "runtime/chunking.py",
        "frame_count(frames, frame_count(frames, most))",
        "frame_count(frames, most)",
        "runtime/test_chunking.py",
    ),
    Fault(
        "runtime/streaming.py",
        "-self._pushed % self._pad_multiple",
        "self._pushed % self._pad_multiple",
        "runtime/test_streaming.py::test_pieces_make_the_whole_whatever_they_are",
    ),
    Fault(
        "runtime/streaming.py",
        "max(end * hop_length - t for",
        "max(end * hop_length - t - 1 for",
        "runtime/test_streaming.py::test_latency_of_published_sizes",
        "runtime/test_streaming.py::test_outputs_come_when_the_latency_says",
    ),
    Fault(
        "runtime/streams.py",
        "(self.cut_left if last else 0)",
        "0",
        "runtime/test_incremental.py::test_pieces_make_the_whole_whatever_they_are",
    ),
    Fault(
        "runtime/streams.py",
        "(x.shape[-1] - reach) // stride + 1",
        "(x.shape[-1] - reach) // stride",
        "runtime/test_incremental.py::test_pieces_make_the_whole_whatever_they_are",
    ),
    Fault(
        "runtime/native.py",
        "if status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS:",
        "if status.st_uid != os.getuid():",
        "runtime/test_native.py::test_a_folder_that_others_can_write_is_not_used",
    ),
    Fault(
        "runtime/native.py",
        "| os.O_NOFOLLOW",
        "| 0",
        "runtime/test_native.py::test_a_folder_that_is_a_link_is_not_used",
    ),
    Fault(
        "runtime/native.py",
        'path.stem == f"{key}-{_digest(path.read_bytes())}"',
        "path.stem.startswith(key)",
        "runtime/test_native.py::test_a_changed_library_is_not_loaded_but_compiled_again",
    ),
)

DISCRIMINATORS = (
    Fault(
        "discriminators/layers.py",
        "transpose(-1, -2) / norm",
        "transpose(-1, -2)",
        "discriminators/test_discriminators.py::test_white_noise_has_the_same_level_in_windows_of_any_length",
    ),
    Fault(
        "discriminators/multi_period.py",
        "-waveform.shape[-1] % period",
        "period - waveform.shape[-1] % period",
        "discriminators/test_discriminators.py::test_a_waveform_of_whole_periods_is_not_padded",
    ),
)

FILES = (
    Fault("files/writing.py", "        hidden.chmod(mode)  #", "        hidden.stat()  #"),
    Fault("files/writing.py", "os.replace(hidden, path)", "os.replace(hidden, path.resolve())"),
)

TOKEN_VAE = (
    Fault(
        "models/token_vae/conditioning.py",
        "return (args[0] + added, *args[1:]), kwargs",
        "return args, kwargs",
        "models/token_vae/test_modeling_token_vae.py::TestAnyPair::test_the_decoder_is_causal_and_reads_the_latents",
    ),
    Fault(
        "models/token_vae/modeling_token_vae.py",
        "torch.cat([start, position_ids + prefix], dim=1)",
        "torch.cat([start, position_ids], dim=1)",
        "models/token_vae/test_modeling_token_vae.py::TestAnyPair::test_generation_with_cache_equals_generation_without",
    ),
    Fault(
        "models/token_vae/modeling_token_vae.py",
        "nats + posterior.kl().sum(dim=(1, 2))",
        "nats + posterior.kl().mean(dim=(1, 2))",
        "models/token_vae/test_modeling_token_vae.py::test_loss_is_the_elbo_in_nats_a_token",
    ),
    Fault(
        "modules/pooling.py",
        "scores.float().masked_fill(~mask[:, None], torch.finfo(torch.float32).min)",
        "scores.float()",
        "models/token_vae/test_modeling_token_vae.py::TestAnyPair::test_an_item_does_not_depend_on_its_batch_or_padding",
    ),
    Fault(
        "losses/kl.py",
        "self.schedule(step - self.start_step)",
        "self.schedule(step)",
        "losses/test_kl.py::test_a_delayed_schedule_is_off_then_starts_from_its_start",
    ),
    Fault(
        "evaluation/mutual_information.py",
        "densities.logsumexp(dim=1) - math.log(count)",
        "densities.logsumexp(dim=1)",
        "evaluation/test_mutual_information.py::test_items_that_latents_tell_apart_have_all_the_information_there_is",
    ),
    Fault(
        "training/token_vae/objective.py",
        "dropped & (input_ids >= FIRST_CODE)",
        "dropped",
        "training/token_vae/test_token_vae.py::test_dropped_words_are_a_share_of_the_codes",
    ),
    Fault(
        "training/token_vae/objective.py",
        "latents[(index + 1) % len(batches)]",
        "latents[index]",
        "training/token_vae/test_token_vae.py::test_what_the_latents_tell_is_measured_in_nats",
    ),
    Fault(
        "tokens/scores.py",
        "rows | ~is_code[:, None]",
        "rows",
        "tokens/test_scores.py::test_the_end_and_the_first_code_are_free",
    ),
)
GENERATION = (
    Fault(
        "modules/autoregressive.py",
        "self._kept[index] = self._inputs",
        "self._kept[self._layers, (self._time + 1) % self._dilations] = self._inputs",
        "modules/test_autoregressive.py::test_cached_generation_equals_the_naive_one_in_all_sixteen_bits",
    ),
    Fault(
        "modules/frame_generation.py",
        "_uniform(shape, generator) for generator in self._generator",
        "_uniform(shape, self._generator[0]) for _ in self._generator",
        "modules/test_autoregressive.py::test_an_item_of_a_batch_equals_the_item_alone",
    ),
    Fault(
        "modules/autoregressive.py",
        "past = past.masked_fill(",
        "past.masked_fill(",
        "modules/test_autoregressive.py::test_hidden_frames_change_no_prediction",
    ),
    Fault(
        "modules/autoregressive.py",
        "past, hop, count = F.pad(past, (1, -1)), ",
        "past, hop, count = past, ",
        "modules/test_autoregressive.py::test_the_probabilities_of_all_values_of_a_sample_sum_to_one",
    ),
    Fault(
        "modules/autoregressive.py",
        "max(start - reach, 0)",
        "start",
        "modules/test_autoregressive.py::test_the_likelihood_of_pieces_is_that_of_the_whole",
    ),
    Fault(
        "modules/sample_distributions.py",
        "x <= HALF_BIN - 1",
        "x < -1",
        "modules/test_sample_distributions.py::test_the_probabilities_of_all_sixteen_bit_values_sum_to_one",
    ),
    Fault(
        "modules/sample_distributions.py",
        ".to(wide) / temperature).exp()",
        ".to(wide)).exp()",
        "modules/test_sample_distributions.py::test_classes_are_drawn_as_often_as_is_probable",
    ),
    Fault(
        "modules/sample_distributions.py",
        "mean + temperature * log_scale",
        "mean + log_scale",
        "modules/test_sample_distributions.py::test_draws_of_the_mixture_have_its_distribution",
    ),
    Fault(
        "models/wave_vae/modeling_wave_vae.py",
        "self._generate(latents, float(temperature)",
        "self._generate(latents, float(bool(temperature))",
        "models/wave_vae/test_modeling_wave_vae.py::TestWaveVAE::test_temperature_scales_the_spread_of_the_samples",
    ),
    Fault(
        "modules/sample_distributions.py",
        "gains[1] = torch.linspace(*FIRST_LOG_SCALES, self.num_components).exp()",
        "pass",
        "modules/test_autoregressive.py::test_quiet_sound_changes_a_new_network_as_much_as_loud_sound",
    ),
    Fault(
        "modules/autoregressive.py",
        "net.hidden, net.conv_out.folded())",
        "net.hidden, net.conv_out)",
        "modules/test_autoregressive.py::test_cached_generation_equals_the_naive_one_in_all_sixteen_bits",
    ),
    Fault(
        "models/wave_vae/modeling_wave_vae.py",
        "else (draft + generated).clamp(-1, 1)",
        "else draft + generated",
        "models/wave_vae/test_drafted_wave_vae.py::TestDraftedWaveVAE::"
        "test_the_sample_is_the_draft_and_what_the_wavenet_generates",
    ),
    Fault(
        "models/wave_vae/modeling_wave_vae.py",
        "else waveform - draft[..., : waveform.shape[-1]]",
        "else waveform + draft[..., : waveform.shape[-1]]",
        "models/wave_vae/test_drafted_wave_vae.py::TestDraftedWaveVAE::"
        "test_the_term_is_the_mean_likelihood_given_the_latents",
    ),
    Fault(
        "models/wave_vae/modeling_wave_vae.py",
        "[..., before * self.hop_length :]",
        "",
        "models/wave_vae/test_modeling_wave_vae.py::TestWaveVAE::"
        "test_the_likelihood_of_a_random_part_given_its_past_trains",
    ),
    Fault(
        "training/autoencoder/steps.py",
        "own | distances",
        "distances",
        "training/autoencoder/test_train_wave_vae.py::test_a_draft_has_losses_of_waveforms_beside_the_likelihood",
    ),
    Fault(
        "models/wave_vae/modeling_wave_vae.py",
        "bar.update(self.hop_length)",
        "bar.update(1)",
        "models/wave_vae/test_modeling_wave_vae.py::TestWaveVAE::"
        "test_the_progress_bar_counts_the_samples_that_a_streamer_gets",
    ),
    Fault(
        "runtime/wavenet.c",
        "(s.time + n) % dilations[layer]",
        "n % dilations[layer]",
        "modules/test_autoregressive.py::test_compiled_generation_equals_the_cached_one",
    ),
    Fault(
        "runtime/wavenet.c",
        "mean + *temperature * scale",
        "mean + scale",
        "modules/test_autoregressive.py::test_compiled_generation_equals_the_cached_one",
    ),
    Fault(
        "models/blocks.py",
        "_depends_on_all(model.encodings(), ",
        "_depends_on_all(model.decodings(), ",
        "models/test_blocks.py::test_what_is_decoded_as_a_whole_is_encoded_in_blocks",
    ),
)

MAPS = (
    Fault("latents/clip_vectors.py", "values.std(dim=-1, correction=0)", "values.std(dim=-1)"),
    Fault("latents/clip_vectors.py", "std <= CONSTANT * values.abs().amax(dim=0)", "std == 0"),
    Fault("latents/principal_axes.py", "singular.square() / len(values)", "singular / len(values)"),
    Fault("latents/principal_axes.py", "vectors.T.flip(0)", "vectors.flip(0)"),
    Fault("latents/principal_axes.py", "(1 - TIE) * magnitudes", "magnitudes"),
    Fault("latents/principal_axes.py", "self.variances[axis].sqrt() *", "self.variances[axis] *"),
    Fault("latents/neighbours.py", "distances[own - start, own]", "distances[own - start, own - start]"),
    Fault("latents/neighbours.py", "sort(dim=1, stable=True)", "sort(dim=1, descending=True)"),
    Fault("latents/neighbours.py", "donot_use_mm_for_euclid_dist", "use_mm_for_euclid_dist"),
    Fault("latents/projections.py", "axes.project(vectors)[:, :2]", "axes.project(vectors)[:, 1:3]"),
    Fault("evaluation/sound_maps/sound_map.py", "scaled = standardized(vectors)", "scaled = vectors.double()"),
    Fault("evaluation/sound_maps/sound_map.py", "count * (count - 1)", "count * count"),
    Fault("evaluation/sound_maps/previews.py", "if kept < waveform.shape[-1]:", "if True:"),
    Fault("evaluation/sound_maps/previews.py", "if rate >= sampling_rate", "if rate > sampling_rate"),
    Fault("evaluation/sound_maps/page.py", ".translate(UNSAFE)", ""),
    Fault("evaluation/sound_maps/page.py", "html.escape(title)", "title"),
    Fault("evaluation/sound_maps/figure.py", "text.set_parse_math(False)", "text.set_parse_math(True)"),
    Fault("cli/map.py", "if len(set(folders)) < 2:", "if len(set(folders)) < 3:"),
    Fault("cli/map.py", "if self._size > MAX_PAGE_BYTES:", "if False:"),
)

FAULTS = (
    *LOSSES,
    *PIPELINES,
    *DATA,
    *COMMANDS,
    *AUDIO,
    *MODELS,
    *MODULES,
    *EVALUATION,
    *TRAINING,
    *LATENT_FILES,
    *TOKENS,
    *TOKEN_VAE,
    *RUNTIME,
    *DISCRIMINATORS,
    *FILES,
    *GENERATION,
    *MAPS,
)
