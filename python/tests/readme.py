"""Runs the first example in Python of a Markdown file, as somebody would who copies it."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

text = Path(sys.argv[1]).read_text()
example = re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
assert example, f"{sys.argv[1]} has no example in Python"
with tempfile.TemporaryDirectory() as directory:
    program = Path(directory, "example.py")
    program.write_text(example[1])
    subprocess.run([sys.executable, program], check=True, timeout=120)
