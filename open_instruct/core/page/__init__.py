"""The look that the pages of all stages share: `style.css` beside this file. Knows no stage.

A page is one HTML file that fetches nothing: its maker sets the text of the style into it.
"""

from pathlib import Path

_SHARED = Path(__file__).parent / "style.css"


def style(own: Path) -> str:
    """The rules of every page, then those of the page's own file."""
    return _SHARED.read_text(encoding="utf-8") + own.read_text(encoding="utf-8")
