"""Where training reads and writes. Everything heavy lies in the work folder, outside the checkout."""
import os
from pathlib import Path

CACHE = Path(os.environ.get("LIMEN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limen")
WORK = Path(os.environ.get("LIMEN_TRAIN") or CACHE / "train")
PACKAGES = WORK / "packages"
BACKBONE = WORK / "backbone"
VIEWS = WORK / "views"
ROWS = WORK / "rows"
CHUNKS = WORK / "chunks"
RUNS = WORK / "runs"


def data_folder() -> Path:
    """The folder with `injection/`: named by LIMEN_DATA, never guessed."""
    name = os.environ.get("LIMEN_DATA")
    if not name:
        raise SystemExit("set LIMEN_DATA to the folder that holds injection/train.jsonl.gz")
    return Path(name) / "injection"
