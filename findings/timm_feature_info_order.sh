#!/usr/bin/env bash
# timm 1.0.31: feature maps do not come in the order that `feature_info` describes.
#
# A good guess: timm.create_model(name, features_only=True, out_indices=(4, 2)) returns the maps 4 and 2, and
#   feature_info.channels() lists their channels in the same order; (3, 3) is refused or gives one entry in both.
# Seen (timm 1.0.31, torch 2.14.1, Python 3.11, 2026-11-30): feature_info keeps the order and the repetition of
#   out_indices, the maps come in the order of the network, each once. A decoder that is built from feature_info, as every
#   one is, gets maps of other channels: an error where they differ, and silently swapped skips where they agree, as in
#   a plain vision transformer with maps of one width. By kind of wrapper, with out_indices=(4, 2) or (3, 3):
#     resnet18            FeatureListNet   channels [512, 128]  maps [128, 512];  [256, 256]  [256]
#     mobilenetv3_small   MobileNetV3Features  the same: [576, 24] against [24, 576]
#     vit_tiny_patch16    FeatureGetterNet (11, 3): feature_info names blocks 11 and 3, the maps are those of 3 and 11
# Read: timm/models/_features.py, FeatureInfo.get (order of out_indices) beside FeatureDictNet._collect and
#   FeatureHooks.get_output (order of the forward pass).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${FINDINGS_PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$folder/venv"
    python=$folder/venv/bin/python
    "$python" -m pip install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1
fi

"$python" - <<'EOF'
import sys

import timm
import torch


def described_and_returned(name, out_indices):
    net = timm.create_model(name, features_only=True, out_indices=out_indices).eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, 224, 224))
    described, returned = net.feature_info.channels(), [m.shape[1] for m in maps]
    print(f"{name} {type(net).__name__} {out_indices}: feature_info {described}, maps {returned}")
    return described, returned


def blocks_in_order(name, out_indices):
    """The blocks that feature_info names, and whether the maps are those of the reversed order."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 224, 224)
    net = timm.create_model(name, features_only=True, out_indices=out_indices).eval()
    torch.manual_seed(1)
    state = {key: torch.randn_like(value) * 0.02 for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    sorted_net = timm.create_model(name, features_only=True, out_indices=tuple(sorted(out_indices))).eval()
    sorted_net.load_state_dict(state)
    with torch.no_grad():
        same = all(torch.equal(a, b) for a, b in zip(net(image), sorted_net(image)))
    named = net.feature_info.module_name()
    print(f"{name} {type(net).__name__} {out_indices}: feature_info {named}, maps in the order of the network: {same}")
    return named, same


seen = [
    described_and_returned("resnet18", (4, 2)),
    described_and_returned("resnet18", (3, 3)),
    described_and_returned("mobilenetv3_small_100", (4, 2)),
    blocks_in_order("vit_tiny_patch16_224", (11, 3)),
]
expected = [
    ([512, 128], [128, 512]),
    ([256, 256], [256]),
    ([576, 24], [24, 576]),
    (["blocks.11", "blocks.3"], True),
]
print(f"timm {timm.__version__}, torch {torch.__version__}")
sys.exit(0 if seen == expected else f"changed: {seen}, expected {expected}")
EOF
