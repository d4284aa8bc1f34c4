"""The scripts of training/ import each other as top-level modules, as they do when run."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
