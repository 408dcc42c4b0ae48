"""Which frames of recordings are worth labelling."""
