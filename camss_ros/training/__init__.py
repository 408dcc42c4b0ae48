"""Training: of the mask autoencoder, the segmenter, its twin and its fast decoder; fine-tuning."""
