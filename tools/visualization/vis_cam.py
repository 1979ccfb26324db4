"""Draw Grad-CAM heat maps of several networks side by side.

A network is a name of the model zoo, or a config and a checkpoint:

    python tools/visualization/vis_cam.py docs/images/cam.png --num 3 \\
        --target-layer backbone.layer2 \\
        resnet20_digits resnet20_se_everywhere_digits resnet20_se_digits
    python tools/visualization/vis_cam.py cam.png --images cat.jpg dog.jpg \\
        configs/ean/resnet50_se.py work_dirs/resnet50_se/epoch_120.pth

The heat map is of the class that the network predicts. With CIFAR-10 in data/cifar10,
--num 10 resnet20_cifar10-10k resnet20_se_everywhere_cifar10-10k
resnet20_se_cifar10-10k draws an image of each class.
"""

import argparse
import copy
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain import ImageClassificationInferencer, get_model
from torch import Tensor, nn

from cam_plot import Attended, draw_cams
from ean_mm import EANError
from ean_mm.checkpoints import load_trained, read_checkpoint
from ean_mm.config_types import type_name
from ean_mm.launch import check, explain_errors, load_config
from ean_mm.models import masked_modules
from ean_mm.visualization import require_picture
from ean_mm.zoo import find_network

try:
    from pytorch_grad_cam import GradCAM
except ImportError:
    GradCAM = None

Batch = Dict[str, Any]
"""of one image, as a data loader gives it"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', help='picture to write: .png, .svg or .pdf')
    parser.add_argument(
        'networks', nargs='+', help='names of the zoo, or CONFIG CHECKPOINT'
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--images', nargs='+', metavar='FILE', help='images to draw')
    source.add_argument(
        '--num',
        type=int,
        help="draw so many test images of the config's data set, class by class",
    )
    parser.add_argument(
        '--target-layer',
        metavar='NAME',
        help='layer to take the maps of, as backbone.layer2; default: the last stage',
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder to read every data set from'
    )
    return parser.parse_args()


class Classifier:
    """A trained classifier and its data.

    Args:
        config: Path of the config.
        checkpoint: Path of the checkpoint, whose mask is set.
        data_root: Folder to read every data set from, None to keep the config's.
    """

    def __init__(self, config: str, checkpoint: str, data_root: Optional[str]) -> None:
        self.cfg = load_config(config, None, data_root)
        kind = type_name(self.cfg.model)
        if kind != 'ImageClassifier':
            raise EANError(f'{config} is of a {kind}, no classifier')
        content = read_checkpoint(checkpoint)
        named = copy.deepcopy(self.cfg)
        if 'test_dataloader' in named:  # get_model looks the data set's name up
            dataset = named.test_dataloader.dataset
            dataset.type = type_name(dataset)
        self.model = load_trained(get_model(named), content)
        try:
            self.classes = list(map(str, content['meta']['dataset_meta']['classes']))
        except (KeyError, TypeError) as error:
            raise EANError(f'{checkpoint} does not name its classes') from error

    @property
    def title(self) -> str:
        """The attention and the mask."""
        titles = []
        for module in masked_modules(self.model).values():
            attention = type_name(module.attention).replace('Attention', '')
            if getattr(module, 'share', 'stage') == 'block':
                attention = f'unshared {attention}'
            everywhere = all(module.mask.bits)
            where = 'in every block' if everywhere else f'at {module.mask}'
            titles.append(f'{attention} {where}')
        return ', '.join(titles) or 'no attention'

    def read_files(self, paths: List[str]) -> List[Batch]:
        """Return image files as the test pipeline makes them, each a batch."""
        inferencer = ImageClassificationInferencer(self.model, classes=self.classes)
        try:
            return list(inferencer.preprocess(paths))
        except (OSError, ValueError) as error:
            raise EANError(f'an image cannot be read: {error}') from error

    def read_test_set(self, num: int) -> List[Batch]:
        """Return the first test image of each class, then the second, ..., as above."""
        check(self.cfg, ('test_dataloader',))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            dataset = DATASETS.build(self.cfg.test_dataloader.dataset)
        labels = dataset.get_gt_labels()
        turn = [(labels[:i] == label).sum() for i, label in enumerate(labels)]
        order = np.lexsort((labels, turn))
        return [default_collate([dataset[int(i)]]) for i in order[:num]]

    def look(self, batch: Batch, layer: Optional[str] = None) -> Attended:
        """Return where the network looks in an image.

        Args:
            batch: What one of the two methods above returns.
            layer: Name of a layer of the model; by default the last stage, or block
                of a backbone that is no ResNet.
        """
        backbone = self.model.backbone
        names = getattr(backbone, 'res_layers', None) or backbone.block_names[-1]
        last = f'backbone.{names[-1]}'
        layers = dict(self.model.named_modules())
        if (layer or last) not in layers:
            raise EANError(f'there is no layer {layer!r} in the model; one is {last!r}')
        inputs = self.model.data_preprocessor(batch, False)['inputs']
        heat, logits = grad_cam(self.model, layers[layer or last], inputs)
        probability, predicted = logits.softmax(1)[0].max(0)
        return Attended(heat[0], self.classes[predicted], probability.item())

    def image(self, batch: Batch) -> np.ndarray:
        """Return the image of a batch, ``(H, W, 3)``, RGB from 0 to 255."""
        (image,) = batch['inputs']
        if self.model.data_preprocessor.to_rgb:  # it is BGR until then
            image = image.flip(0)
        return image.permute(1, 2, 0).expand(-1, -1, 3).byte().numpy()

    def label(self, batch: Batch) -> Optional[str]:
        """Return the name of the true class of an image, None if it has no label."""
        (sample,) = batch['data_samples']
        return self.classes[sample.gt_label.item()] if 'gt_label' in sample else None


def grad_cam(
    model: nn.Module, layer: nn.Module, inputs: Tensor
) -> Tuple[np.ndarray, Tensor]:
    """Compute the Grad-CAM of the classes that a model predicts.

    Source: Selvaraju et al. (https://arxiv.org/abs/1610.02391).

    Args:
        model: A classifier in eval mode.
        layer: A layer of it that is called once and returns ``(N, C, h, w)``.
        inputs: Preprocessed images ``(N, C_in, H, W)``.

    Returns:
        Heat maps ``(N, H, W)`` from 0 to 1, and the logits ``(N, classes)``.

    Raises:
        ValueError: The layer is another one.
    """
    require_map(model, layer, inputs)
    cam = GradCAM(model=model, target_layers=[layer])
    # The residual blocks overwrite maps, and are given a copy of what is kept here.
    handle = layer.register_forward_hook(lambda _, args, output: output.clone())
    try:
        heat = cam(inputs, targets=None)
    finally:
        cam.activations_and_grads.release()
        handle.remove()
    return heat, cam.outputs.detach()


@torch.no_grad()
def require_map(model: nn.Module, layer: nn.Module, inputs: Tensor) -> None:
    """Refuse a layer that does not give one map ``(N, C, h, w)``."""
    outputs = []
    handle = layer.register_forward_hook(lambda _, args, out: outputs.append(out))
    try:
        model(inputs)
    finally:
        handle.remove()
    if [getattr(output, 'ndim', None) for output in outputs] != [4]:
        raise EANError(
            f'the target layer, a {type(layer).__name__}, gives {len(outputs)} results '
            'and not one map (N, C, H, W); take a stage, a convolution or a norm layer'
        )


def read_networks(names: List[str], data_root: Optional[str]) -> List[Classifier]:
    """Load the networks that the command line names."""
    names, networks = list(names), []
    while names:
        name = names.pop(0)
        if not name.endswith('.py'):
            config, checkpoint = find_network(name)
        elif names:
            config, checkpoint = name, names.pop(0)
        else:
            raise EANError(f'name the checkpoint of {name} behind it')
        networks.append(Classifier(config, checkpoint, data_root))
    return networks


def main() -> None:
    args = parse_args()
    if GradCAM is None:
        raise EANError('Grad-CAM needs another package: pip install grad-cam')
    if args.num is not None and args.num < 1:
        raise EANError(f'--num {args.num} must be at least 1')
    require_picture(args.out)
    columns = []
    for network in read_networks(args.networks, args.data_root):
        if args.images:
            batches = network.read_files(args.images)
        else:
            batches = network.read_test_set(args.num)
        cams = [network.look(batch, args.target_layer) for batch in batches]
        columns.append((network.title, cams))
    images, labels = zip(*((network.image(b), network.label(b)) for b in batches))
    figure = draw_cams(images, labels, columns)
    figure.savefig(args.out, dpi=100)


if __name__ == '__main__':
    explain_errors(main)
