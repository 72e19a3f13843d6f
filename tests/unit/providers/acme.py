"""A provider that uses all of the manifest format (acme.toml), to be changed by tests."""

from pathlib import Path

from api.providers.manifest import Manifest, load

ACME = (Path(__file__).parent / "acme.toml").read_text(encoding="utf-8")

#: What a connection to it keeps.
VALUES = {
    "subdomain": "bright",
    "base_currency": "EUR",
    "company_id": "4620",
    "files_url": "https://eu1.files.acme.test",
}
UUID = "01939f6e-5c1d-7a3b-9e42-2f6f8f3f1c55"
KEY = f"cs_{UUID}"


def file(folder: Path, text: str = ACME) -> Path:
    path = folder / "acme.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str = ACME) -> Manifest:
    return load(file(folder, text))
