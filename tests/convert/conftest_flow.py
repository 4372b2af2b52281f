"""The flow tests' own fixtures, under a name that does not clash with this folder's conftest."""

import importlib.util
from pathlib import Path

path = Path(__file__).resolve().parents[1] / "flow" / "conftest.py"
spec = importlib.util.spec_from_file_location("flow_conftest", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
make = module.make
