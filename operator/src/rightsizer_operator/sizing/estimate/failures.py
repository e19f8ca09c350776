"""What cannot be estimated, said with the field at fault and what to do about it. Raised by every module here."""


class NotEstimable(Exception):
    """``field`` names the input, ``remedy`` what the user can do; the message holds both facts."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class DoesNotFit(Exception):
    """The configuration cannot run; the message says what it needs and what there is."""
