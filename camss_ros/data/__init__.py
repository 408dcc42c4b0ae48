"""Data sets, label sets, augmentation and synthetic scenes."""
