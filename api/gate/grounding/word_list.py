"""How the lists of words in this package are written: as text, which reads better than a thousand quotes."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in its order."""
    return tuple(text.split())
