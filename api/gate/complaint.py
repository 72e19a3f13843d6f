"""What a validator says of a value, as it is told to whoever sent it."""

#: What Pydantic puts before the words of a validator of ours.
_PREFIXES = ("Value error, ", "Assertion failed, ")


def said(message: str) -> str:
    """A message of Pydantic as a sentence, in the validator's own words."""
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return message[:1].upper() + message[1:]
