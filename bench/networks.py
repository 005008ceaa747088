"""docs/networks.md: what the classic networks cost, as `visiontasks summary` counts it, beside what was published.

python bench/networks.py          # prints the page
python bench/networks.py --write  # writes it
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visiontasks.summary import Summary, summarize_backbone

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"

SOURCES = {
    "LeCun 1998": (
        "LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition, section II.B"
    ),
    "Krizhevsky 2012": (
        "Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep Convolutional Neural Networks, abstract"
    ),
    "Chen 2016": "Chen, Krishna, Emer, Sze, Eyeriss, ISSCC 2016: convolutions only",
    "Simonyan 2014": (
        "Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, table 2"
    ),
    "Szegedy 2014": "Szegedy et al., Going Deeper with Convolutions, table 1, its columns added up",
    "He 2015": "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, table 1 and section 3.3",
    "Radosavovic 2020": (
        "Radosavovic, Kosaraju, Girshick, He, Dollar, Designing Network Design Spaces, and its model zoo (pycls):"
        " activations are the outputs of convolutions"
    ),
    "CS231n": (
        "Stanford's course CS231n, lecture on architectures: the image and the outputs of convolutions, pools and"
        " dense layers"
    ),
    "torchvision": "torchvision's documentation of its weights (their `num_params` and `_ops`)",
}

NOTES = {
    "lenet": (
        "LeNet-5: every map of C3 sees all maps of S2 (900 more weights, 90,000 more multiply-adds), the output "
        "is a dense layer (850 parameters more), the pools are not trained (44 fewer). The paper counts "
        "connections: the biases (6,508) and the pools (7,880) too. 340,908 - 6,508 - 7,880 + 90,000 = 416,520."
    ),
    "alexnet": (
        "AlexNet: the paper rounds, and counts neurons on an image of 224, which does not give its 55x55 map. The"
        " convolutions alone have 666 M here too; the dense layers add 58.6 M."
    ),
    "zfnet": "ZFNet: the paper gives no totals.",
    "vgg": (
        "VGG-16 and 19: 15.3 are the convolutions alone (here 15.35), 19.6 are with the dense layers; the VGG "
        "paper itself gives no multiply-adds."
    ),
    "vgg_activations": (
        "VGG-16: 4,096 more than the published sum of 15,237,608, since timm pools the 1x1 map behind fc7 once more."
    ),
    "googlenet": (
        "GoogLeNet: torchvision's network, whose third branch is 3x3 where the paper has 5x5, with batch "
        "normalization instead of biases. With 5x5, with biases and without batch normalization it is 6,998,552 "
        "parameters and 1.58 G; the paper's table has less for the first layer (2.7 K weights, where 7x7x3x64 are"
        " 9.4 K)."
    ),
    "resnet": (
        "ResNet-50 to 152: timm and torchvision stride in the 3x3 convolution of a block, the paper in the 1x1 before "
        "it. With the paper's strides they have 3.86, 7.57 and 11.28 G."
    ),
    "resnet34": (
        "ResNet-34: the paper's table counts shortcuts without weights (option A); without their 1x1 convolutions it "
        "has 3.64 G here."
    ),
}


@dataclass(frozen=True)
class Published:
    """Totals of a network as its sources print them, each "value, source" or "" where none was found."""

    title: str
    name: str
    parameters: str = ""
    multiply_adds: str = ""
    activations: str = ""
    notes: tuple[str, ...] = ()


NETWORKS = (
    Published("LeNet-5", "lenet5", "60,000, LeCun 1998", "340,908, LeCun 1998", notes=("lenet",)),
    Published(
        "AlexNet", "alexnet", "60 M, Krizhevsky 2012", "666 M, Chen 2016", "650,000, Krizhevsky 2012", ("alexnet",)
    ),
    Published("ZFNet", "zfnet", notes=("zfnet",)),
    Published("VGG-11", "vgg11", "133 M, Simonyan 2014", "7.61 G, torchvision"),
    Published("VGG-13", "vgg13", "133 M, Simonyan 2014", "11.31 G, torchvision"),
    Published(
        "VGG-16", "vgg16", "138 M, Simonyan 2014", "15.3 G, He 2015", "15.2 M, CS231n", ("vgg", "vgg_activations")
    ),
    Published("VGG-19", "vgg19", "144 M, Simonyan 2014", "19.6 G, He 2015", notes=("vgg",)),
    Published("GoogLeNet", "googlenet", "6.8 M, Szegedy 2014", "1.5 G, Szegedy 2014", notes=("googlenet",)),
    Published("ResNet-18", "resnet18", "11.69 M, torchvision", "1.8 G, He 2015"),
    Published("ResNet-34", "resnet34", "21.80 M, torchvision", "3.6 G, He 2015", notes=("resnet34",)),
    Published(
        "ResNet-50", "resnet50", "25.56 M, torchvision", "3.8 G, He 2015", "11.1 M, Radosavovic 2020", ("resnet",)
    ),
    Published(
        "ResNet-101", "resnet101", "44.6 M, Radosavovic 2020", "7.6 G, He 2015", "16.2 M, Radosavovic 2020", ("resnet",)
    ),
    Published(
        "ResNet-152",
        "resnet152",
        "60.2 M, Radosavovic 2020",
        "11.3 G, He 2015",
        "22.6 M, Radosavovic 2020",
        ("resnet",),
    ),
)

HEADER = (
    "network",
    "image",
    "parameters",
    "published",
    "multiply-adds",
    "published",
    "activations",
    "of convolutions and dense layers",
    "published",
    "note",
)

INTRODUCTION = """\
# What the networks cost

The totals of `visiontasks summary NETWORK` beside the published ones. Parameters are weights and biases, those of batch
normalization included, its running statistics not. Multiply-adds are those of convolutions and dense layers for one
image, without biases, pools, normalization and activation functions. Activations are the image and all values that a
forward pass in evaluation makes and that take memory of their own (ReLU works in place here); beside them those that
convolutions and dense layers give, which papers on network design call activations.

Memory is a rule of thumb: forward counts every activation in float32 and frees none, forward and backward twice that.
What autograd keeps for the backward pass is 1.20 times the forward figure in VGG-16 (the places of the pools' maxima
are kept too), 0.95 in ResNet-50, 0.93 in ConvNeXt-T, and 2.20 in AlexNet, where every step of the response
normalization is kept; gradients are freed as they are used. Optimizers are counted with all parameters trained: the
parameters, a gradient for each, and one (momentum) or two (Adam) further values.

This page is made by `python bench/networks.py --write`; a test compares it with what the command counts.
"""


def page() -> str:
    """The whole page."""
    noted = list(dict.fromkeys(note for network in NETWORKS for note in network.notes))
    lines = [INTRODUCTION, _line(HEADER), _line(["---"] * 2 + ["---:"] * 7 + ["---"])]
    lines += [row(network) for network in NETWORKS]
    lines += ["", *(f"{i}. {NOTES[note]}" for i, note in enumerate(noted, 1))]
    lines += ["", "Sources:", "", *(f"- {name}: {what}." for name, what in SOURCES.items())]
    return "\n".join([*lines, ""])


def row(network: Published) -> str:
    """One line of the table."""
    noted = list(dict.fromkeys(note for network in NETWORKS for note in network.notes))
    summary: Summary = summarize_backbone(network.name)
    return _line(
        [
            f"{network.title} (`{network.name}`)",
            "x".join(map(str, summary.image)),
            f"{summary.parameters:,}",
            network.parameters,
            f"{summary.multiply_adds:,}",
            network.multiply_adds,
            f"{summary.activations:,}",
            f"{summary.product_outputs:,}",
            network.activations,
            ", ".join(str(1 + noted.index(note)) for note in network.notes),
        ]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print docs/networks.md.")
    parser.add_argument("--write", action="store_true", help=f"write it to {PAGE}")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
