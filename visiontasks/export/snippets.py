"""Lines that a model card shows; those that check a folder run in it without this package."""

TIMM_CHECK = """
import json
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

model = timm.create_model("local-dir:.", pretrained=True).eval()
rule, check = (json.loads(Path(name).read_text()) for name in ("preprocessing.json", "check.json"))
mean, std = (torch.tensor(rule[name]).view(-1, 1, 1) for name in ("mean", "std"))
for entry in check["images"]:
    pixels = torch.tensor(np.array(Image.open(entry["input"]))).permute(2, 0, 1).float()
    if rule["network_channels"] == 1:
        pixels = pixels.mean(0, keepdim=True)
    with torch.no_grad():
        logits = model(((pixels / rule["scale"] - mean) / std)[None])
    probability = (logits / TEMPERATURE).softmax(1)[0]
    difference = (probability - torch.tensor(entry["probability"])).abs().max()
    assert difference < check["tolerance"]["probability"], difference
    print(entry["source"], entry["predicted"], float(probability.max()))
"""

PROGRAM_CHECK = """
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

model = torch.export.load("model.pt2").module()
check = json.loads(Path("check.json").read_text())
tolerance = check["tolerance"]
for entry in check["images"]:
    image = torch.tensor(np.array(Image.open(entry["image"])))[None]  # uint8 (1, H, W, 3), RGB
    with torch.no_grad():
        answer = model(image)
    expected = entry["graph"]  # the rest of the entry is of another resize, which may differ by a grey level
    if "mask" in expected:
        share = (answer["mask"][0].numpy() != np.array(Image.open(expected["mask"]))).mean()
        assert share <= tolerance["mask_share"], share
    if "boxes" in expected:
        boxes, scores, labels = (answer[name][0][:, None] for name in ("boxes", "scores", "labels"))
        stored = torch.tensor(expected["scores"])
        same = (labels == torch.tensor(expected["labels"])) & ((scores - stored).abs() <= tolerance["score"])
        same &= (boxes - torch.tensor(expected["boxes"]).reshape(-1, 4)).abs().amax(2) <= tolerance["box_px"]
        least = entry["threshold"] + tolerance["score"]  # what is nearer to the threshold may be there or not
        wrong = (same.any(1) < (scores[:, 0] > least)).sum() + (same.any(0) < (stored > least)).sum()
        assert wrong == 0, f"{wrong} objects are only in one of answer and check.json"
    for name, most in (("probability", tolerance["probability"]), ("box", tolerance["box_px"])):
        if name in expected:
            difference = (answer[name][0] - torch.tensor(expected[name])).abs().max()
            assert difference <= most, difference
    print(entry["source"], {name: tuple(values.shape) for name, values in answer.items()})
"""

READ = """
from PIL import Image, ImageOps

pixels = np.array(ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB"))
"""

READ_16BIT = """
import cv2

values = cv2.imread("image.png", cv2.IMREAD_UNCHANGED).astype(int)  # 16 bits, of which {white} is white
values = values[..., 2::-1] if values.ndim == 3 else values[..., None].repeat(3, axis=2)  # RGB
pixels = ((values * 255 + {white} // 2) // {white}).astype(np.uint8)
"""

ONNX_USE = """
import json

import numpy as np
import onnxruntime
{read}
session = onnxruntime.InferenceSession("model.onnx")
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
answer = dict(zip((o.name for o in session.get_outputs()), session.run(None, {{"image": pixels[None]}})))
print(classes, {{name: values.shape for name, values in answer.items()}})
"""

PROGRAM_USE = """
import json
from pathlib import Path

import numpy as np
import torch
{read}
model = torch.export.load("model.pt2").module()
classes = json.loads(Path("classes.json").read_text())
with torch.no_grad():
    answer = model(torch.tensor(pixels)[None])
print(classes, {{name: tuple(values.shape) for name, values in answer.items()}})
"""

FEATURES = """
import timm

backbone = timm.create_model("local-dir:.", pretrained=True, {view})
"""

OUR_USE = """
from visiontasks import load_exported

trained = load_exported(".")
"""
