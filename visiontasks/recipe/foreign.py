"""Names that users of other tools type, and ours: one table. In lower case, with dashes and without leading ones."""

OTHERS = {
    **dict.fromkeys(("max-epochs", "epoch", "num-epochs", "n-epochs", "nepochs", "num-train-epochs", "e"), "--epochs"),
    **dict.fromkeys(("learning-rate", "lr0", "base-lr", "init-lr", "lr-max", "max-lr"), "--lr"),
    **dict.fromkeys(("bs", "batch", "batchsize", "train-batch-size", "per-device-batch-size", "b"), "--batch-size"),
    **dict.fromkeys(("imgsz", "img-size", "imgsize", "img", "size", "input-size", "resolution"), "--image-size"),
    **dict.fromkeys(("arch", "architecture", "encoder", "network", "net", "model-name", "base-model"), "--backbone"),
    **dict.fromkeys(("checkpoint", "ckpt", "weight", "pretrained-weights", "pretrained-path"), "--weights"),
    **dict.fromkeys(("freeze-epoch", "frozen-epochs", "unfreeze-epoch"), "--freeze-epochs"),
    **dict.fromkeys(("num-workers", "nworkers", "n-workers", "dataloader-num-workers", "j"), "--workers"),
    **dict.fromkeys(("random-seed", "random-state", "manual-seed", "seed-everything"), "--seed"),
    **dict.fromkeys(("output-dir", "output", "outdir", "out-dir", "save-dir", "save-path", "run-dir", "o"), "--out"),
    **dict.fromkeys(("run-name", "exp-name", "experiment", "experiment-name", "exp"), "--name"),
    **dict.fromkeys(("dry-run", "fast-dev-run", "smoke", "smoke-test", "debug"), "--quick"),
    **dict.fromkeys(("data-dir", "data-path", "data-root", "dataset", "dataset-path", "root"), "--data.root"),
    **dict.fromkeys(("train-dir", "image-dir", "images-dir", "image-folder", "folder"), "--data.root"),
    **dict.fromkeys(("val-split", "valid-pct", "validation-split", "val-fraction", "val-size"), "--data.val_fraction"),
    **dict.fromkeys(("test-split", "test-fraction", "test-size"), "--data.test_fraction"),
    **dict.fromkeys(("augment", "augmentation", "transforms"), "--data.augment"),
    **dict.fromkeys(("optimizer", "optim", "opt"), "--model.optimizer"),
    **dict.fromkeys(("weight-decay", "wd"), "--model.optimizer.weight_decay"),
    **dict.fromkeys(("grad-clip", "clip-grad", "gradient-clip-val"), "--trainer.gradient_clip_val"),
    **{name: f"--model.{name.replace('-', '_')}" for name in ("head", "label-smoothing", "class-weights")},
    **{name: f"--trainer.{name}" for name in ("accelerator", "devices", "precision", "strategy", "compile")},
    **{name: f"--trainer.{name.replace('-', '_')}" for name in ("max-steps", "max-time", "num-nodes")},
    "momentum": "--model.optimizer.momentum",
    "init-from": "--init_from",
}
"""Names with the same meaning."""
ANSWERS = {
    **dict.fromkeys(
        ("gpus", "gpu", "ngpus", "num-gpus", "gpu-ids"),
        "--device cuda is one GPU, --device cuda:1 on the second, --device cpu on none; two: --trainer.devices 2",
    ),
    **dict.fromkeys(
        ("conf", "confidence", "conf-thres", "threshold", "iou-thres"),
        "nothing is cut off below a threshold: `visiontasks predict RUN IMAGES --out predictions.csv` writes the "
        "probability of each prediction",
    ),
    "freeze": "--freeze-epochs N trains the head alone for N epochs, --finetune.unfreeze never for all of them",
    **dict.fromkeys(
        ("patience", "early-stopping", "early-stop"),
        "the best epoch is stored in any case; to stop early as well: --trainer.callbacks EarlyStopping "
        "--trainer.callbacks.monitor val/loss --trainer.callbacks.patience 5",
    ),
    **dict.fromkeys(("amp", "fp16", "half", "bf16"), "--trainer.precision takes auto, bf16-mixed, 16-mixed or 32-true"),
    **dict.fromkeys(("num-classes", "nc", "n-classes"), "the number of classes comes from the data"),
    **dict.fromkeys(
        ("val-dir", "valid-dir", "test-dir", "val-data", "valid", "train-data"),
        "the splits are folders of one folder, train/, val/ and test/, whose path is given alone",
    ),
    "project": "--out FOLDER is the run's folder itself, --name NAME makes it runs/NAME/<start time>",
    **dict.fromkeys(("verbose-level", "log-level"), "-v prints more"),
}
"""Names without a counterpart, or with several, and what to do instead."""
FLAGS = frozenset(
    (
        *("quick", "pretrained", "no-pretrained", "no-augment", "cpu", "no-cuda", "dry-run", "fast-dev-run", "smoke"),
        *("smoke-test", "debug", "amp", "fp16", "half", "bf16", "early-stopping", "early-stop", "help", "print-config"),
    )
)
"""Names that may stand without a value."""
COMMANDS = {
    **dict.fromkeys(("train", "fit", "tune", "fine-tune", "fine_tune", "learn", "retrain"), "finetune"),
    **dict.fromkeys(("test", "eval", "evaluation", "benchmark"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "detect", "classify", "segment", "label", "predictions"), "predict"),
    **dict.fromkeys(("list", "ls", "models", "zoo"), "recipes"),
    **dict.fromkeys(("check", "check_data", "checkdata", "verify", "audit"), "check-data"),
    **dict.fromkeys(("convert", "save"), "export"),
    **dict.fromkeys(("diff",), "compare"),
    **dict.fromkeys(("visualize", "gradcam", "grad-cam", "cam"), "explain"),
}
"""Commands of other tools with the same meaning."""
COMMAND_ANSWERS = {
    **dict.fromkeys(
        ("val", "validate", "validation"),
        "`visiontasks evaluate RUN` measures the test split, with --split val the validation split; `visiontasks "
        "check-data RECIPE|FOLDER` looks for faults in images",
    ),
    **dict.fromkeys(
        ("resume", "continue"), "`visiontasks finetune RUN/recipe.yaml --resume RUN` goes on with an interrupted run"
    ),
    "help": "`visiontasks --help` lists the commands, `visiontasks COMMAND --help` explains one",
    "init": "nothing has to be set up: `visiontasks finetune my_images`",
    "version": "`visiontasks --version`",
    **dict.fromkeys(("serve", "deploy", "demo"), "`visiontasks export RUN DIR --format onnx` writes a run for them"),
}
"""Commands of other tools without a counterpart, and what to do instead."""
