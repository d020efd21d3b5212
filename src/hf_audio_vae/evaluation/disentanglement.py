"""Disentanglement: whether each attribute of sound has a latent channel of its own.

The scores of Locatello et al., 2019 (arXiv:1811.12359) that need labels and no simulator, for the latents of clips and
the values of their attributes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Values = Tensor | np.ndarray
Attributes = Mapping[str, Sequence[float | str] | Values]

BINS = 20  # of latents and of numeric attributes, for mutual information
TREES = 50
HELD_OUT = 0.25  # share of the clips that SAP and DCI predict


def mutual_information_gap(latents: Values, attributes: Attributes) -> dict[str, float]:
    """Mutual information gap by attribute (MIG; Chen et al., 2018, arXiv:1802.04942).

    The difference of the two largest values of mutual information between a channel and the attribute, over the
    entropy of the attribute. Values are counted in `BINS` bins of equal width.

    Args:
        latents (`torch.Tensor` of shape `(clips, latent_channels)`): Means of posteriors, 2 channels or more.
        attributes (`Mapping[str, Sequence]`): Values for each clip, numbers or names, also as arrays.

    Returns:
        `dict[str, float]`: From 0 to 1, by name.

    Raises:
        ValueError: An attribute is constant, or the sizes differ.
    """
    latents, attributes = _checked(latents, attributes)
    channels = [_binned(channel) for channel in latents.T]
    scores = {}
    for name, values in attributes.items():
        target = _binned(_numbers(values)) if _is_numeric(values) else _classes(values)
        information = sorted((_information(channel, target) for channel in channels), reverse=True)
        scores[name] = (information[0] - information[1]) / _entropy(target)
    return scores


def separated_attribute_predictability(latents: Values, attributes: Attributes, *, seed: int = 0) -> dict[str, float]:
    """Separated attribute predictability by attribute (SAP; Kumar et al., 2018, arXiv:1711.00848).

    The difference of the two best scores of a prediction from one channel: the squared correlation for numbers, the
    accuracy of a linear support vector classifier on `HELD_OUT` of the clips for names. Arguments, return value and
    errors as `mutual_information_gap`.
    """
    latents, attributes = _checked(latents, attributes)
    train, test = _split(len(latents), seed)
    scores = {}
    for name, values in attributes.items():
        if _is_numeric(values):
            table = np.column_stack([latents, _numbers(values)])
            found = np.nan_to_num(np.corrcoef(table, rowvar=False)[-1, :-1]) ** 2
        else:
            found = np.array([_accuracy(channel, _classes(values), train, test, seed) for channel in latents.T])
        first, second = np.sort(found)[::-1][:2]
        scores[name] = float(first - second)
    return scores


def dci(latents: Values, attributes: Attributes, *, seed: int = 0) -> tuple[float, float, dict[str, float]]:
    """Disentanglement, completeness and informativeness (DCI; Eastwood & Williams, 2018).

    Random forests predict each attribute; the importances of the channels are those of the forests.

    Args:
        latents (`torch.Tensor` of shape `(clips, latent_channels)`): Means of posteriors, 2 channels or more.
        attributes (`Mapping[str, Sequence]`): Values for each clip, numbers or names; 2 attributes or more.
        seed (`int`): Seed of the forests and of the split.

    Returns:
        Disentanglement, 1 if each channel is important for one attribute only; completeness, 1 if each attribute needs
        one channel only; and the score on `HELD_OUT` of the clips by attribute: R² for numbers, accuracy for names.

    Raises:
        ValueError: As `mutual_information_gap`, or there is one attribute only.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    x, attributes = _checked(latents, attributes)
    if len(attributes) < 2:
        raise ValueError(f"there is one attribute, {next(iter(attributes))!r}; give 2 or more.")
    train, test = _split(len(x), seed)
    rows, scores = [], {}
    for name, values in attributes.items():
        numeric = _is_numeric(values)
        y = _numbers(values) if numeric else _classes(values)
        forest = (RandomForestRegressor if numeric else RandomForestClassifier)(TREES, random_state=seed)
        forest.fit(x[train], y[train])
        rows.append(forest.feature_importances_)
        scores[name] = float(forest.score(x[test], y[test]))
    importance = np.array(rows) + 1e-12  # (attributes, latent_channels)
    of_channels = importance / importance.sum(axis=0)
    of_attributes = importance / importance.sum(axis=1, keepdims=True)
    weights = importance.sum(axis=0) / importance.sum()
    disentanglement = weights @ (1 - _entropies(of_channels.T) / np.log(len(rows)))
    completeness = np.mean(1 - _entropies(of_attributes) / np.log(x.shape[1]))
    return float(disentanglement), float(completeness), scores


def _checked(latents: Values, attributes: Attributes) -> tuple[np.ndarray, dict[str, list[float | str]]]:
    """Return the latents in float64, and the attributes as lists, whose numbers are those of Python."""
    table = np.asarray(torch.as_tensor(latents).detach().cpu(), dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"the latents have shape {table.shape}; give (clips, latent_channels), 2 or more.")
    lists = {
        name: values.tolist() if isinstance(values, Values) else [_plain(value) for value in values]
        for name, values in attributes.items()
    }
    for name, values in lists.items():
        if len(values) != len(table):
            raise ValueError(f"{name!r} has {len(values)} values for {len(table)} clips; give one for each.")
        if len(set(values)) < 2:
            raise ValueError(f"{name!r} is constant; leave it out.")
    return table, lists


def _plain(value: Any) -> float | str:
    """Return a scalar of torch or NumPy as a number of Python."""
    return value.item() if isinstance(value, Tensor | np.generic) else value


def _is_numeric(values: Sequence[float | str]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _numbers(values: Sequence[float | str]) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _classes(values: Sequence[float | str]) -> np.ndarray:
    return np.unique(np.array([str(value) for value in values]), return_inverse=True)[1]


def _binned(values: np.ndarray) -> np.ndarray:
    """Index of the bin of each value."""
    return np.digitize(values, np.histogram_bin_edges(values, BINS)[1:-1])


def _entropy(indices: np.ndarray) -> float:
    return float(_entropies(np.bincount(indices)[None] / len(indices))[0])


def _entropies(probabilities: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row."""
    return torch.special.entr(torch.from_numpy(probabilities)).sum(dim=1).numpy()


def _information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information in nats of two sequences of indices."""
    joint = first * (int(second.max()) + 1) + second
    return _entropy(first) + _entropy(second) - _entropy(joint)


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and of held-out clips."""
    order = np.random.default_rng(seed).permutation(count)
    held_out = max(round(HELD_OUT * count), 1)
    return order[held_out:], order[:held_out]


def _accuracy(channel: np.ndarray, classes: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> float:
    from sklearn.svm import LinearSVC

    x = channel[:, None]
    x = (x - x.mean()) / max(float(x.std()), 1e-12)
    classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=seed).fit(x[train], classes[train])
    return float(classifier.score(x[test], classes[test]))
