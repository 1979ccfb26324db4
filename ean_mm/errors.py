"""The one exception that EAN-MM raises for a mistake of its user's."""


class EANError(ValueError):
    """A mistake that the user can mend.

    Its message is one line that says what is wrong and how to mend it; the command
    line tools print that line instead of a traceback and exit with status 1, and
    ``python -m ean_mm`` with 2.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if text.startswith('Caught EANError in DataLoader worker'):
            # raised anew in the main process, with the worker's traceback before it
            text = text.rpartition('EANError: ')[2].strip()
        super().__init__(text)


def innermost(error: EANError) -> EANError:
    """Return the error that was raised first.

    mmengine's registries wrap an error once for every module being built.
    """
    while error.__cause__ is None and isinstance(error.__context__, EANError):
        error = error.__context__
    return error


def one_line(text: object, limit: int = 200) -> str:
    """Return text as one line of bounded length, without what a terminal obeys."""
    text = printable(' '.join(str(text).split()))
    return text if len(text) <= limit else f'{text[: limit - 3]}...'


def printable(text: str) -> str:
    """Return text without what would steer a terminal."""
    return ''.join(char if char.isprintable() else '?' for char in text)
