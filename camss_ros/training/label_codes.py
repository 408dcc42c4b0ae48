"""Labels that stand for one of several classes, as values of a training's label images.

A data set may tell fewer classes apart than the model: CamVid's bicyclist is a rider, a bicycle or
a motorcycle of Cityscapes. Such a pixel is judged by the sum of the probabilities of what it may be
(learning from candidate sets, or partial labels).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camss_ros.images.label_class import VOID


@dataclass(frozen=True)
class LabelCodes:
    """What a value of a label image says.

    A value below `classes` is the class of that id, `classes + i` one of the classes
    `candidates[i]`, and every other one is void.

    Attributes:
        classes: how many the model tells apart.
        candidates: class ids that a label stands for, two or more each.
    """

    classes: int
    candidates: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return self.classes + len(self.candidates)

    @classmethod
    def of(cls, classes: int, labels: Iterable[Sequence[int]]) -> LabelCodes:
        """The codes that tell all these sets of class ids apart, in order of appearance."""
        several = (tuple(sorted(ids)) for ids in labels if len(ids) > 1)
        return cls(classes, tuple(dict.fromkeys(several)))

    def table(self, labels: Sequence[Sequence[int]]) -> np.ndarray:
        """uint8 [256]: the code of each label that stands for `labels[label]`; 255 for none.

        Raises:
            ValueError: there is no code for one of the sets.
        """
        table = np.full(256, VOID, np.uint8)
        for label, ids in enumerate(labels):
            if len(ids) == 1:
                table[label] = ids[0]
            elif len(ids) > 1:
                table[label] = self.classes + self.candidates.index(tuple(sorted(ids)))
        return table

    def members(self) -> np.ndarray:
        """bool [codes, classes]: which classes a code may be."""
        members = np.eye(len(self), self.classes, dtype=bool)
        for index, ids in enumerate(self.candidates):
            members[self.classes + index, list(ids)] = True
        return members

    def member_lists(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids int64, there bool), [256, most members] each: the classes that a label may be.

        Rows are filled up with class 0, which is not `there`; that of void has no other.
        """
        lists = [(index,) for index in range(self.classes)] + list(self.candidates)
        ids = np.zeros((256, max(map(len, lists))), np.int64)
        there = np.zeros(ids.shape, bool)
        for code, members in enumerate(lists):
            ids[code, : len(members)], there[code, : len(members)] = members, True
        return ids, there

    def relations(self) -> tuple[np.ndarray, np.ndarray]:
        """(inside, judged), bool [256, codes] each: what a label says of each code.

        A pixel of a label is `inside` a code if all that it may be is among the code's classes. It
        is `judged` if it is inside or if nothing that it may be is; otherwise it is unknown.
        """
        members = self.members()
        common = members.astype(int) @ members.T.astype(int)  # [label, code]
        inside, judged = np.zeros((2, 256, len(self)), bool)
        inside[: len(self)] = common == members.sum(axis=1)[:, None]
        judged[: len(self)] = inside[: len(self)] | (common == 0)
        return inside, judged


def code_shares(
    labels: Iterable[np.ndarray], codes: LabelCodes, void_is_last: bool = False
) -> np.ndarray:
    """Share of each code among the labelled pixels of uint8 [H, W] label images: [codes].

    Args:
        labels: the images.
        codes: of their values.
        void_is_last: void counts as the last of the codes.
    """
    counts = np.zeros(256)
    for label in labels:
        counts += np.bincount(label.ravel(), minlength=256)
    if void_is_last:
        counts[len(codes) - 1] = counts[VOID]
    known = counts[: len(codes)]
    return known / max(known.sum(), 1)


def class_weights(shares: np.ndarray, codes: LabelCodes, power: float = 0.5) -> Tensor:
    """Weights of the codes: their classes' shares to minus `power`, mean 1 over pixels.

    Args:
        shares: [codes] of the pixels. What a label of several classes has is divided among them as
            the pixels are whose class is known.
        codes: what they mean.
        power: 0 weighs all alike.

    Returns:
        [codes] float32.
    """
    members = codes.members()
    single = shares[: codes.classes]
    of_class = single.copy()
    for share, ids in zip(shares[codes.classes :], codes.candidates, strict=True):
        known = single[list(ids)]
        parts = known / known.sum() if known.sum() > 0 else np.full(len(ids), 1 / len(ids))
        of_class[list(ids)] += share * parts
    weights = np.maximum(members @ of_class, 1e-4) ** -power
    return torch.from_numpy(weights / (weights * np.maximum(shares, 1e-4)).sum()).float()
