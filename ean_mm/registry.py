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

# Here, so that what they assert is one line and what they print is no output of ours.
import_toolbox('mmpretrain.models')
import_toolbox('mmpretrain.datasets')
for _parent in vars(import_toolbox('mmpretrain.registry')).copy().values():
    if isinstance(_parent, Registry) and _parent.parent is not None:
        Registry(_parent.name, parent=_parent, scope='ean_mm', locations=_LOCATIONS)

# mmengine finds configs by the name of a package. The name of a module does as
# well, and leads to the right folder where that of an editable installation would not.
MODULE2PACKAGE['ean_mm'] = 'ean_mm.version'
# In the onedl packages this is mmsegmentation, which is not the name of theirs.
MODULE2PACKAGE['mmseg'] = 'mmseg'
