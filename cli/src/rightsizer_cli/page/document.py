"""The page as a whole: head, sections in reading order, foot. Called by ``report``; ``sections`` makes what is
inside. Pure but for reading its own style sheet."""

from pathlib import Path

from rightsizer_cli.page import account, evidence, overview
from rightsizer_cli.page.markup import Markup, tag
from rightsizer_cli.page.parts import Section
from rightsizer_cli.result import Result

# Nothing may be fetched and nothing may run, whatever a name in the cluster says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


ORDER: tuple[Section, ...] = (
    overview.head,
    overview.cards,
    overview.sides,
    evidence.estimates,
    evidence.ladder,
    evidence.latency,
    evidence.quality,
    account.money,
    account.reasons,
    account.minimality,
    account.search,
    account.provenance,
)


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
    parts = [part for section in ORDER if (part := section(result)) is not None]
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts, _foot(result))), lang="en")


_CLASSES = (
    "Measured: by a trial in this cluster. Replayed: from engines that answer with recorded latencies. "
    "Estimated: computed, not measured. Observed: seen on the pods that serve."
)


def _foot(result: Result) -> Markup:
    subject = result.subject
    run = f"run {subject.run} ({subject.run_uid}), fingerprint {subject.fingerprint}"
    return tag("footer", f"Rightsizer {result.versions.cli}; {result.schema_version}; {run}. {_CLASSES}")
