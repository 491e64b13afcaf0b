"""A trained run as two int8 ONNX files, and how far their answers move from the exact ones.

`first.onnx`: `ids` int64 [windows, tokens] -> `vectors` float [windows, tokens, width], `early` [windows, 3].
`second.onnx`: `vectors`, `ids` -> `late` [windows, 3]. Logits of HEADS.
`manifest.json` says what the service must know of them; thresholds come later (thresholds.ts): until then nothing speaks.
Weights of matrices are int8 per output channel, the vocabulary is int8 per piece, activations are quantised as they come.
"""
import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from backbone import SLOTS
from fit import loaded
from model import HEADS
from pieces import LENGTH, OVERLAP
from place import BACKBONE, RUNS
from vocabulary import packed

LIMIT = 42 * 2**20


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


class Files:
    """The two files of a run, as the product runs them."""

    batch = 1  # one scale of activations a run: beside another window the same one gets another score

    def __init__(self, folder: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("optimization.disable_specified_optimizers", "SkipLayerNormFusion")
        make = lambda name: onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
        self.first, self.second = make("first.onnx"), make("second.onnx")

    def __call__(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors, early = self.first.run(["vectors", "early"], {"ids": ids})
        return early, self.second.run(["late"], {"vectors": vectors, "ids": ids})[0]


class Exact:
    """The same answers without rounding, on whatever device there is."""

    batch = 512

    def __init__(self, run: str, device: torch.device):
        self.model, self.device = loaded(run).to(device), device

    def __call__(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            early, late = self.model(torch.from_numpy(ids).to(self.device))
        return early.cpu().numpy(), late.cpu().numpy()


def write(part: torch.nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], path: Path) -> None:
    whole = path.with_suffix(".whole")
    axes = {name: {0: "windows", 1: "tokens"} for name in (*inputs, "vectors")}
    torch.onnx.export(part, tuple(inputs.values()), str(whole), input_names=list(inputs), output_names=outputs, dynamo=False, opset_version=17,
                      dynamic_axes={name: axes.get(name, {0: "windows"}) for name in (*inputs, *outputs)})
    quantize_dynamic(str(whole), str(path), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
    whole.unlink()


def manifest(folder: Path, shape: dict) -> None:
    (folder / "vocabulary.bin").write_bytes(packed(json.loads((BACKBONE / "tokenizer.json").read_text())))
    never = {place: dict.fromkeys(HEADS, 10_000) for place in SLOTS}
    told = {
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("vocabulary.bin", "first.onnx", "second.onnx")},
        "shape": {"length": LENGTH, "overlap": OVERLAP, "bos": shape["bos"], "eos": shape["eos"], "slots": shape["slots"]},
        "clear": dict.fromkeys(SLOTS, 0),
        "thresholds": dict.fromkeys(("permissive", "balanced", "strict"), never),
    }
    (folder / "manifest.json").write_text(json.dumps(told, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    model = loaded(arguments.run)
    ids = torch.full((2, 16), 5, dtype=torch.long)
    write(model.first, {"ids": ids}, ["vectors", "early"], folder / "first.onnx")
    with_small_vocabulary(folder / "first.onnx")
    write(model.second, {"vectors": torch.zeros(2, 16, model.shape["width"]), "ids": ids}, ["late"], folder / "second.onnx")
    size = sum((folder / name).stat().st_size for name in ("first.onnx", "second.onnx"))
    assert size <= LIMIT, f"{size} bytes"
    manifest(folder, model.shape)
    print(f"{size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
