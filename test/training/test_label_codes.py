"""Labels that stand for several classes: worked by hand, and learned from."""

import math

import numpy as np
import pytest
import torch

from camss_ros.images.label_sets import LabelSet, LabelSetError, load_label_set
from camss_ros.training.decoded_loss import DecodedLoss
from camss_ros.training.label_codes import LabelCodes, class_weights, code_shares

# Classes 0 to 3; label 4 is one of 1 and 2, label 5 one of 0 and 3.
CODES = LabelCodes(4, ((1, 2), (0, 3)))


def names(label_set: LabelSet, ids: tuple[int, ...]) -> list[str]:
    return [label_set.classes[index].name for index in ids]


def probabilities(*pixels: list[float]) -> torch.Tensor:
    """Logits [1, 4, 1, pixels] of these class probabilities."""
    return torch.tensor(pixels).log().T[None, :, None]


def test_camvid_and_idd_say_what_their_labels_may_be_in_cityscapes():
    fine = load_label_set("cityscapes19")
    for name, label, expected in (
        ("camvid11", "bicyclist", ["rider", "motorcycle", "bicycle"]),
        ("camvid11", "sign", ["traffic light", "traffic sign"]),
        ("camvid11", "pavement", ["sidewalk"]),
        ("idd_lite", "far object", ["building", "vegetation"]),
        ("idd_lite", "drivable", ["road"]),
    ):
        coarse = load_label_set(name)
        index = [one.name for one in coarse.classes].index(label)
        assert names(fine, tuple(sorted(coarse.candidates_in(fine)[index]))) == expected


def test_the_way_back_agrees_with_the_candidates():
    fine = load_label_set("cityscapes19")
    for name in ("camvid11", "idd_lite"):
        coarse = load_label_set(name)
        back = fine.to(coarse)
        for label, ids in enumerate(coarse.candidates_in(fine)):
            assert {int(back[index]) for index in ids} == {label}


def test_unknown_candidates_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    text = "name: own\nclasses: [{id: 0, name: thing, color: [0, 0, 0]}]\ncandidates: "
    path.write_text(text + "{cityscapes19: {thing: [car, hovercraft]}}")
    with pytest.raises(LabelSetError, match="hovercraft"):
        load_label_set(path).candidates_in(load_label_set("cityscapes19"))
    for wrong in ("{cityscapes19: {other: [car]}}", "{cityscapes19: {thing: car}}", "[car]"):
        path.write_text(text + wrong)
        with pytest.raises(LabelSetError, match="candidates"):
            load_label_set(path)


def test_a_candidate_that_is_named_twice_counts_once(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nclasses: [{id: 0, name: thing, color: [0, 0, 0]}]\n"
        "candidates: {cityscapes19: {thing: [car, bus, car]}}"
    )
    assert load_label_set(path).candidates_in(load_label_set("cityscapes19")) == ((13, 15),)


def test_codes_follow_the_classes_and_void_stays_void():
    labels = ((1,), (2, 1), (), (0, 3), (1, 2))
    codes = LabelCodes.of(4, labels)
    assert codes == CODES
    assert codes.table(labels)[:6].tolist() == [1, 4, 255, 5, 4, 255]
    np.testing.assert_array_equal(codes.members()[4:], [[0, 1, 1, 0], [1, 0, 0, 1]])


def test_the_cross_entropy_is_of_the_summed_probability():
    logits = probabilities([0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25] * 4)
    labels = torch.tensor([[[4, 0, 255]]])
    weights = torch.tensor([2.0, 1, 1, 1, 3, 1])
    loss = DecodedLoss(CODES, weights)(logits, labels)
    expected = -(3 * math.log(0.2 + 0.3) + 2 * math.log(0.7)) / (3 + 2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_jaccard_index_leaves_out_what_nobody_knows():
    logits = probabilities(
        [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.25] * 4
    )
    labels = torch.tensor([[[4, 0, 1, 255]]])
    loss = DecodedLoss(CODES, torch.ones(6), 1.0)(logits, labels)
    cross_entropy = -(math.log(0.5) + math.log(0.7) + math.log(0.6)) / 3
    # class 1: the first pixel may be it or not; the second is not, the third is
    iou_1 = 0.6 / (1 + 0.1)
    # class 0: the first and the third are not
    iou_0 = 0.7 / (1 + 0.1 + 0.2)
    # label 4: the first and the third are, the second is not
    iou_4 = (0.5 + 0.7) / (2 + 0.2)
    expected = cross_entropy + 1 - (iou_0 + iou_1 + iou_4) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # nothing of it is rounded
        assert DecodedLoss(CODES, torch.ones(6), 1.0)(logits, labels).item() == loss.item()
    alone = DecodedLoss(CODES, torch.ones(6), 1.0)(logits[..., 1:2], labels[..., 1:2])
    assert alone.item() == pytest.approx(-math.log(0.7) + 0.3, rel=1e-5)


def test_without_candidates_it_is_pytorchs_cross_entropy_and_its_gradient_too():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator, requires_grad=True)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[0, 0] = 255
    weights = torch.tensor([1.0, 2, 3, 4])
    reference = torch.nn.functional.cross_entropy(logits, labels, weights, ignore_index=255)
    (expected,) = torch.autograd.grad(reference, logits)
    loss = DecodedLoss(LabelCodes(4), weights)(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(gradient, expected)


def test_void_alone_has_no_loss_and_a_finite_gradient():
    logits = torch.zeros(1, 4, 2, 2, requires_grad=True)
    loss = DecodedLoss(CODES, torch.ones(6), 1.0)(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert not logits.grad.any()


def test_weights_share_the_pixels_of_several_classes_out():
    label = np.repeat(np.array([0, 1, 2, 3, 4, 255], np.uint8), [50, 6, 2, 10, 32, 9])[None]
    shares = code_shares([label], CODES)
    np.testing.assert_allclose(shares, [0.5, 0.06, 0.02, 0.1, 0.32, 0])
    weights = class_weights(shares, CODES, 0.5).numpy()
    # of the 32 % that are 1 or 2, three parts in four go to class 1
    classes = np.array([0.5, 0.06 + 0.24, 0.02 + 0.08, 0.1, 0.4, 0.6])
    np.testing.assert_allclose(weights / weights[0], (classes / 0.5) ** -0.5, rtol=1e-5)
    assert (weights * [0.5, 0.06, 0.02, 0.1, 0.32, 0]).sum() == pytest.approx(1, abs=1e-3)


def test_void_may_be_counted_as_the_last_class():
    labels = [np.array([[0, 0, 2]], np.uint8), np.array([[1, 255, 255, 255, 255]], np.uint8)]
    found = code_shares(labels, LabelCodes(4), void_is_last=True)
    np.testing.assert_allclose(found, [2 / 8, 1 / 8, 1 / 8, 4 / 8])
    np.testing.assert_array_equal(code_shares([labels[1][:, 1:]], LabelCodes(4)), 0)


def test_classes_that_only_ever_come_as_one_of_several_share_evenly():
    weights = class_weights(np.array([0.5, 0, 0, 0.1, 0.4, 0]), CODES, 1.0).numpy()
    assert weights[1] == weights[2] == pytest.approx(2 * weights[4])
    assert weights[1] == pytest.approx(2.5 * weights[0])  # 20 % against 50 %


def test_a_label_of_several_classes_is_learned_from():
    """Two pixels of label 4: the sum of 1 and 2 grows, whichever of them it is."""
    logits = torch.zeros(1, 4, 1, 2, requires_grad=True)
    loss = DecodedLoss(CODES, torch.ones(6))
    optimizer = torch.optim.SGD([logits], 5.0)
    for _ in range(50):
        optimizer.zero_grad()
        loss(logits, torch.full((1, 1, 2), 4)).backward()
        optimizer.step()
    learned = logits.softmax(dim=1)
    assert (learned[:, 1:3].sum(dim=1) > 0.9).all()
    torch.testing.assert_close(learned[:, 1], learned[:, 2])
