"""The forms in which an attacker's words arrive: each a fixed function of them, so that a case is always the same.

Every form can be undone by the agent, whom nothing is hidden from; the question is whether it can be by the gate.
"""

import base64
import re
from collections.abc import Callable

#: Letters of other scripts that look like Latin ones (Unicode's table of confusables).
_LIKE_LATIN = str.maketrans("aceiopsxyABEHKMOPTX", "асеіорѕхуАВЕНКМОРТХ")  # noqa: RUF001 - that is the point
_UNSEEN = ("\u200b", "\u200d", "\u2060", "\u00ad")
_ADDRESS = re.compile(r"(https?://[^\s<>()\"']+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)")


def plain(text: str) -> str:
    """As it is."""
    return text


def in_base64(text: str) -> str:
    """RFC 4648, on one line."""
    return base64.b64encode(text.encode()).decode()


def in_hexadecimal(text: str) -> str:
    """Digits of the UTF-8 form."""
    return text.encode().hex()


def in_percent(text: str) -> str:
    """RFC 3986, of every character."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def in_entities(text: str) -> str:
    """Character references of HTML, decimal and hexadecimal by turns."""
    return "".join(f"&#{ord(c)};" if n % 2 else f"&#x{ord(c):x};" for n, c in enumerate(text))


def hidden_in_html(text: str) -> str:
    """In a comment, and in an element that is not shown."""
    return f'<!-- {text} --><span style="display:none;font-size:0">{text}</span>'


def with_unseen(text: str) -> str:
    """A character without a width after each of its own."""
    return "".join(c + _UNSEEN[n % len(_UNSEEN)] for n, c in enumerate(text))


def turned(text: str) -> str:
    """Backwards, behind a mark that shows it forwards (U+202E)."""
    return "\n".join(f"\u202e{line[::-1]}\u202c" for line in text.split("\n"))


def in_tags(text: str) -> str:
    """In the block of tags (U+E0000), which no font shows and which models read."""
    return "".join(chr(0xE0000 + ord(c)) if 0x20 <= ord(c) < 0x7F else c for c in text)


def like_latin(text: str) -> str:
    """With letters of other scripts in the place of those that look like them."""
    return text.translate(_LIKE_LATIN)


def spelled(text: str) -> str:
    """Addresses and links as people write them who hide from machines."""

    def address(found: re.Match[str]) -> str:
        hidden = found[0].replace("https://", "hxxps://").replace("http://", "hxxp://")
        return hidden.replace("@", " [at] ").replace(".", " [dot] ")

    return _ADDRESS.sub(address, text)


def in_markdown(text: str) -> str:
    """With links that show another text than where they lead."""

    def link(found: re.Match[str]) -> str:
        target = found[0] if "://" in found[0] else f"mailto:{found[0]}"
        return f"[our usual address]({target})"

    return _ADDRESS.sub(link, text)


def in_parts(text: str) -> str:
    """In two parts. Where an answer has several places for it, each gets a part; cases.py sees to that."""
    middle = len(text) // 2
    return f"{text[:middle]}\n\n{text[middle:]}"


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": plain,
    "base64": in_base64,
    "hex": in_hexadecimal,
    "percent": in_percent,
    "entities": in_entities,
    "hidden-html": hidden_in_html,
    "zero-width": with_unseen,
    "bidi": turned,
    "tags": in_tags,
    "homoglyph": like_latin,
    "spelled": spelled,
    "markdown": in_markdown,
    "split": in_parts,
}
