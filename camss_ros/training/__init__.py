"""Training of the mask autoencoder and of the segmenter."""
