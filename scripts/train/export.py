"""A trained run as one int8 ONNX file, and how far its answers move from the exact ones.

Weights of matrices are int8 per output channel, the vocabulary is int8 per piece, activations are quantised as they come.
"""
import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from compose import Composer, Mix
from fit import tensors_of
from model import Detector
from place import RUNS

LIMIT = 40 * 2**20


def loaded(run: str) -> Detector:
    saved = torch.load(RUNS / run / "model.pt", weights_only=True)
    state = saved["model"]
    model = Detector(saved["shape"], state["encoder.word.weight"].shape[0], state["encoder.position.weight"].shape[0])
    model.load_state_dict(state)
    return model.eval()


def with_small_vocabulary(path: Path) -> None:
    """The table of pieces as int8 with one scale a piece: looked up first, multiplied afterwards."""
    graph = onnx.load(path)
    names = {i.name: i for i in graph.graph.initializer}
    gather = next(n for n in graph.graph.node if n.op_type == "Gather" and n.input[0] in names and len(names[n.input[0]].dims) == 2 and names[n.input[0]].dims[0] > 10_000)
    table = numpy_helper.to_array(names[gather.input[0]])
    scale = np.abs(table).max(1, keepdims=True) / 127
    scale[scale == 0] = 1
    small = np.round(table / scale).astype(np.int8)
    graph.graph.initializer.remove(names[gather.input[0]])
    graph.graph.initializer.extend([numpy_helper.from_array(small, "pieces"), numpy_helper.from_array(scale.astype(np.float32), "piece_scales")])
    out, ids = gather.output[0], gather.input[1]
    at = list(graph.graph.node).index(gather)
    graph.graph.node.remove(gather)
    for offset, node in enumerate([
        helper.make_node("Gather", ["pieces", ids], ["piece_rows"]), helper.make_node("Gather", ["piece_scales", ids], ["row_scales"]),
        helper.make_node("Cast", ["piece_rows"], ["piece_floats"], to=TensorProto.FLOAT), helper.make_node("Mul", ["piece_floats", "row_scales"], [out]),
    ]):
        graph.graph.node.insert(at + offset, node)
    onnx.save(graph, path)


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    model = loaded(arguments.run)
    whole, small = folder / "model.fp32.onnx", folder / "model.onnx"
    example = torch.full((2, 16), 5, dtype=torch.long)
    torch.onnx.export(model, (example,), str(whole), input_names=["ids"], output_names=["logits"], dynamo=False, opset_version=17,
                      dynamic_axes={"ids": {0: "windows", 1: "tokens"}, "logits": {0: "windows"}})
    quantize_dynamic(str(whole), str(small), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
    with_small_vocabulary(small)
    size = small.stat().st_size
    assert size <= LIMIT, f"{size} bytes"
    bags = Composer(Mix(bags=300), 99).compose()
    exact, quantised = [], []
    run = session(small)
    for start in range(0, len(bags), 16):
        ids, *_ = tensors_of(bags[start : start + 16], model.shape)
        with torch.no_grad():
            exact.append(model(ids).numpy())
        quantised.append(run.run(None, {"ids": ids.numpy()})[0])
    moved = np.abs(np.concatenate(exact) - np.concatenate(quantised))
    print(f"{size / 1e6:.1f} MB; int8 moves logits by {moved.mean():.3f} on average, at most {moved.max():.3f}")
    whole.unlink()


if __name__ == "__main__":
    main()
