"""Labelled images: readers, label mapping, augmentation."""
