VENV ?= .venv
PYTHON ?= python3.11
BIN = $(VENV)/bin
DEMO ?= outputs/demo
DEMO_OPTIONS ?=
LOSSY = opus@6 opus@8 opus@10 opus@12 opus@16 opus@24 mp3@8 mp3@16 mp3@24 mp3@32
HELD_OUT = data/held_out/music_musicbox.ogg data/held_out/speech_en_0890.flac
GENERATOR ?= outputs/generator
GENERATOR_OPTIONS ?=
LATENTS ?= outputs/latents
CODEC ?= outputs/codec
CODEC_OPTIONS ?=
CODES ?= outputs/codes
PRIOR ?= outputs/prior
PRIOR_OPTIONS ?=
GPU_OPTIONS ?=
EXCERPTS ?= outputs/excerpts
FIGURES ?= outputs/figures
FIGURES_OPTIONS ?=

# Threads that wait by sleeping leave the cores to the data loader and whatever else runs.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo generate tokens figures gpu test test-slow mutants style quality docs env

env: $(VENV)/.installed  ## Make the environment

$(VENV)/.installed: setup.cfg setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[demo,dev]"
	touch $@

demo: env  ## Reconstruct held-out sound with the model of this package, fine-tune it on data/train, reconstruct again
	rm -rf $(DEMO)
	$(BIN)/hf-audio-vae reconstruct $(HELD_OUT) --output_dir $(DEMO)/before
	$(BIN)/python training/train_autoencoder.py --config training/recipes/finetune-demo.yaml --output_dir $(DEMO) \
		$(DEMO_OPTIONS)
	$(BIN)/hf-audio-vae reconstruct $(HELD_OUT) --model $(DEMO) --output_dir $(DEMO)/reconstructions

generate: env  ## Encode the sound with the demo's model, train a denoiser on its latents, generate sound
	test -f $(DEMO)/config.json || $(MAKE) demo
	rm -rf $(GENERATOR) $(LATENTS)
	for split in train held_out; do \
		$(BIN)/python training/encode_latents.py --model $(DEMO) --dataset_name data/$$split \
			--output_dir $(LATENTS)/$$split || exit 1; \
	done
	$(BIN)/python training/train_latent_diffusion.py --config training/recipes/latent-diffusion-demo.yaml \
		--vae_name_or_path $(DEMO) --output_dir $(GENERATOR) $(GENERATOR_OPTIONS)
	$(BIN)/hf-audio-vae generate $(GENERATOR) --class_label effect music note speech --guidance_scale 2 \
		--beside data/held_out/loop_breakbeat.flac --output_dir $(GENERATOR)/generated

tokens: env  ## Train a codec and a language model on its codes, generate codes, and decode them
	test -f $(CODEC)/config.json || $(BIN)/python training/train_autoencoder.py \
		--config training/recipes/vqvae-demo.yaml --output_dir $(CODEC) $(CODEC_OPTIONS)
	rm -rf $(PRIOR) $(CODES)
	for split in train held_out; do \
		$(BIN)/python training/encode_latents.py --model $(CODEC) --dataset_name data/$$split \
			--output_dir $(CODES)/$$split || exit 1; \
	done
	$(BIN)/python training/train_token_prior.py --config training/recipes/token-prior-demo.yaml \
		--dataset_name $(CODES)/train --validation_dataset_name $(CODES)/held_out --output_dir $(PRIOR) $(PRIOR_OPTIONS)
	$(BIN)/hf-audio-vae generate $(PRIOR) --num_waveforms 4 --output_dir $(PRIOR)/generated

figures: env  ## Measure the models of this package beside Opus and MP3 on the test split of their corpus
	test -d $(EXCERPTS)/data || $(BIN)/python training/corpora/debian.py \
		--config training/corpora/debian-lean.yaml --compact.hours 14 --compact.megabytes 420 \
		--compact.excerpt_seconds 8 --compact.whole_files true --output_dir $(EXCERPTS)
	$(BIN)/hf-audio-vae evaluate --model stft-vae-24khz --model codec-24khz $(LOSSY:%=--model %) \
		--dataset_name $(EXCERPTS) --dataset_split test --max_seconds 8 --label_column kind \
		--output_dir $(FIGURES) $(FIGURES_OPTIONS)

gpu: env  ## Measure kernels, coding, training and search on a CUDA device, and train a model
	$(BIN)/python benchmarks/cuda.py $(GPU_OPTIONS)

# One thread a worker: torch and the workers would fight for the cores.
test: env  ## Run the tests, all but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations 10 -m "not slow"

test-slow: env  ## Run the slow tests: kills, several processes, exports, the README
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations 10 -m slow

mutants: env  ## Plant faults one by one, and see that the tests find them
	$(BIN)/python -m tests.mutants.run

style: env  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

quality: env  ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: env  ## Build the site of the documentation in outputs/site; a broken link or a wrong docstring is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
