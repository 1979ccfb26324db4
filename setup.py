"""Package EAN-MM. The OpenMMLab toolboxes and PyTorch are extras, so that installing
EAN-MM into an environment that has them replaces nothing there."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name):
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


# mmdet 3.3 and mmsegmentation 1.2 refuse mmcv 2.2
MMPRETRAIN = ['mmengine>=0.10', 'mmcv>=2.0,<2.2', 'mmpretrain>=1.2', 'ftfy', 'regex']

setup(
    name='ean_mm',
    version=runpy.run_path(str(ROOT / 'ean_mm' / 'version.py'))['__version__'],
    description='Shared attention in OpenMMLab ResNets, plugged in where it pays',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9',
    packages=find_packages(include=['ean_mm', 'ean_mm.*']),
    package_data={
        # .mim links to what mim and mmengine look for inside of an installed package
        'ean_mm': ['masks/*.json', '.mim/model-index.yml']
        + [f'.mim/{part}/**/*' for part in ('configs', 'tools')]
    },
    exclude_package_data={'': ['*.pyc']},
    install_requires=requirements('runtime'),
    extras_require={
        'openmmlab': requirements('openmmlab'),
        'mmpretrain': MMPRETRAIN,
        'mmdet': [*MMPRETRAIN, 'mmdet>=3.3'],
        'mmseg': [*MMPRETRAIN, 'mmsegmentation>=1.2'],
        'search': requirements('search'),
        'deploy': requirements('deploy'),
        'visualization': requirements('visualization'),
        'dev': [
            line
            for name in ('search', 'deploy', 'visualization', 'dev')
            for line in requirements(name)
        ],
    },
)
