#!/usr/bin/env bash
# supervision 0.31.2: every Pascal VOC file is read as VOC's own, so that boxes of other tools grow by a pixel.
#
# A good guess: DetectionDataset.from_pascal_voc gives the corners of a file's <bndbox> as they are written, as its readers of
#   COCO, YOLO and Create ML do; or it reads those of the VOC challenge, which count pixels from 1, apart from the others.
# Seen (supervision 0.31.2, Python 3.11, 2026-11-30): 1 is subtracted from xmin and ymin of every file, and nothing from xmax
#   and ymax. That is right for VOC itself (its 1 1 8 6 are all pixels of an image of 8x6, here 0 0 8 6), whose <source>
#   names "The VOC2012 Database". LabelImg and the exports of most tools count edges from 0, and their boxes
#   grow to the left and to the top; one at the image's edge leaves it:
#     <database>Unknown</database>, 0 0 4 3 of 8x6      from_pascal_voc: -1 -1 4 3
#     the same box in COCO, [0, 0, 4, 3]                from_coco:        0  0 4 3
#   Written by as_pascal_voc (1 1 4 3) and read again it is the same, so a round trip does not show it.
# Read: supervision/dataset/formats/pascal_voc.py, `xyxy_arr[:, :2] -= 1`, without a look at <source>.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${FINDINGS_PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$folder/venv"
    python=$folder/venv/bin/python
    "$python" -m pip install --quiet supervision==0.31.2
fi
cd "$folder"

"$python" - <<'EOF'
import json
import sys
from pathlib import Path

import supervision as sv
from PIL import Image

Image.new("RGB", (8, 6)).save("0.png")
Path("0.xml").write_text(
    "<annotation><filename>0.png</filename><source><database>Unknown</database></source><size><width>8</width>"
    "<height>6</height><depth>3</depth></size><object><name>cat</name><bndbox><xmin>0</xmin><ymin>0</ymin>"
    "<xmax>4</xmax><ymax>3</ymax></bndbox></object></annotation>"
)
Path("a.json").write_text(
    json.dumps(
        {
            "images": [{"id": 1, "file_name": "0.png", "width": 8, "height": 6}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 3], "area": 12, "iscrowd": 0}],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )
)
seen = {
    "from_pascal_voc": sv.DetectionDataset.from_pascal_voc(".", "."),
    "from_coco": sv.DetectionDataset.from_coco(".", "a.json"),
}
seen = {name: [found.xyxy.tolist() for found in data.annotations.values()] for name, data in seen.items()}
for name, boxes in seen.items():
    print(name, boxes)
print(f"supervision {sv.__version__}")
expected = {"from_pascal_voc": [[[-1.0, -1.0, 4.0, 3.0]]], "from_coco": [[[0.0, 0.0, 4.0, 3.0]]]}
sys.exit(0 if seen == expected else f"changed: {seen}, expected {expected}")
EOF
