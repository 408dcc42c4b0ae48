"""A model for other classes that begins with what an earlier one knows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import LabelSet, NoMappingError
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import ModelError

# The layers of the mask autoencoder that have channels for each class, and where they are.
_READS = "mask_autoencoder.encoder.stages.1.weight"
_WRITES = ("mask_autoencoder.decoder.head.0.weight", "mask_autoencoder.decoder.head.0.bias")


def class_origins(own: LabelSet, earlier: LabelSet) -> list[tuple[int, ...]]:
    """For each class of `own` the ids of the classes of `earlier` that it is made of; () for none.

    By its candidates there, and else by the mapping of either set onto the other; without one,
    classes of one name are one.
    """
    try:
        return list(own.candidates_in(earlier))
    except NoMappingError:
        pass
    try:
        table = earlier.to(own)
        names = {
            one.name: tuple(it.name for it in earlier.classes if table[it.id] == one.id)
            for one in own.classes
        }
    except NoMappingError:
        names = {it.name: (it.name,) for it in earlier.classes}
    names.update(own.candidates.get(earlier.name, {}))
    ids = {label_class.name: label_class.id for label_class in earlier.classes}
    return [tuple(ids[name] for name in names.get(one.name, ())) for one in own.classes]


def with_other_classes(
    model: CamSeg, classes: Sequence[LabelClass], origins: Sequence[tuple[int, ...]]
) -> CamSeg:
    """A model for `classes` with the weights of `model`.

    What the mask autoencoder reads and writes of a class is the mean over the classes that it is
    made of, and over all of them where it is made of none. All else is as it was.

    Args:
        model: with the encoder of its masks.
        classes: of the new model.
        origins: of `class_origins`.

    Raises:
        ModelError: the model's masks are colours, or it lacks their encoder.
    """
    autoencoder = model.mask_autoencoder
    if not isinstance(autoencoder, MaskAutoencoder) or autoencoder.encoder is None:
        raise ModelError(
            f"{model.config.name} can't be given other classes: it was saved without the encoder "
            "of its masks, or they are colours"
        )
    other = CamSeg(dataclasses.replace(model.config, label_set=tuple(classes)))
    every = tuple(range(autoencoder.classes))
    mixed = torch.zeros(len(origins), autoencoder.classes)
    for row, ids in enumerate(origins):
        mixed[row, list(ids or every)] = 1 / len(ids or every)
    state = model.state_dict()
    state[_READS] = _mix(state[_READS].transpose(0, 1), mixed).transpose(0, 1)
    for name in _WRITES:
        state[name] = _mix(state[name], mixed)
    other.load_state_dict(state)
    return other.eval()


def _mix(weights: Tensor, mixed: Tensor) -> Tensor:
    """Channels of the old classes first, `patch` ones each -> those of the new ones."""
    of_classes = weights.unflatten(0, (mixed.shape[1], -1))
    return torch.einsum("nc,c...->n...", mixed, of_classes).flatten(0, 1)
