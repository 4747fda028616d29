"""Writes a GGUF model again with its matrices in other types, by the `gguf` package.

What it proves: nothing by itself. It makes the files whose logits scripts/oracles gguf compares: metadata, tokenizer and
norms as they are, each matrix dequantised and rounded to one type. BF16 is what llama-quantize takes for K types, which the
package can read and not write.

Versions used: gguf 0.19, numpy 2.4.
Usage: python quantise_gguf.py --gguf MODEL.gguf --output FOLDER --types BF16 Q8_0 Q4_0   (FOLDER/TYPE.gguf)
"""

import argparse
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, dequantize
from gguf.quants import quantize

SKIPPED = ("GGUF.", "general.architecture", "general.file_type")  # fields that the writer adds itself


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if not field.name.startswith(SKIPPED):
            kind = field.types[0]
            items = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=items)


def write(reader, path, kind):
    writer = GGUFWriter(path, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if len(shape) == 1:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--types", nargs="+", required=True, choices=[kind.name for kind in GGMLQuantizationType])
    arguments = parser.parse_args()

    reader = GGUFReader(str(arguments.gguf))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.types:
        path = arguments.output / f"{name}.gguf"
        write(reader, path, GGMLQuantizationType[name])
        print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
