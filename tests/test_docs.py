"""The documentation holds: links, paths, configs, options and messages exist."""

import ast
import inspect
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ean_mm
from ean_mm import search

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / 'README.md',
    ROOT / 'configs/README.md',
    ROOT / 'model_zoo/README.md',
    *sorted((ROOT / 'docs').rglob('*.md')),
]
CODE = re.compile(r'```.*?```|`[^`]*`', re.S)
FOLDERS = 'configs', 'docs', 'ean_mm', 'model_zoo', 'requirements', 'tests', 'tools'
PATH = re.compile(rf'(?<![\w./-])(?:{"|".join(FOLDERS)})/[\w./{{}},\[\]*-]*[\w}}/]')


def relative(path):
    return str(path.relative_to(ROOT))


def expand(pattern):
    """The file names that braces stand for."""
    parts = re.split(r'\{([^}]*)\}', pattern)
    choices = [part.split(',') if i % 2 else [part] for i, part in enumerate(parts)]
    return [''.join(choice) for choice in itertools.product(*choices)]


def anchors(page):
    """The anchors of a page's headings, as Markdown makes them."""
    text = page.read_text()
    for name, section in re.findall(r'--8<-- "([^":]+):(\w+)"', text):
        included = (ROOT / name).read_text()
        text += included.split(f'[start:{section}]')[1].split(f'[end:{section}]')[0]
    headings = re.findall(r'^#+ (.*)', re.sub(r'```.*?```', '', text, flags=re.S), re.M)
    plain = (re.sub(r'[^\w\s-]', '', heading).strip().lower() for heading in headings)
    return {re.sub(r'[\s-]+', '-', heading) for heading in plain}


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_links_lead_somewhere(page):
    text = CODE.sub('', page.read_text())
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in link:
            continue
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor and target.suffix == '.md':
            assert anchor in anchors(target), link


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_paths_in_the_text_exist(page):
    text = page.read_text()
    written = set(re.findall(r'title="([^"]+)"|```python\n# (\S+\.py)', text))
    written = {path for paths in written for path in paths}
    for pattern in set(PATH.findall(text)) - written:
        for path in expand(pattern.replace('[', '{,').replace(']', '}')):
            assert list(ROOT.glob(path.rstrip('/'))), path


@pytest.mark.parametrize('folder', ['ean', 'ean_det', 'ean_seg'])
def test_every_config_is_listed_once(folder):
    text = (ROOT / 'docs/configs.md').read_text()
    section = text.split(f'`configs/{folder}`\n')[1].split('\n##')[0]
    listed = [
        name
        for pattern in re.findall(r'^\| `([^`]+)`', section, re.M)
        for name in expand(pattern)
    ]
    present = [path.name for path in (ROOT / 'configs' / folder).glob('*.py')]
    assert sorted(listed) == sorted(present)


@pytest.mark.parametrize(
    'cls',
    [
        ean_mm.EANResNet,
        ean_mm.SharedAttentionNeck,
        ean_mm.SupernetHook,
        ean_mm.EANSearchHook,
        search.Reward,
        search.ControllerSettings,
        ean_mm.HeldOutSplit,
    ],
    ids=lambda cls: cls.__name__,
)
def test_listed_options_exist(cls):
    title = {'ControllerSettings': 'RLController'}.get(cls.__name__, cls.__name__)
    text = (ROOT / 'docs/configs.md').read_text()
    section = text.split(f'\n### {title}\n')[1].split('\n##')[0]
    options = re.findall(r'^\| `(\w+)`', section, re.M)
    assert options
    assert set(options) <= set(inspect.signature(cls).parameters)


def messages():
    """All texts in the sources, with … for what is filled in."""
    texts = [path.read_text() for path in (ROOT / 'tools').glob('*.sh')]
    texts = [re.sub(r'"?\$(\w+|\{[^}]*\}|\([^)]*\))"?', '…', text) for text in texts]
    for path in [*(ROOT / 'ean_mm').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                values = (getattr(part, 'value', None) for part in node.values)
                texts.append(''.join(v if isinstance(v, str) else '…' for v in values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


# What PyTorch, mmengine, mmcv, OpenCV and the network say.
FOREIGN = {
    "No module named 'mmcv._ext'",
    'MMCV==… is used but incompatible',
    'libGL.so.1: cannot open shared object file',
    'mmengine does not support to load ean_mm config.',
    'EANResNet is not in the mmpretrain::model registry',
    'selected index k out of range',
    'Weights only load failed',
    'Found no NVIDIA driver on your system',
    'Expected to have finished reduction in the prior iteration before starting a '
    'new one',
}


def test_quoted_messages_are_in_the_sources():
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    quoted = set(re.findall(r'^`([^`]+)`$', page, re.M))
    assert quoted > FOREIGN
    texts = messages()
    for message in quoted - FOREIGN:
        parts = re.escape(message).split('…')
        pattern = re.compile('.*'.join(parts), re.S)
        assert any(pattern.search(text) for text in texts), message


def test_every_public_name_is_in_the_api():
    pages = ''.join(page.read_text() for page in (ROOT / 'docs/api').glob('*.md'))
    listed = set(re.findall(r'^::: ([\w.]+)', pages, re.M))
    for name in set(ean_mm.__all__) - {'__version__'}:
        module = getattr(ean_mm, name).__module__
        packages = {module, module.rsplit('.', 1)[0], module.rsplit('.', 2)[0]}
        assert f'ean_mm.{name}' in listed or packages & listed, name


@pytest.mark.slow
@pytest.mark.parametrize('name', ['attention', 'deployment'])
def test_a_page_runs_as_written(name, tmp_path):
    for folder in ('configs', 'ean_mm', 'model_zoo', 'tools'):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / 'model-index.yml', tmp_path)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ['PATH']))
    environment = dict(os.environ, PATH=path, PYTHONPATH=str(tmp_path))
    page = (ROOT / f'docs/how-to/{name}.md').read_text()
    blocks = re.findall(r'```(\w+)(?: title="([^"]+)")?\n(.*?)```', page, re.S)
    for language, title, text in blocks:
        if title:
            (tmp_path / title).write_text(text)
        elif language == 'bash':
            run = subprocess.run(
                ['bash', '-ec', text], cwd=tmp_path, env=environment,
                capture_output=True, text=True)  # fmt: skip
            assert run.returncode == 0, run.stderr[-2000:]
