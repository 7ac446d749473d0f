"""Self-contained HTML pages: styles and scripts of web/ are inlined, and the page may load nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from string import Template

_WEB = Path(__file__).with_name("web")


def document(template: str, scripts: Sequence[str], **parts: str) -> str:
    """The page of a template in web/, with HTML for its placeholders; text from users must be escaped already.

    Its content security policy allows these scripts only, by their hash, and no requests.
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
