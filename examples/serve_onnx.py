"""Acts by a file of ``marl export --onnx`` with numpy and onnxruntime alone: one observation a line, as JSON.

echo '{"observation": [0.1, 0, 0.02, 0]}' | python examples/serve_onnx.py weights.onnx; an empty line begins an episode.
"""

import json
import sys

import numpy as np
import onnxruntime


def main() -> None:
    session = onnxruntime.InferenceSession(sys.argv[1])
    about = json.loads(session.get_modelmeta().custom_metadata_map["marl"])
    kept = {each["name"]: each for each in about["inputs"] if each["name"].startswith("state")}
    taken = {each["name"]: each["dtype"] for each in about["inputs"] if each["name"] not in kept}
    fresh = {name: np.zeros((1, *each["shape"]), each["dtype"]) for name, each in kept.items()}
    fresh |= {name: np.array([each], kept[name]["dtype"]) for name, each in about["initial_state"].items()}
    state = fresh
    for line in sys.stdin:
        if not line.strip():
            state = fresh
            continue
        observation = json.loads(line)
        seen = {name: np.array([observation[name]], dtype) for name, dtype in taken.items()}
        found = session.run(None, {**seen, **state})
        said = dict(zip([each["name"] for each in about["outputs"]], found, strict=True))
        state = {name: said[f"next_{name}"] for name in kept}
        print(json.dumps({name: each[0].tolist() for name, each in said.items() if name.startswith("action")}))


if __name__ == "__main__":
    main()
