"""The table of what is promised names tests that are there."""

import re


def test_the_tests_that_the_table_names_exist(root):
    text = (root / 'docs/robustness.md').read_text()
    results = r'<!-- begin: .*?<!-- end: '  # written by a tool, not promised
    rows = [
        line
        for line in re.sub(results, '', text, flags=re.S).splitlines()
        if line.startswith('| ') and not line.startswith(('| ---', '| what'))
    ]
    assert len(rows) >= 25
    for row in rows:
        names = re.findall(r'`(test_\w+\.py)::(test_\w+)`', row)
        assert names, f'no test shows: {row}'
        for file, test in names:
            (source,) = (path.read_text() for path in (root / 'tests').rglob(file))
            assert f'\ndef {test}(' in source, f'{file} has no {test}'
