"""The list of planted faults: boundaries, scales, rates, seeds, axes and rounding."""

from tests.mutants.fault import Fault

LOSSES = (
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

GENERATION = "pipelines/test_audio_latent_diffusion.py"
PIPELINES = (
    Fault("pipelines/noise_levels.py", "math.ceil(strength * steps)", "math.floor(strength * steps)", GENERATION),
    Fault("pipelines/noise_levels.py", "steps), 1)) * self.scheduler.order", "steps), 1))", GENERATION),
    Fault(
        "pipelines/noise_levels.py",
        "return (1 - time) * latents + time * noise",
        "return latents + time * noise",
        GENERATION,
    ),
    Fault("pipelines/noise_levels.py", "signal.sqrt()) * (2 / math.pi)", "signal.sqrt())", GENERATION),
    Fault(
        "pipelines/time_ranges.py",
        "math.ceil(end * frame_rate - ROUNDING)",
        "math.floor(end * frame_rate)",
        GENERATION,
    ),
    Fault(
        "pipelines/time_ranges.py",
        "math.floor(start * frame_rate + ROUNDING)",
        "math.ceil(start * frame_rate)",
        GENERATION,
    ),
    Fault("pipelines/time_ranges.py", "end <= seconds + ROUNDING", "end < seconds", GENERATION),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "<= self.max_seconds + sample / 2:",
        "< self.max_seconds:",
        GENERATION,
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "duration = frames / self.vae.frame_rate  #",
        "duration = seconds  #",
        GENERATION,
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "return unconditional + guidance_scale",
        "return conditional + guidance_scale",
        GENERATION,
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "latents.repeat_interleave(batch // len(latents), dim=0)",
        "latents.repeat(batch // len(latents), 1, 1)",
        GENERATION,
    ),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "[value for value in values for _ in range(times)]",
        "[value for _ in range(times) for value in values]",
        GENERATION,
    ),
    Fault("pipelines/pipeline_audio_latent_diffusion.py", "(1.0 if ranges else 0.7)", "0.7", GENERATION),
    Fault(
        "pipelines/pipeline_audio_latent_diffusion.py",
        "timesteps[step + 1] if step + 1 < len(timesteps) else None",
        "timestep",
        GENERATION,
    ),
    Fault("pipelines/token_generation.py", "if num_frames <= codes.shape[2]:", "if num_frames < codes.shape[2]:"),
    Fault(
        "pipelines/token_generation.py",
        "codes.shape[2] - overlap, num_frames - count)",
        "codes.shape[2] - overlap, num_frames)",
    ),
    Fault(
        "pipelines/token_generation.py",
        "return dict(vars(self)) if",
        'return {"do_sample": True, "temperature": self.temperature} if',
    ),
    Fault("pipelines/token_generation.py", "fork_rng(enabled=generator is not None)", "fork_rng(enabled=False)"),
    Fault("pipelines/token_generation.py", "if not 0 < self.top_p <= 1:", "if not 0 <= self.top_p <= 1:"),
    Fault("pipelines/token_generation.py", "upsample_codes(prior, codes[0],", "upsample_codes(prior, codes[-1],"),
    Fault("pipelines/token_generation.py", "// per_fine - window // 2, 0)", "// per_fine, 0)"),
)

STREAMING, CLIPS, LATENTS, CODES = (f"data/test_{name}.py" for name in ("streaming", "clips", "latents", "codes"))
DATA = (
    Fault("data/streaming.py", "shard_index = self.rank * num_workers + reader if", "shard_index = self.rank if"),
    Fault(
        "data/streaming.py",
        "[self.seed, position.epoch, shard_index, position.index]",
        "[self.seed, shard_index, position.index]",
    ),
    Fault("data/streaming.py", "self.bad_items > self.max_bad_share", "self.bad_items >= self.max_bad_share"),
    Fault("data/streaming.py", "self.items >= MIN_ITEMS_TO_JUDGE", "self.items > MIN_ITEMS_TO_JUDGE"),
    Fault("data/streaming.py", "self.batches % self._readers", "0"),
    Fault(
        "data/streaming.py",
        "(epoch, index) > (start.epoch, start.index)",
        "(epoch, index) >= (start.epoch, start.index)",
    ),
    Fault("data/streaming.py", "SeedSequence([self.seed, epoch])", "SeedSequence([self.seed])"),
    Fault("data/streaming.py", "local_index // self.batch_size % num_workers", "local_index % num_workers"),
    Fault(
        "data/crops.py",
        "self.waveform.shape[0] * self.waveform.shape[-1]",
        "self.waveform.shape[-1]",
        STREAMING,
        CLIPS,
    ),
    Fault("data/clips.py", "integers(surplus + 1)", "integers(surplus)"),
    Fault("data/clips.py", "min(round(max_seconds * sampling_rate)", "min(round(max_seconds * reader.sampling_rate)"),
    Fault("data/clips.py", "(0, crop_length - crop.shape[-1])", "(crop_length - crop.shape[-1], 0)"),
    Fault("data/latents.py", "integers(surplus + 1)", "integers(surplus)"),
    Fault("data/latents.py", "self.mask.sum(dim=1) / self.frame_rate", "self.mask.shape[1] / self.frame_rate"),
    Fault("data/latents.py", "sum(self.lengths) / self.frame_rate", "max(self.lengths) / self.frame_rate"),
    Fault("data/codes.py", "integers(surplus + 1)", "integers(surplus)"),
    Fault("data/codes.py", "seconds=sum(crop.units for crop in crops)", "seconds=len(crops) * crops[0].units"),
    Fault("data/codes.py", "ended=stop == total and bool", "ended=bool"),
    Fault("data/code_records.py", "offset : offset + len(self.codebook_sizes[level])", "offset:", CODES),
    Fault("data/encoding_records.py", "- self.outcomes - location", "- self.outcomes", "data/test_latent_records.py"),
    Fault("data/corpus.py", "for key in keys) / 3600", "for key in keys) / 60", "training/test_corpora.py"),
)

CLI = (
    Fault(
        "cli/generate.py", "write_audio(target, audio, pipeline.sampling_rate)", "write_audio(target, audio, 44100)"
    ),
    Fault("cli/generate.py", "labels[number // arguments.num_waveforms]", "labels[number % len(labels)]"),
    Fault(
        "cli/generate.py",
        "{audio.shape[-1] / pipeline.sampling_rate:.3f} s",
        "{audio.numel() / pipeline.sampling_rate:.3f} s",
    ),
    Fault("cli/generate.py", "manual_seed(arguments.seed)", "manual_seed(0)"),
    Fault("cli/generate.py", 'shown.get(f"generated: {name}", audio)', "audio"),
    Fault(
        "cli/decode.py",
        "write_audio(target, waveform, info.sampling_rate)",
        "write_audio(target, waveform, 44100)",
        "cli/test_main.py",
        "cli/test_codes.py",
    ),
    Fault("cli/decode.py", "[0, :, : info.num_samples]", "[0]", "cli/test_main.py", "cli/test_codes.py"),
    Fault(
        "cli/decode.py",
        "{info.num_samples / info.sampling_rate:.3f} s",
        "{info.num_samples / info.hop_length:.3f} s",
        "cli/test_main.py",
        "cli/test_codes.py",
    ),
    Fault("cli/reconstruct.py", "output, model.sampling_rate)", "output, 44100)", "cli/test_main.py"),
    Fault(
        "cli/reconstruct.py",
        "original, model.sampling_rate)\n        write",
        "original, 44100)\n        write",
        "cli/test_main.py",
    ),
    Fault("cli/reconstruct.py", "seconds / elapsed", "elapsed / seconds", "cli/test_main.py"),
    Fault(
        "cli/encode.py",
        "num_samples=waveform.shape[-1]",
        "num_samples=waveform.numel()",
        "cli/test_main.py",
        "cli/test_codes.py",
    ),
    Fault("cli/evaluate.py", "sound_seconds / busy_seconds", "busy_seconds / sound_seconds", "cli/test_main.py"),
    Fault("cli/evaluate.py", "sound_seconds += clip", "sound_seconds = clip", "cli/test_main.py"),
    Fault("cli/inspect.py", "{items} items, {sum(seconds):.1f} s", "{items} items, {max(seconds):.1f} s"),
    Fault("cli/stream.py", "[stem, 1e3 * streaming.latency.seconds", "[stem, streaming.latency.seconds"),
    Fault("cli/stream.py", ": waveform.shape[-1]], model.sampling_rate)", ": waveform.shape[-1]], 44100)"),
    Fault("cli/stream.py", "time / sampling_rate / sum(played.seconds)", "sum(played.seconds) * sampling_rate / time"),
    Fault(
        "cli/code_sounds.py",
        "write_audio(target, audio, rate)",
        "write_audio(target, audio, 44100)",
        "cli/test_generate.py",
    ),
    Fault("cli/code_sounds.py", "max(math.ceil(", "max(math.floor(", "cli/test_generate.py"),
    Fault("cli/code_sounds.py", "{audio.shape[-1] / rate:.3f} s", "{len(audio) / rate:.3f} s", "cli/test_generate.py"),
    Fault("cli/convert.py", "model.parameters()) / 1e6", "model.parameters()) / 1e3"),
)

AUDIO = (
    Fault("audio/distance.py", "math.sqrt(target[0].numel())", "math.sqrt(target.numel())"),
    Fault("audio/distance.py", "(estimate.log() - target.log())", "(estimate.log10() - target.log10())"),
    Fault(
        "audio/framing.py",
        "(time + hop_length - 1) // hop_length",
        "time // hop_length + 1",
        "runtime/test_chunking.py",
    ),
    Fault("audio/resampling.py", "max(start // step - margin, 0)", "max(start // step, 0)"),
    Fault("audio/resampling.py", "waveform.mean(dim=0, keepdim=True)", "waveform.sum(dim=0, keepdim=True)"),
    Fault(
        "audio/resampling.py",
        "reader.num_samples * sampling_rate // reader.sampling_rate",
        "-(-reader.num_samples * sampling_rate // reader.sampling_rate)",
        "audio/test_resampling.py",
        "data/test_clips.py",
    ),
    Fault("audio/io.py", 'subtype = "FLOAT"', 'subtype = "PCM_16"'),
    Fault(
        "audio/spectrogram.py",
        "window.sum() / 2",
        "window.sum()",
        "audio/test_spectrogram.py",
        "evaluation/test_plots.py",
    ),
    Fault("audio/spectrogram.py", "torch.tensor(1000.0,", "torch.tensor(100.0,"),
    Fault("audio/spectra.py", "(left + right, left - right)", "((left + right) / 2, left - right)"),
)

CODEC, VAE, HIERARCHY = (
    f"models/{name}/test_modeling_{name}.py" for name in ("waveform_vqvae", "waveform_vae", "hierarchical_vqvae")
)
MODELS = (
    Fault(
        "models/padding.py",
        "output[items, :, : count * rate_out] = coded",
        "output[: len(items), :, : count * rate_out] = coded",
        CODEC,
    ),
    Fault("models/padding.py", "waveform.masked_fill(~valid[:, None], 0)", "waveform", CODEC, HIERARCHY),
    Fault("models/normalization.py", "return latents * std + mean", "return (latents + mean) * std", VAE),
    Fault("models/normalization.py", "if min(latents_std) <= 0:", "if min(latents_std) < 0:", VAE),
    Fault("models/variational.py", "posterior.kl().sum(dim=1).mean()}", "posterior.kl().mean()}", VAE),
    Fault("models/waveform_vqvae/loudness.py", "/ valid.sum(dim=1, keepdim=True)", "/ valid.shape[1]", CODEC),
    Fault("models/waveform_vqvae/modeling_waveform_vqvae.py", "math.log2(size) for", "math.log(size) for", CODEC),
    Fault(
        "models/waveform_vqvae/modeling_waveform_vqvae.py",
        "valid[:, :: self.hop_length]",
        "valid[:, self.hop_length - 1 :: self.hop_length]",
        CODEC,
    ),
    Fault(
        "models/hierarchical_vqvae/levels.py",
        "(unit % cycle) for",
        "unit for",
        HIERARCHY,
        "models/hierarchical_vqvae/test_convert_jukebox.py",
    ),
    Fault(
        "models/latent_conditioner/modeling_latent_conditioner.py",
        "total = total + embedded * kept[:, None]",
        "total = total + embedded",
    ),
    Fault("models/registry.py", "list(value) if isinstance(value, tuple) else value", "value"),
    Fault(
        "models/fingerprint.py",
        "{name} {tensor.dtype} {tuple(tensor.shape)}",
        "{tensor.dtype} {tuple(tensor.shape)}",
        VAE,
        "models/test_registry.py",
    ),
)

QUANTIZERS = "modules/quantization/test_quantizers.py"
MODULES = (
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
        "- self.left + self.reach",
        "- self.left + self.reach - 1",
        "modules/test_convolution.py",
    ),
    Fault(
        "modules/quantization/codebook.py", "self.counts < share * average", "self.counts <= share * self.counts.sum()"
    ),
    Fault(
        "modules/quantization/codebook.py",
        "self.counts.lerp_(counts, 1 - self.decay)",
        "self.counts.lerp_(counts, self.decay)",
    ),
    Fault("modules/quantization/finite_scalar.py", "(levels % 2 == 0)", "(levels % 2 == 1)"),
    Fault("modules/quantization/gradients.py", "scale * rotated", "rotated"),
    Fault("modules/quantization/residual.py", "depths > q", "depths >= q", QUANTIZERS),
    Fault("modules/quantization/residual.py", "1 + int(depth * count)", "int(depth * count)", QUANTIZERS),
    Fault("modules/quantization/search.py", ".sum(dim=1) / 2", ".sum(dim=1)"),
    Fault("modules/quantization/quantizer.py", "/ mask.sum().clamp_min(1)", "/ mask.numel()", QUANTIZERS),
    Fault("modules/snake.py", "grad_b = 2 * a * b", "grad_b = a * b", "modules/test_snake.py"),
)

EVALUATION = (
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
    Fault(
        "evaluation/metrics.py",
        "/ len(rows) for name",
        "/ max(len(rows) - 1, 1) for name",
        "evaluation/test_metrics.py",
        "training/autoencoder/test_validation.py",
    ),
    Fault("evaluation/reports.py", "16 * samples / model.bits_per_second", "samples / model.bits_per_second"),
    Fault(
        "evaluation/plots.py",
        "waveform.shape[-1] / sampling_rate, 0.0, sampling_rate / 2000)",
        "waveform.shape[-1] / sampling_rate, 0.0, sampling_rate / 1000)",
    ),
)

OBJECTIVE, LOOP = "training/autoencoder/test_objective.py", "training/test_loop.py"
TRAINING = (
    Fault("training/ema.py", "decay = min(self.decay", "decay = max(self.decay"),
    Fault("training/loop.py", "initial=progress.step", "initial=0"),
    Fault(
        "training/loop.py",
        "            return False, stop\n        learner.lr",
        "            stop = stop\n        learner.lr",
    ),
    Fault("training/loop.py", "values in batches]).mean(dim=0)", "values in batches]).sum(dim=0)", LOOP, OBJECTIVE),
    Fault("training/loop.py", "self._seconds += seconds", "self._seconds = seconds"),
    Fault("training/loop.py", "progress.skipped_in_a_row >= timing", "progress.skipped_in_a_row > timing"),
    Fault("training/loop.py", "time.monotonic() + 60 *", "time.monotonic() + 1 *"),
    Fault("training/learner.py", "= clipped * nn.utils", "= nn.utils"),
    Fault(
        "training/autoencoder/objective.py",
        "step >= self.decoder_only_from_step",
        "step > self.decoder_only_from_step",
    ),
    Fault(
        "training/autoencoder/objective.py",
        "(step - self.adversary.start_step) % self.adversary",
        "step % self.adversary",
    ),
    Fault(
        "training/autoencoder/objective.py",
        "or step < self.adversary.start_step:",
        "or step <= self.adversary.start_step:",
    ),
    Fault(
        "training/autoencoder/steps.py",
        "manual_seed(seed) for seed in batch.seeds",
        "manual_seed(batch.seeds[0]) for seed in batch.seeds",
    ),
    Fault(
        "training/latent_diffusion/objective.py",
        "drops < condition_dropout",
        "drops > condition_dropout",
        "training/latent_diffusion/test_diffusion.py",
    ),
    Fault(
        "training/token_prior/objective.py",
        "torch.float64) + 0.5",
        "torch.float64) + 1.0",
        "training/token_prior/test_token_prior.py",
    ),
    Fault(
        "training/token_prior/objective.py",
        "math.log(2) * task.codes_per_second",
        "math.log(2) * task.frame_rates[-1]",
        "training/token_prior/test_token_prior.py",
    ),
    Fault(
        "training/encoding/tallies.py",
        "self.items += other.items",
        "self.items = other.items",
        "training/encoding/test_latent_encoding.py",
    ),
    Fault(
        "training/encoding/dataset.py",
        "start + count >= time",
        "start + count > time",
        "training/encoding/test_code_encoding.py",
    ),
)

LATENT_FILES = (
    Fault("latents/moments.py", "(self._squares / self.frames).sqrt()", "(self._squares / (self.frames - 1)).sqrt()"),
    Fault("latents/moments.py", "(self.frames / total * frames)", "(frames / total)"),
    Fault("latents/moments.py", "/ reference.std\n", "/ self.std\n"),
    Fault("latents/storage.py", "max(codebook_sizes) <= 2**15", "max(codebook_sizes) <= 2**16"),
    Fault("latents/storage.py", "key=lambda name: int(name[6:])", "key=lambda name: name[6:]"),
)

TOKENS = (
    Fault("tokens/constraint.py", "known.shape[-1] > num_frames", "known.shape[-1] >= num_frames"),
    Fault("tokens/constraint.py", "(ids < high)", "(ids <= high)"),
    Fault(
        "tokens/constraint.py",
        "min(input_ids.shape[1] - self.start, self.bounds[0].shape[1] - 1)",
        "input_ids.shape[1] - self.start",
    ),
    Fault(
        "tokens/code_tokens.py",
        "return 2 * self.delay + 1",
        "return 2 * self.delay",
        "tokens/test_tokens.py",
        "pipelines/test_token_generation.py",
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

CHUNKS = ("runtime/test_chunking.py", "runtime/test_tiling.py")
RUNTIME = (
    Fault(
        "runtime/chunking.py",
        "return first // hop_length, frame_count(last, hop_length)",
        "return first // hop_length, last // hop_length",
        *CHUNKS,
    ),
    Fault(
        "runtime/chunking.py",
        "first = min(max(input_span(start, stop)[0], 0), frames - width)",
        "first = max(input_span(start, stop)[0], 0)",
        *CHUNKS,
    ),
    Fault(
        "runtime/chunking.py", "frame_count(frames, frame_count(frames, most))", "frame_count(frames, most)", *CHUNKS
    ),
    Fault("runtime/streaming.py", "-self._pushed % self._pad_multiple", "self._pushed % self._pad_multiple"),
    Fault("runtime/streaming.py", "max(end * hop_length - t for", "max(end * hop_length - t - 1 for"),
    Fault("runtime/incremental.py", "(self.cut_left if last else 0)", "0"),
    Fault("runtime/incremental.py", "(x.shape[-1] - reach) // stride + 1", "(x.shape[-1] - reach) // stride"),
)

DISCRIMINATORS = (
    Fault(
        "discriminators/layers.py",
        "transpose(-1, -2) / norm",
        "transpose(-1, -2)",
        "discriminators/test_discriminators.py",
    ),
    Fault(
        "discriminators/multi_period.py",
        "-waveform.shape[-1] % period",
        "period - waveform.shape[-1] % period",
        "discriminators/test_discriminators.py",
    ),
)

FILES = (
    Fault("files/writing.py", "        hidden.chmod(mode)  #", "        hidden.stat()  #"),
    Fault("files/writing.py", "os.replace(hidden, path)", "os.replace(hidden, path.resolve())"),
)

FAULTS = (
    *LOSSES,
    *PIPELINES,
    *DATA,
    *CLI,
    *AUDIO,
    *MODELS,
    *MODULES,
    *EVALUATION,
    *TRAINING,
    *LATENT_FILES,
    *TOKENS,
    *RUNTIME,
    *DISCRIMINATORS,
    *FILES,
)
