"""What a detector finds."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["credential", "iban", "card", "national_id", "email", "phone", "ip", "url"]

#: By kind, the class of data that it is of (api/gate/data_classes.py). Where two kinds are found in one place, the one
#: that comes first here stands.
CLASS_OF_KIND: dict[Kind, str] = {
    "credential": "secret",
    "iban": "financial",
    "card": "financial",
    "email": "personal",
    "url": "internal",
    "national_id": "regulated",
    "ip": "personal",
    "phone": "personal",
}
KINDS: tuple[Kind, ...] = tuple(CLASS_OF_KIND)
#: What stands in a text instead of a value that is taken out of it.
MASKS: dict[Kind, str] = {
    "credential": "[CREDENTIAL]",
    "iban": "[IBAN]",
    "card": "[CARD]",
    "email": "[E-MAIL]",
    "url": "[URL]",
    "national_id": "[NATIONAL-ID]",
    "ip": "[IP]",
    "phone": "[PHONE]",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One value. start, end: of the text that was given, as a slice. confidence: 0 to 1.

    value: in the form in which two writings of the same value are equal, as of an IBAN without its spaces. what: of a
    credential or a national id, which.
    """

    kind: Kind
    start: int
    end: int
    confidence: float
    value: str
    what: str = ""

    @property
    def data_class(self) -> str:
        return CLASS_OF_KIND[self.kind]
