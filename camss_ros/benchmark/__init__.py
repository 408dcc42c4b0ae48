"""How fast a segmenter is: stage by stage, against the official procedure, and through DDS."""
