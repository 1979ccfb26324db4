"""Which modules of the package import which, as their source says."""

import ast
from graphlib import TopologicalSorter

import pytest


@pytest.fixture(scope='module')
def imported(root):
    """The modules of the package that each of them imports when it is imported."""
    paths = {
        '.'.join(path.relative_to(root).with_suffix('').parts): path
        for path in (root / 'ean_mm').rglob('*.py')
    }
    graph = {}
    for name, path in paths.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith('ean_mm'):
                for alias in node.names:
                    # a module, or else a name in a module or in a package
                    places = (f'{node.module}.{alias.name}', node.module,
                              f'{node.module}.__init__')  # fmt: skip
                    graph[name].add(next(each for each in places if each in paths))
    return graph


def test_no_two_modules_import_each_other(imported):
    assert len(list(TopologicalSorter(imported).static_order())) == len(imported)


@pytest.mark.parametrize('start', ['ean_mm.checkpoints', 'ean_mm.models'])
def test_models_and_checkpoints_import_no_search(imported, start):
    reached, found = set(), [name for name in imported if name.startswith(start)]
    while found:
        name = found.pop()
        if name not in reached:
            reached.add(name)
            found += imported[name]
    assert not [name for name in reached if name.startswith('ean_mm.search')]
