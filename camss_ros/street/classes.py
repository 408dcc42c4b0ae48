"""Class ids of the CamVid 11 label set, as the synthetic scenes use them."""

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
UNLABELLED = -1
"""Marks a detail that leaves the label under it as it is (a window on a car)."""
