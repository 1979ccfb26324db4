"""The table of what is promised names tests that are there."""

import re


def test_the_tests_that_the_table_names_exist(root):
    rows = [
        line
        for line in (root / 'docs/robustness.md').read_text().splitlines()
        if line.startswith('| ') and not line.startswith(('| ---', '| what'))
    ]
    assert len(rows) >= 25
    for row in rows:
        names = re.findall(r'`(test_\w+\.py)::(test_\w+)`', row)
        assert names, f'no test shows: {row}'
        for file, test in names:
            source = (root / 'tests' / file).read_text()
            assert f'\ndef {test}(' in source, f'{file} has no {test}'
