"""A labelled sample of what detectors are to find and to leave; `python -m scripts.detectors` measures them on it."""
