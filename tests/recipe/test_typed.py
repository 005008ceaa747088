"""Recipe keys in messages."""

import pytest

from visiontasks.recipe.aliases import options_of
from visiontasks.recipe.typed import as_typed


@pytest.mark.parametrize(
    ("words", "own_file", "message", "named"),
    [
        ("--bs 4", False, "data.init_args.batch_size: 4 is", "--bs: 4 is"),
        ("batch=4", True, "data.init_args.batch_size: 4 is", "batch: 4 is"),
        ("", False, "set data.init_args.batch_size", "set --batch-size"),
        ("", True, "set data.init_args.batch_size", "set data.init_args.batch_size"),
        ("", False, "as xywh; set data.init_args.box_unit: fraction.", "as xywh; set --data.box_unit fraction."),
        ("", False, "set data.init_args.values: {0: 0, 255: 1}; else", "set --data.values '{0: 0, 255: 1}'; else"),
        ("", False, "leave it out (data.init_args.ignored: [3])", "leave it out (--data.ignored '[3]')"),
        ("", True, "set data.init_args.box_unit: fraction", "set data.init_args.box_unit: fraction"),
        ("", True, "or set --data.init_args.root", "or set --data.root"),
        ("", False, "model.init_args.head.init_args.stride is 7", "--model.head.stride is 7"),
        ("--trainer.max_epochs 0", False, "trainer.max_epochs: 0", "--trainer.max_epochs: 0"),
        ("", False, "raise trainer.max_epochs", "raise --epochs"),
        ("--seed -1", False, "seed_everything: -1", "--seed: -1"),
        ("", False, "no file data/images/data.csv and data.yaml", "no file data/images/data.csv and data.yaml"),
        ("", False, "No module named 'model.heads'", "No module named 'model.heads'"),
    ],
)
def test_a_key_is_named_as_the_user_would_change_it(words: str, own_file: bool, message: str, named: str) -> None:
    options = [] if "-1" in words else options_of(words.split())
    assert as_typed(message, options, own_file=own_file) == named
