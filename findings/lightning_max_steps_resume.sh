#!/usr/bin/env bash
# Lightning 2.6.6: with `max_steps` set, even far out of reach, a resumed training loses most of an epoch without a word.
#
# A good guess: a checkpoint from the end of an epoch goes on with the next epoch, whether the training is bounded by
#   max_epochs alone or by max_epochs=3 and max_steps=1000 (12 steps are all there are).
# Seen (lightning 2.6.6, torch 2.14.1, Python 3.11, 2026-11-30), 3 epochs of 4 batches, ModelCheckpoint that saves at the
#   end of each training epoch:
#     max_steps=-1    resumed after epoch 0: trains epochs 1 and 2, 8 batches, global_step 12
#     max_steps=1000  resumed after epoch 0: trains 1 batch of epoch "0" and 4 of epoch "1", global_step 9 in place of 12
#     max_steps=1000  resumed after epoch 1: trains 1 batch,                                 global_step 9 in place of 12
#   The training then ends as if it were complete; learning rates, best checkpoint and metrics are those of another run.
# Read: lightning/pytorch/loops/fit_loop.py, the setter of `restarting`: with max_steps it is true whatever the saved
#   progress says, so that a state saved in on_train_epoch_end is taken for one from within the epoch. Its neighbour
#   https://github.com/Lightning-AI/pytorch-lightning/issues/19617 is about max_steps that fall on the end of an epoch.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${FINDINGS_PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$folder/venv"
    python=$folder/venv/bin/python
    "$python" -m pip install --quiet lightning==2.6.6 torch==2.14.1
fi
cd "$folder"

"$python" - <<'EOF'
import logging
import sys
import warnings

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.batches = 0

    def training_step(self, batch, index):
        self.batches += 1
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(folder, max_steps, resume=None):
    model = Model()
    saves = ModelCheckpoint(folder, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=3, max_steps=max_steps, accelerator="cpu", callbacks=[saves], **quiet)
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2), ckpt_path=resume)
    return model.batches, trainer.global_step


seen = {}
for max_steps in (-1, 1000):
    seen[max_steps, "whole"] = train(f"whole{max_steps}", max_steps)
    for epoch in (0, 1):
        checkpoint = f"whole{max_steps}/epoch={epoch}.ckpt"
        seen[max_steps, f"resumed after epoch {epoch}"] = train("resumed", max_steps, checkpoint)
for (max_steps, what), (batches, steps) in seen.items():
    print(f"max_steps={max_steps}, {what}: {batches} batches trained, global_step {steps}")

expected = [(12, 12), (8, 12), (4, 12), (12, 12), (5, 9), (1, 9)]
print(f"lightning {pl.__version__}, torch {torch.__version__}")
sys.exit(0 if list(seen.values()) == expected else f"changed: {seen}, expected {expected}")
EOF
