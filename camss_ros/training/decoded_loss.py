"""The loss of a predicted class map: class-weighted cross-entropy and soft Jaccard index."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camss_ros.training.global_batch import global_sum
from camss_ros.training.label_codes import LabelCodes


class DecodedLoss(nn.Module):
    """Class-weighted cross-entropy, and the soft Jaccard index (IoU), of the global batch.

    A label that stands for several classes is judged by the sum of their probabilities.

    Args:
        codes: what the labels stand for.
        weights: [codes] of the cross-entropy.
        jaccard_weight: of 1 - mean IoU of the probabilities over the codes in the labels; unlike
            the cross-entropy it does not drown a thin class in the area of the others. The
            IoU of a code leaves out pixels that may or may not be of it.
    """

    members: Tensor
    weights: Tensor
    inside: Tensor
    judged: Tensor
    ids: Tensor
    absent: Tensor

    def __init__(self, codes: LabelCodes, weights: Tensor, jaccard_weight: float = 0.0) -> None:
        super().__init__()
        self._jaccard_weight = jaccard_weight
        inside, judged = (torch.from_numpy(each).float() for each in codes.relations())
        ids, there = (torch.from_numpy(each) for each in codes.member_lists())
        absent = torch.zeros(there.shape).masked_fill(~there & there.any(1, True), -torch.inf)
        of_label = torch.zeros(256)
        of_label[: len(codes)] = weights
        for name, value in (
            ("members", torch.from_numpy(codes.members()).float()),
            ("weights", of_label),
            ("inside", inside[: len(codes)]),
            ("judged", judged[: len(codes)]),
            ("ids", ids),
            ("absent", absent),
        ):
            self.register_buffer(name, value, persistent=name == "weights")

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss.

        Args:
            logits: [B, classes, H, W] float32.
            labels: [B, H, W] int64 codes, 255 where void.
        """
        log_probabilities = logits.log_softmax(dim=1)
        # by the few classes of a label, without maps of every code
        of_members = log_probabilities.gather(1, self.ids[labels].permute(0, 3, 1, 2))
        of_label = (of_members + self.absent[labels].permute(0, 3, 1, 2)).logsumexp(dim=1)
        weights = self.weights[labels]
        sums = global_sum(torch.stack([-(of_label * weights).sum(), weights.sum()]))
        loss = sums[0] / sums[1].clamp(min=1e-6)
        if self._jaccard_weight == 0:
            return loss
        return loss + self._jaccard_weight * (1 - self._mean_iou(log_probabilities.exp(), labels))

    def _mean_iou(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        codes, classes = self.members.shape
        ids = torch.arange(codes, device=labels.device)[:, None]
        labelled = (labels.flatten(1)[:, None] == ids).to(probabilities.dtype)
        # [label, class]: sum of a class's probability over the pixels of a label, as a product of
        # matrices, which all devices are fast at; autocast would round it
        with torch.autocast(labels.device.type, enabled=False):
            by_label = (labelled @ probabilities.flatten(2).transpose(1, 2)).sum(dim=0)
        areas = labelled.sum(dim=(0, 2))
        sums = global_sum(torch.cat([by_label, areas[:, None]], dim=1))
        by_label = (sums[:, None, :classes] * self.members).sum(dim=2)
        areas = sums[:, classes:]
        overlap = (by_label * self.inside).sum(dim=0)
        union = (by_label * self.judged + areas * self.inside).sum(dim=0) - overlap
        present = areas[:, 0] > 0
        iou = torch.where(present, overlap / union.clamp(min=1e-6), 0.0)
        return iou.sum() / present.sum().clamp(min=1)
