"""Acts by a file of ``marl export --onnx`` with numpy and onnxruntime alone: one observation a line, as JSON.

echo '{"observation": [0.1, 0, 0.02, 0]}' | python examples/serve_onnx.py weights.onnx; an empty line begins an episode.
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["marl"])
first, inputs = about["initial_state"], {each["name"]: each for each in about["inputs"]}
kept = {name: each for name, each in inputs.items() if name.startswith("state")}
fresh = {name: np.full((1, *each["shape"]), first.get(name, 0), each["dtype"]) for name, each in kept.items()}
state = fresh
for line in sys.stdin:
    if not line.strip():
        state = fresh
        continue
    seen = {name: np.array([each], inputs[name]["dtype"]) for name, each in json.loads(line).items()}
    found = session.run(None, {**seen, **state})
    said = dict(zip((each["name"] for each in about["outputs"]), found, strict=True))
    state = {name: said[f"next_{name}"] for name in kept}
    print(json.dumps({name: each[0].tolist() for name, each in said.items() if name.startswith("action")}))
