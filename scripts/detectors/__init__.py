"""How well the detectors of personal values find what they are to find (docs/privacy.md)."""
