"""Batch norms folded into the convolutions before them, for inference."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution that its module lists right before it.

    That order is how the modules of this package declare a convolution and the norm of its output.
    The network must be in evaluation mode and in float32; it is changed in place and computes the
    same function, for inference only (its state no longer fits a checkpoint).
    """
    for module in network.modules():
        previous = ""
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous:
                convolution = getattr(module, previous)
                setattr(module, previous, fuse_conv_bn_eval(convolution, child))
                setattr(module, name, nn.Identity())
            previous = name if isinstance(child, nn.Conv2d) else ""
    return network
