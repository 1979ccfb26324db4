"""How a tool of ours ends that cannot do what it was asked for."""


def fails(result, *words):
    """The tool has ended with one line, of bounded length, that holds the words."""
    status, _ = result
    assert isinstance(status, str), 'it did not end with an error'
    assert status.startswith('error: ') and status.isprintable(), status
    assert len(status) < 600
    for word in words:
        assert word in status, status
