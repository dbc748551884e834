"""Errors that say what is wrong with the data, where, and what was expected."""


class InvalidInputError(ValueError):
    """A raw object breaks the input contract; no retry can mend it.

    Attributes:
        source: name of the object, as its owner knows it.
        line: line in the object, from 1; None where the whole object is meant.
        reason: what was expected and what was found.
    """

    def __init__(self, source: str, reason: str, line: int | None = None) -> None:
        self.source = source
        self.line = line
        self.reason = reason
        where = source if line is None else f"{source}, line {line}"
        super().__init__(f"{where}: {reason}")

    def __reduce__(self) -> tuple[type["InvalidInputError"], tuple[str, str, int | None]]:
        return type(self), (self.source, self.reason, self.line)
