"""Package EAN-MM. The OpenMMLab toolboxes and PyTorch are extras, so that installing
EAN-MM into an environment that has them replaces nothing there."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name):
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


# mmcv is not in the files because it has no wheel for today's PyTorch: tools/install.sh
# compiles it. mmdet 3.3 and mmsegmentation 1.2 refuse 2.2.
OPENMMLAB = ['mmcv>=2.0,<2.2', *requirements('openmmlab')]
OPTIONAL = ('search', 'deploy', 'report', 'visualization')
# Classification calls no operators of mmcv: mmcv-lite is the rest, in pure Python.
CLASSIFICATION = [
    *('torch>=2.6', 'torchvision', 'mmcv-lite==2.1.*'),
    *(each for each in requirements('openmmlab') if each[:5] not in ('mmdet', 'mmseg')),
    *requirements('report'),
]

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
        'ean_mm': ['py.typed', 'masks/*.json', '.mim/model-index.yml']
        + [f'.mim/{part}/**/*' for part in ('configs', 'tools')],
        'ean_mm.scaffold': ['*.jinja'],
        'ean_mm.visualization.report': ['*.jinja'],
    },
    # The tables of this repository are no use without it.
    exclude_package_data={'': ['*.pyc'], 'ean_mm': ['.mim/tools/experiments/**']},
    install_requires=requirements('runtime'),
    entry_points={'console_scripts': ['ean-mm=ean_mm.__main__:main']},
    extras_require={
        # one of two: their packages have the same import names
        'openmmlab': OPENMMLAB,
        'onedl': ['onedl-mmcv==2.3.*', *requirements('onedl')],
        # without compiling
        'classification': CLASSIFICATION,
        # for a single toolbox
        'mmpretrain': [
            each for each in OPENMMLAB if each[:5] not in ('mmdet', 'mmseg')
        ],
        'mmdet': [each for each in OPENMMLAB if not each.startswith('mmseg')],
        'mmseg': [each for each in OPENMMLAB if not each.startswith('mmdet')],
        **{name: requirements(name) for name in OPTIONAL},
        'dev': [line for name in (*OPTIONAL, 'dev') for line in requirements(name)],
    },
)
