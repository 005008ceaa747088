"""The questions of the command `study`: one module for each, named like it, whose `answer` the command prints."""
