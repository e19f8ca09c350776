"""``report.html``: one self-contained page, no script, no outside asset, charts as inline SVG made by hand.
``document.page`` makes it."""
