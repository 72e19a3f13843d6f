"""Reads e-mails as they lie in a folder: malformed ones, HTML without text, and unknown encodings included."""

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from html.parser import HTMLParser
from pathlib import Path

#: A mail is read up to here; what an agent is asked to do stands further up.
MAX_BYTES = 5_000_000
MAX_TEXT = 20_000
MAX_MAILS = 200

_BLOCKS = frozenset({"p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "table", "td", "blockquote"})
_SILENT = frozenset({"script", "style", "head", "title"})


class InboxError(Exception):
    """The folder cannot be read, or holds no mail; the message says so."""


@dataclass(frozen=True)
class Letter:
    """One e-mail. Everything in it is its sender's word, the address it claims to come from too.

    notes: what was not read of it, or only with difficulty.
    """

    file: str
    sender_name: str
    sender_address: str
    subject: str
    date: str
    text: str
    notes: tuple[str, ...] = ()


def read_folder(folder: Path) -> list[Letter]:
    """The folder's `.eml` files, by name. Raises InboxError."""
    if not folder.is_dir():
        raise InboxError(f"there is no folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".eml" and path.is_file())
    if not files:
        raise InboxError(f"there is no .eml file in {folder}")
    return [read(path) for path in files[:MAX_MAILS]]


def read(path: Path) -> Letter:
    """One mail; a file that cannot be opened is a letter without text and with a note."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Letter(path.name, "", "", "", "", "", (f"the file cannot be opened ({error.strerror})",))
    letter = parse(raw[:MAX_BYTES], path.name)
    if len(raw) <= MAX_BYTES:
        return letter
    return Letter(**letter.__dict__ | {"notes": (*letter.notes, "the rest of a very large file was not read")})


def parse(raw: bytes, name: str) -> Letter:
    """A mail from its bytes; never raises, whatever they are."""
    message = message_from_bytes(raw, policy=policy.default)
    if not isinstance(message, EmailMessage):
        return Letter(name, "", "", "", "", "", ("this is not an e-mail",))
    text, notes = _text(message)
    sender_name, sender_address = parseaddr(_header(message, "from"))
    if not message.keys():
        notes.append("it has no header")
    if len(text) > MAX_TEXT:
        notes.append("only the beginning of its text was read")
    return Letter(
        file=name,
        sender_name=sender_name,
        sender_address=sender_address.lower(),
        subject=_header(message, "subject"),
        date=_header(message, "date"),
        text=text[:MAX_TEXT],
        notes=tuple(notes),
    )


def _header(message: EmailMessage, name: str) -> str:
    try:
        value = str(message.get(name, ""))
    except Exception:  # the parser of structured headers raises many kinds of errors on malformed ones
        value = next((str(text) for key, text in message.raw_items() if key.lower() == name), "")
    return _plain(value)


def _plain(text: str) -> str:
    """Text without halves of surrogate pairs (which cannot be sent on) and without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", " ")


def _text(message: EmailMessage) -> tuple[str, list[str]]:
    """What the mail says: its plain text, else the words of its HTML; and what was left aside."""
    plain: list[str] = []
    rich: list[str] = []
    attachments: list[str] = []
    notes: list[str] = []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if part.get_content_disposition() == "attachment" or kind not in ("text/plain", "text/html"):
            attachments.append(_file_name(part))
        else:
            decoded, guessed = _decoded(part)
            (plain if kind == "text/plain" else rich).append(decoded)
            if guessed:
                notes.append("its encoding is unknown or broken; unreadable characters were replaced")
    if attachments:
        noun = "attachment was" if len(attachments) == 1 else "attachments were"
        notes.append(f"{len(attachments)} {noun} not opened ({', '.join(attachments[:3])})")
    said = "\n".join(plain)
    if not said.strip() and rich:
        said = "\n".join(_words(page) for page in rich)
        notes.append("it has no plain text; the words of its HTML were read")
    if not said.strip():
        notes.append("it says nothing")
    return _plain(said), notes


def _file_name(part: EmailMessage) -> str:
    try:
        return _plain(part.get_filename() or part.get_content_type())[:80]
    except Exception:  # as for headers
        return "unnamed"


def _decoded(part: EmailMessage) -> tuple[str, bool]:
    """The part's text, and whether its encoding had to be guessed or some of it replaced."""
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")
    charset = part.get_content_charset("utf-8")
    try:
        return raw.decode(charset), False
    except (LookupError, UnicodeError):
        return raw.decode("utf-8", "replace"), True


class _Words(HTMLParser):
    """The visible words of a page, one line for each block."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _words(page: str) -> str:
    parser = _Words()
    try:
        parser.feed(page)
        parser.close()
    except AssertionError:
        # html.parser raises it on some malformed declarations; what was read before them is kept.
        parser.parts.append("")
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    return "\n".join(line for line in lines if line)
