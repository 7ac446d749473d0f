"""Pages that need nothing beside them: styles and scripts of web/ inside, and no way to fetch anything."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from string import Template

_WEB = Path(__file__).with_name("web")


def document(template: str, scripts: Sequence[str], **parts: str) -> str:
    """Fill the placeholders of a file in web/ with HTML, in which what users wrote is escaped already.

    The page's policy lets these scripts run, by their sum, and no other; and it lets nothing be fetched.
    """
    code = "\n".join(_read(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_read(template)).substitute(parts, policy=policy, style=_read("page.css"), code=code)


def _read(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")
