"""Texts and classes among the arguments of a pipeline."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np

from hf_audio_vae.pipelines.arguments import integer

ValueT = TypeVar("ValueT")
ClassLabels = int | str | Sequence[int | str]


def conditions_of(
    prompt: str | list[str] | None,
    class_labels: ClassLabels | None,
    *,
    names: tuple[str, ...],
    takes_text: bool,
    per_prompt: int,
) -> tuple[list[str] | None, list[int] | None]:
    """Return texts and class indices, one per waveform, or `None` if not given.

    Args:
        prompt (`str` or `list[str]`, *optional*): Texts.
        class_labels (`int`, `str`, or a sequence, *optional*): Classes by index or name. A number that is the index
            of a class and the name of another one is refused.
        names (`tuple[str, ...]`): Names of the classes of the model.
        takes_text (`bool`): Whether the model has a text encoder and was trained with texts.
        per_prompt (`int`): Waveforms per text or class.

    Raises:
        ValueError: The model was not trained for them, a class is unknown, or their numbers differ.
    """
    if prompt is not None and not takes_text:
        raise ValueError(
            "`prompt` is given, but the model was trained without texts, or has no text encoder or tokenizer."
        )
    if class_labels is not None and not names:
        raise ValueError(f"`class_labels` is {class_labels!r}, but the model was trained without classes.")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if prompts is not None and not (
        isinstance(prompts, list | tuple) and all(isinstance(text, str) for text in prompts)
    ):
        raise ValueError(f"`prompt` is {prompt!r}; give a text, or a list of texts.")
    prompts = None if prompts is None else list(prompts)
    one = isinstance(class_labels, str) or np.ndim(cast(Any, class_labels)) == 0
    given = [class_labels] if one else cast(Sequence[object], class_labels)
    labels = None if class_labels is None else [_class_index(label, names) for label in given]
    if prompts is not None and labels is not None and len(prompts) != len(labels):
        raise ValueError(f"there are {len(prompts)} prompts and {len(labels)} classes; give as many of each.")
    if prompts == [] or labels == []:
        raise ValueError("the list of prompts or classes is empty; give at least one, or leave it out.")
    return _repeated(prompts, per_prompt), _repeated(labels, per_prompt)


def _class_index(label: object, names: tuple[str, ...]) -> int:
    if isinstance(label, str) and label in names:
        return names.index(label)
    index = integer(label)
    if index is not None and 0 <= index < len(names):
        if str(index) in names and names[index] != str(index):
            raise ValueError(
                f"`class_labels` holds {label!r}, the index of the class {names[index]!r} and the name of another "
                f"one; give names as texts, {str(index)!r} or {names[index]!r}."
            )
        return index
    raise ValueError(f"`class_labels` holds {label!r}; the classes are {list(names)}, 0 to {len(names) - 1}.")


def _repeated(values: list[ValueT] | None, times: int) -> list[ValueT] | None:
    return None if values is None else [value for value in values for _ in range(times)]
