"""What this demo promises, checked as it goes."""


class BrokenPromiseError(RuntimeError):
    """Something did not come out as this demo promises; the message says what."""


def expect(holds: object, otherwise: str) -> None:
    """Raises BrokenPromiseError unless it holds."""
    if not holds:
        raise BrokenPromiseError(otherwise)
