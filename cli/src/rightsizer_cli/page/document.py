"""The page as a whole: head, sections in reading order, foot. Called by ``report``; ``sections`` makes what is inside. Pure but for
reading its own style sheet.
"""

from pathlib import Path

from rightsizer_cli.page import sections
from rightsizer_cli.page.markup import Markup, joined, tag
from rightsizer_cli.result import Result

# Nothing may be fetched and nothing may run, whatever a name in the cluster says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(result: Result) -> str:
    """A whole HTML document, self-contained; the same result gives the same bytes."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{result.subject.name}: {result.decision.sentence}"),
        tag("style", Markup(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))),
    )
    parts = [part for section in sections.ORDER if (part := section(result)) is not None]
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts, _foot(result))), lang="en")


def _foot(result: Result) -> Markup:
    subject = result.subject
    return tag(
        "footer",
        joined(
            f"Rightsizer {result.versions.cli}; {result.schema_version}; run {subject.run} ({subject.run_uid}), "
            f"fingerprint {subject.fingerprint}. Measured: by a trial in this cluster. Estimated: computed, not measured. "
            "Observed: seen on the pods that serve."
        ),
    )
