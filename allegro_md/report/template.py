"""Pages from templates: all extend ``templates/page.html.j2``, which holds the layout and the styles."""

from __future__ import annotations

import base64
from typing import Any


def render(template: str, package: str = "allegro_md.report", **values: Any) -> str:
    """Fills in a template.

    Args:
        template: its file name.
        package: where it lies, if not among the templates of the report.
        values: by the names they have in it; text is escaped.

    Returns:
        The page.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    own = PackageLoader("allegro_md.report", "templates")
    loader = ChoiceLoader([own, PackageLoader(package, "")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)


def data_address(content: bytes, kind: str) -> str:
    """The address of content that stands within the page itself; `kind` is its media type, as in "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
