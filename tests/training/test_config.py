import inspect
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import nn

from hf_audio_vae.discriminators import (
    DISCRIMINATORS,
    MultiPeriodDiscriminator,
    MultiScaleSTFTDiscriminator,
)
from hf_audio_vae.losses import (
    RECONSTRUCTION_LOSSES,
    CapacityAnnealing,
    FreeBits,
    GradientBalancer,
    LeastSquaresLoss,
    LinearAnnealing,
    TargetRate,
)
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
from hf_audio_vae.training.latent_diffusion.denoiser import new_denoiser
from hf_audio_vae.training.script import set_gpu_precision
from hf_audio_vae.training.sections import section_of, sections_of
from hf_audio_vae.training.token_prior.model import new_prior
from tests.training.runs import GAME, RECIPE, REPO, write_recipe


def parse(recipe: Path, *arguments: str) -> AutoencoderTrainingConfig:
    return parse_config(AutoencoderTrainingConfig, ["--config", str(recipe), "--output_dir", "out", *arguments])


@pytest.mark.parametrize(
    "arguments", [["--seed", "1", "--seed=2"], ["--model.causal", "--seed", "1", "--model.causal", "false"]], ids=str
)
def test_an_option_that_is_given_twice_is_named(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`--(seed|model\.causal)` is given twice; give it once"):
        parse(write_recipe(tmp_path), *arguments)
    recipe = str(write_recipe(tmp_path))
    with pytest.raises(ValueError, match=r"`--config` is given twice"):
        parse(write_recipe(tmp_path), "--config", recipe)


@pytest.mark.parametrize(
    "option", ["validation_dataset_name", "validation_dataset_split", "validation_data_files", "data_files"]
)
def test_one_other_option_makes_other_validation_data(option: str, tmp_path: Path) -> None:
    same = {"dataset_name": "data", "validation_dataset_name": "data/"}
    assert parse(write_recipe(tmp_path, **same)).validates_on_training_data()
    assert not parse(write_recipe(tmp_path, **same | {option: "other"})).validates_on_training_data()
    assert not parse(write_recipe(tmp_path, **same, held_out_share=0.1)).validates_on_training_data()
    shared = write_recipe(tmp_path, **same | {option: "other"}, held_out_share=0.1)
    if option == "data_files":  # those of the validation default to them
        assert parse(shared).validation_data_files == "other"
        return
    with pytest.raises(ValueError, match="`held_out_share` holds out items of .*, but the validation data is another"):
        parse(shared)


def test_validation_options_of_a_held_out_share_are_those_of_the_data(tmp_path: Path) -> None:
    data = {"dataset_name": "sounds", "dataset_split": "all", "audio_column": "sound", "held_out_share": 0.1}
    recipe = tmp_path / "recipe.yaml"
    rest = {name: value for name, value in RECIPE.items() if not name.startswith("validation_dataset")}
    recipe.write_text(yaml.safe_dump(rest | data))
    config = parse(recipe, "--dataset_revision", "v2")
    for name in ("dataset_name", "dataset_split", "dataset_revision", "audio_column"):
        assert getattr(config, f"validation_{name}") == getattr(config, name)
    assert config.dataset_revision == "v2"
    with pytest.raises(ValueError, match="but the validation data is another"):
        parse(recipe, "--validation_dataset_name", "others")


@pytest.mark.parametrize("name", ["output_dir", "dataset_name", "validation_dataset_name"])
def test_an_empty_path_is_not_the_working_directory(name: str, tmp_path: Path) -> None:
    others = [] if name == "output_dir" else ["--output_dir", "out"]
    refused = pytest.raises(ValueError, match=rf"invalid:\n  {name}: Value error, is empty; give a value")
    for arguments in (["--" + name, ""], [f"--{name}="]):
        with refused:
            parse_config(AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path)), *others, *arguments])
    with refused:
        recipe = str(write_recipe(tmp_path, **{name: ""}))
        parse_config(AutoencoderTrainingConfig, ["--config", recipe, *others])
    assert parse(write_recipe(tmp_path), "--dataset_config_name", "").dataset_config_name is None


def test_a_recipe_that_is_no_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere.yaml, which is not a file"):
        parse(Path("nowhere.yaml"))


def test_options_override_a_recipe_that_is_named_after_them(tmp_path: Path) -> None:
    options = ["--output_dir", "out", "--learning_rate", "0.5", "--config", str(write_recipe(tmp_path))]
    assert parse_config(AutoencoderTrainingConfig, options).learning_rate == 0.5


def test_options_override_the_recipe_and_leave_the_rest(tmp_path: Path) -> None:
    config = parse(
        write_recipe(tmp_path),
        "--learning_rate",
        "1e-4",  # text, to YAML
        "--model.causal=true",
        "--model.downsampling_ratios",
        "[4, 5]",
        "--push_to_hub",
        "--weights.kl",
        "0.5",
    )
    assert config.learning_rate == 1e-4
    assert config.model == RECIPE["model"] | {"causal": True, "downsampling_ratios": [4, 5]}
    assert config.push_to_hub is True
    assert config.weights["kl"] == 0.5
    assert config.weights["waveform_l1"] == 1.0


def test_null_removes_a_weight_of_the_recipe(tmp_path: Path) -> None:
    config = parse(write_recipe(tmp_path), "--weights.kl", "null", "--weights.commitment", "0.25")
    assert set(config.weights) == {"waveform_l1", "multi_resolution_stft", "commitment"}
    with pytest.raises(ValueError, match="'waveform_l1'. have no entry in `weights`"):
        parse(write_recipe(tmp_path), "--weights.waveform_l1", "null")


def test_a_number_that_yaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"learning_rate": 0}).replace("learning_rate: 0", "learning_rate: 1e-4"))
    assert parse(recipe).learning_rate == 1e-4


def test_no_mixed_precision_is_not_false(tmp_path: Path) -> None:
    assert parse(write_recipe(tmp_path), "--mixed_precision", "no").mixed_precision == "no"


@pytest.mark.parametrize(
    ("weight", "kind", "expected"),
    [
        ({"schedule": "linear", "weight": 1e-4, "steps": 4}, LinearAnnealing, {"weight": 1e-4, "steps": 4}),
        ({"free_bits": 0.25, "weight": 0.1}, FreeBits, {"bits": 0.25, "weight": 0.1}),
        (
            {"free_bits": 0.25, "weight": {"schedule": "linear", "weight": 0.1, "steps": 9}},
            FreeBits,
            {"weight": LinearAnnealing(0.1, 9)},
        ),
        ({"capacity_nats": 25, "steps": 100, "weight": 4}, CapacityAnnealing, {"nats": 25, "steps": 100, "weight": 4}),
        (
            {"target_bits_per_second": 3000},
            TargetRate,
            {"bits_per_second": 3000, "frame_rate": 50.0, "weight": 1e-4},
        ),
    ],
)
def test_a_weight_of_the_kl_becomes_what_it_names(tmp_path: Path, weight: dict, kind: type, expected: dict) -> None:
    config = parse(write_recipe(tmp_path, weights=RECIPE["weights"] | {"kl": weight}))
    built = config.build_weights(50.0)["kl"]
    assert isinstance(built, kind)
    assert {name: vars(built)[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("constructors", "given"),
    [
        (RECONSTRUCTION_LOSSES, {"sampling_rate"}),
        (DISCRIMINATORS, {"audio_channels"}),
        ({"b": GradientBalancer}, set()),
    ],
)
def test_options_have_the_names_and_defaults_of_what_they_make(constructors: dict[str, type], given: set[str]) -> None:
    for constructor in constructors.values():
        parameters = inspect.signature(constructor).parameters.values()
        named = {p.name: p.default for p in parameters if p.name not in given and p.kind != p.VAR_KEYWORD}
        named.pop("args", None)
        assert dict(section_of(constructor, given=given)()) == named


class SpectralCentroidLoss(nn.Module):
    """A loss that only this file knows."""

    def __init__(self, *, sampling_rate: int, exponent: float = 2.0) -> None:
        super().__init__()
        self.sampling_rate, self.exponent = sampling_rate, exponent


def test_a_new_loss_is_one_line_in_the_table_of_losses() -> None:
    sections = sections_of({"centroid": SpectralCentroidLoss}, given=("sampling_rate",))
    assert dict(sections(centroid={"exponent": "1e-1"}).centroid) == {"exponent": 0.1}
    with pytest.raises(ValidationError, match="sampling_rate"):
        sections(centroid={"sampling_rate": 8000})


def test_discriminators_become_what_they_name(tmp_path: Path) -> None:
    kinds = {"multi_period": {"hidden_channels": 2, "periods": [3]}, "multi_scale_stft": {"window_lengths": [64]}}
    config = parse(
        write_recipe(tmp_path, adversarial={"discriminators": kinds, "loss": "least_squares"}),
        *("--weights.adversarial", "1", "--weights.feature_matching", "2"),
    )
    built = config.adversarial.build_discriminators(audio_channels=2)
    period, stft = built.children()
    assert isinstance(period, MultiPeriodDiscriminator)
    assert isinstance(stft, MultiScaleSTFTDiscriminator)
    assert period.config.periods == (3,)
    assert stft.config.window_lengths == (64,)
    assert stft.config.audio_channels == 2
    assert isinstance(config.adversarial.build_loss(), LeastSquaresLoss)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_train_steps", "five"], "max_train_steps: .*got 'five'"),
        (["--nonsense", "1"], "nonsense: Extra inputs"),
        (["--max_train_minute", "3"], "got 3; did you mean `max_train_minutes`"),
        (["--losses.mel", "{}"], "did you mean `losses.multi_scale_mel`. `losses` has .*multi_resolution_stft"),
        (["--losses.waveform_l3", "{}"], "did you mean `losses.waveform_l1`. `losses` has "),
        (["--losses.nonsense", "{}"], "got {}; `losses` has .*waveform_l1"),
        (["--losses.multi_scale_mel.bands", "9"], "; `losses.multi_scale_mel` has "),
        (["--adversarial.discriminators.period", "{}"], "did you mean `adversarial.discriminators.multi_period`"),
        (["--multi_scale_mel", "{}"], "did you mean `losses.multi_scale_mel`"),
        (["--kl_weight", "0.1"], r"got 0.1; did you mean `weights.kl`\?$"),
        (["--beta", "0.1"], "did you mean `weights.kl`"),
        (["--gradient_clip", "1"], "did you mean `max_grad_norm`"),
        (["--batch_size", "4"], "did you mean `train_batch_size`"),
        (["--lr", "1e-4"], "did you mean `learning_rate`"),
        (["--epochs", "9"], "did you mean `max_train_steps`"),
        (
            ["--weights.kl", "foo"],
            "weights.kl: .* a number, .*forms {schedule, weight, steps}, {free_bits, weight}, "
            "{capacity_nats, steps, weight}, {target_bits_per_second}, got 'foo'",
        ),
        (["--weights.kl", "{weight: 1}"], "weights.kl: .*must be a number, or have the keys"),
        (["--learning_rate"], "learning_rate: .*must be a number, got True"),
        (["--weights.kl"], "weights.kl: .*must be a number, got True"),
        (["--max_grad_norm", ".inf"], "max_grad_norm: .*finite"),
        (["--losses.multi_resolution_stft.window_lengths", "[]"], "window_lengths: .*at least 1"),
        (["--losses.multi_resolution_stft.window_lengths", "[64, 0]"], "window_lengths.1: .*greater than 0"),
        (["--losses.nonsense", "{}"], "losses.nonsense: Extra inputs"),
        (["--mixed_precision", "int8"], "mixed_precision: "),
        (["--ema_decay", "1"], "ema_decay: "),
        (["learning_rate", "1"], "is not an option"),
        (["--adversarial", "{}"], "adversarial: .*`discriminators` is empty"),
        (
            ["--adversarial.discriminators.multi_period", "{}"],
            "'adversarial', 'feature_matching'. have no entry in `weights`",
        ),
        (["--weights.kl", "{schedule: linear, weight: 1, steps: 0}"], "weights.kl.schedule.steps: .*greater than 0"),
        (["--weights.kl", "{free_bits: 1, weight: true}"], "weights.kl.free_bits.weight.*must be a number"),
        (["--weights.adversarial", "1"], r"no section `adversarial`; add it"),
        (["--weights.kl", "-1"], "weights.kl: .*greater than or equal to 0"),
        (["--weights.waveform_l1", "{free_bits: 1, weight: 1}"], "only `kl` can"),
        (["--weights.kl", "much"], "weights.kl: .*got 'much'"),
        (
            ["--weights.kl", "{free_bits: 1}"],
            r"invalid:\n  weights.kl.free_bits.weight: Field required, got {'free_bits': 1}$",
        ),
        (["--adversarial.loss", "3"], "adversarial.loss: .*must be one of hinge, least_squares"),
        (["--weights.kl", "{schedule: [linear], weight: 1, steps: 1}"], "must be one of linear, cosine, cyclical"),
        (["--balancer.decay", "2"], "balancer: .*`decay` is 2"),
        (["--balancer", "{}", "--mixed_precision", "fp16"], "use `mixed_precision: bf16`"),
        (
            ["--lr_scheduler", "piecewise_constant"],
            "lr_scheduler: .*piecewise_constant needs `step_rules`.*use one of",
        ),
        (["--lr_scheduler", "cosin"], "lr_scheduler: .*cosin is unknown; use one of constant, constant_with_warmup"),
        (["--max_train_samples", "0"], "max_train_samples: .*greater than or equal to 1"),
        (["--segment_seconds", "1e9"], "segment_seconds: .*less than or equal to 3600"),
        (["--segment_seconds", ".nan"], "segment_seconds: "),
        (["--validation_seconds", ".inf"], "validation_seconds: .*finite"),
        (["--weights.kl", ".inf"], "weights.kl: .*finite"),
        (["--weights.kl", "{target_bits_per_second: .nan}"], "target_bits_per_second: "),
        (["--adam_beta2", "1"], "adam_beta2: .*less than 1"),
        (["--seed", "-1"], "seed: .*greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(write_recipe(tmp_path), *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model.causal", "true", "--pretrained_model_name_or_path", "x"],
            "`--model.causal` .*`pretrained_model.*can be changed",
        ),
        (["--pretrained_model_name_or_path", "x", "--family", "WaveformVAE"], "`--family` has no effect with"),
        (["--pretrained_arguments.a", "1"], "has no effect without `pretrained_model_name_or_path`; use `model`"),
        (["--pretrained_subfolder", "ema"], "`--pretrained_subfolder` has no effect without `pretrained_model_name"),
        (
            ["--adversarial.pretrained_model_name_or_path", "x", "--adversarial.discriminators.multi_period", "{}"],
            "`--adversarial.discriminators.multi_period` has no effect with `adversarial.pretrained_model_name",
        ),
        (["--lr_scheduler", "constant", "--lr_warmup_steps", "5"], "`--lr_warmup_steps` .*`lr_scheduler` constant"),
        (["--hub_private_repo"], "`--hub_private_repo` has no effect without `push_to_hub`"),
        (["--accept_changes"], "`--accept_changes` has no effect without `resume_from_checkpoint`"),
    ],
)
def test_an_option_without_effect_is_named_with_its_reason(tmp_path: Path, arguments: list[str], message: str) -> None:
    recipe = write_recipe(tmp_path, weights=GAME["weights"] if "adversarial" in str(arguments) else RECIPE["weights"])
    with pytest.raises(ValueError, match=message):
        parse(recipe, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"adversarial.start_step": 8},
            "`adversarial.start_step` defers to step 8, .* 8 steps.* are never used; lower",
        ),
        ({"adversarial.warmup_discriminator_steps": 6}, "`adversarial.warmup.* defers to step 8,.* trains against"),
        ({"decoder_only_from_step": 8}, "`decoder_only_from_step` defers to step 8, .* is never frozen"),
    ],
)
def test_a_stage_that_the_run_does_not_reach_is_refused(tmp_path: Path, arguments: dict, message: str) -> None:
    recipe = write_recipe(tmp_path, **GAME)  # 8 steps; the discriminators start in step 2
    options = [text for name, step in arguments.items() for text in (f"--{name}", str(step))]
    with pytest.raises(ValueError, match=message):
        parse(recipe, *options)
    parse(recipe, options[0], str(int(options[1]) - 1))


def test_a_mixture_needs_two_items(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, latent_augmentation={"mix": {}, "gain": {}})
    with pytest.raises(ValueError, match="`train_batch_size` is 1, so that each item would be added to itself"):
        parse(recipe, "--train_batch_size", "1")
    parse(recipe, "--train_batch_size", "2")
    parse(recipe, "--train_batch_size", "1", "--latent_augmentation.mix", "null")


def test_a_recipe_file_may_have_options_that_the_command_line_overrides(tmp_path: Path) -> None:
    config = parse(
        write_recipe(tmp_path, lr_warmup_steps=3, lr_scheduler="constant"), "--pretrained_model_name_or_path=x"
    )
    assert config.model == RECIPE["model"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: 0\n\tmodel: {}\n", "recipe.yaml is not YAML: .*line 2"),
        (
            b"seed: 0\nmodel: {causal: true, causal: false}\n",
            "recipe.yaml is not .*'causal' is in line 2 and again in",
        ),
        (
            b"seed: 0\nmodel:\n  a: 1\nseed: 1\n",
            "recipe.yaml is not YAML: the key 'seed' is in line 1 and again in line 4$",
        ),
        (b"output_dir: caf\xe9\n", "recipe.yaml is not YAML: unacceptable character #x00e9"),
        (b"seed: 2001-99-99\n", "recipe.yaml is not YAML: month must be in 1..12"),
        (b"[" * 5000, "recipe.yaml is not YAML: maximum recursion"),
        (b"- seed\n", "recipe.yaml holds a list, not options; write lines of the form"),
        (b"[]", "recipe.yaml holds a list"),
        (b"seed", "recipe.yaml holds a str"),
    ],
    ids=["tab", "twice in a section", "twice", "latin-1", "date", "deep", "list", "empty list", "text"],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        parse(recipe)
    assert len(str(caught.value).splitlines()) == 1


def test_a_recipe_may_merge_keys_and_be_empty(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    recipe.write_text(f"x: &x {{audio_channels: 1, causal: true}}\n{recipe.read_text()}")
    recipe.write_text(
        recipe.read_text().replace("x: &x", "model: &x", 1).replace("\nmodel:", "\n_model:\n  <<: *x", 1)
    )
    with pytest.raises(ValueError, match="invalid:\n  _model: Extra inputs"):
        parse(recipe)
    recipe.write_text("# nothing\n")
    with pytest.raises(ValueError, match="dataset_name: Field required(\n|$)"):
        parse(recipe)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning_rate", "["], r"`--learning_rate \[` is not YAML: "),
        (["--model", "{causal: true, causal: false}"], "the key 'causal' is in line 1 and again in line 1"),
    ],
)
def test_a_value_that_is_no_yaml_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(write_recipe(tmp_path), *arguments)


def test_a_section_of_any_keys_is_read_as_yaml(tmp_path: Path) -> None:
    options = ("--model", "{sampling_rate: 16000}", "--weights", "{waveform_l1: 1, multi_resolution_stft: 1, kl: 0.5}")
    config = parse(write_recipe(tmp_path), *options)
    assert config.model == {"sampling_rate": 16000}
    assert config.weights["kl"] == 0.5
    assert parse(write_recipe(tmp_path), "--dataset_name", "{a}").dataset_name == "{a}"
    assert parse(write_recipe(tmp_path), "--data_files", "[a, b]").data_files == ["a", "b"]
    assert parse(write_recipe(tmp_path), "--data_files", "[a").data_files == "[a"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({k: v for k, v in RECIPE.items() if k != "dataset_name"}))
    with pytest.raises(ValueError, match="dataset_name: Field required(\n|$)"):
        parse(recipe)


def test_missing_validation_data_may_be_held_out(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({k: v for k, v in RECIPE.items() if k != "validation_dataset_name"}))
    with pytest.raises(ValueError, match="validation_dataset_name: Field required; give it, or `held_out_share`"):
        parse(recipe)
    assert parse(recipe, "--held_out_share", "0.2").validation_dataset_name == RECIPE["dataset_name"]


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config(AutoencoderTrainingConfig, ["--help"])
    listed = capsys.readouterr().out
    assert all(f"--{name} " in listed for name in AutoencoderTrainingConfig.model_fields)
    assert "--adversarial.discriminators.multi_period.periods " in listed
    assert "--losses.waveform_l1 " in listed


def test_conditions_that_are_always_dropped_are_refused() -> None:
    recipe = ["--config", str(REPO / "training/recipes/latent-diffusion-demo.yaml")]
    with pytest.raises(ValueError, match="condition_dropout: .*less than 1"):
        parse_config(LatentDiffusionTrainingConfig, [*recipe, "--condition_dropout", "1"])


@pytest.mark.parametrize(
    "options", [{"num_layers": "two"}, {"attention_head_dim": 0}, {"cross_attention_dim": 10**13}]
)
def test_a_denoiser_that_cannot_be_built_is_named_with_its_options(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` is .*; it has to be an integer"):
        new_denoiser(2, 9, options, conditioner_hidden_size=8, class_names=(), text_hidden_size=None)


@pytest.mark.parametrize("options", [{"n_embd": "x"}, {"n_head": 5}, {"activation_function": "x"}])
def test_a_prior_that_cannot_be_built_is_named_with_its_options(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"a gpt2 with {options} cannot be built: "):
        new_prior("gpt2", options, vocab_size=9, length=5)


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_the_precision_of_a_gpu_is_set_and_logged(allow_tf32: bool, caplog: pytest.LogCaptureFixture) -> None:
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    settings = cudnn.allow_tf32, cudnn.benchmark
    try:
        with caplog.at_level("INFO"):
            set_gpu_precision(allow_tf32=allow_tf32)
        assert torch.get_float32_matmul_precision() == ("high" if allow_tf32 else "highest")
        assert (cudnn.allow_tf32, cudnn.benchmark) == (allow_tf32, True)
        assert ("TF32" in caplog.text) == allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32, cudnn.benchmark = settings
