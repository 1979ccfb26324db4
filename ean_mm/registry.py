"""The scope ``ean_mm``, which ``_base_ = 'ean_mm::...'`` stamps on what it inherits.

In it, names mean what they mean in our configs: modules of mmpretrain, or of mmengine,
in whose root registries EAN-MM's own modules are.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from ean_mm.compat import import_toolbox

_LOCATIONS = [
    f'mmpretrain.{part}'
    for part in ('datasets', 'engine', 'evaluation', 'models', 'visualization')
]

import_toolbox('mmpretrain.models')  # here, so that what it asserts is one line
for _parent in vars(import_toolbox('mmpretrain.registry')).copy().values():
    if isinstance(_parent, Registry) and _parent.parent is not None:
        Registry(_parent.name, parent=_parent, scope='ean_mm', locations=_LOCATIONS)

# mmengine finds configs by the name of a package. The name of a module does as
# well, and leads to the right folder where that of an editable installation would not.
MODULE2PACKAGE['ean_mm'] = 'ean_mm.version'
