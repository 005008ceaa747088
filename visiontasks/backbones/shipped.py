"""Where the weights that come inside the package lie.

To ship weights of a network: save pretrained/<architecture>.<tag>.safetensors, and give the tag's pretrained
cfg `file=shipped_file("<architecture>.<tag>")`. timm then loads them for pretrained=True, without network.
"""

from pathlib import Path

PRETRAINED_FOLDER = Path(__file__).parent / "pretrained"


def shipped_file(name: str) -> str:
    """Path of the weights of the timm name `<architecture>.<tag>` inside the package."""
    return str(PRETRAINED_FOLDER / f"{name}.safetensors")
