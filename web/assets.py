"""Static files, made ready once at start: hashed names, cached for ever, and nothing that is for gov.uk services only.

GOV.UK Frontend's style sheet names the GDS Transport font; only gov.uk services may use it, so it is taken out here.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from domain.problems import SightlineError

OURS: Final = Path(__file__).with_name("static")

FROM_COMPONENTS: Final = {
    "govuk.css": "govuk-frontend/dist/govuk/govuk-frontend.min.css",
    "govuk.js": "govuk-frontend/dist/govuk/govuk-frontend.min.js",
    "moj.css": "moj-frontend/moj/moj-frontend.min.css",
    "htmx.js": "htmx/dist/htmx.min.js",
    "sse.js": "htmx-ext-sse/sse.js",
    "swagger-ui.css": "swagger-ui/swagger-ui.css",
    "swagger-ui.js": "swagger-ui/swagger-ui-bundle.js",
}

MOJ_IMAGES: Final = "moj-frontend/moj/assets/images"

FONT_FACE: Final = re.compile(r"@font-face\s*\{[^}]*\}")
TRANSPORT: Final = re.compile(r'"?GDS Transport"?\s*,\s*')


class StaticMissing(SightlineError):
    """The web components are not unpacked."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: bytes, type, and the name under which it may be cached for ever."""

    name: str
    content: bytes
    media_type: str
    digest: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"/static/{self.digest}/{self.name}"


class Assets:
    """Every static file by name, in memory (about 2 MB)."""

    def __init__(self, static_dir: Path) -> None:
        self.by_name: dict[str, Asset] = {}
        for name, path in FROM_COMPONENTS.items():
            self._add(name, static_dir / path)
        for file in sorted(OURS.iterdir()):
            self._add(file.name, file)
        for file in sorted((static_dir / MOJ_IMAGES).glob("*.svg")):
            self._add(file.name, file)

    def url(self, name: str) -> str:
        """The cacheable address of a file. Raises: KeyError for a name that is not there."""
        return self.by_name[name].url

    def _add(self, name: str, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as err:
            raise StaticMissing(f"web component {name} is not there ({err.strerror}); run `make run` to fetch the parts") from err
        if name.endswith(".css"):
            content = without_transport(content.decode()).encode()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.by_name[name] = Asset(name, content, kind, hashlib.sha256(content).hexdigest()[:16])


def without_transport(css: str) -> str:
    """A style sheet without the font that is not ours to use: text falls back to the system's Arial or sans-serif."""
    return TRANSPORT.sub("", FONT_FACE.sub("", css))


@cache
def load(static_dir: Path) -> Assets:
    """The files of a folder, read once a process.

    Raises:
        StaticMissing: the web components are not unpacked.
    """
    return Assets(static_dir)
