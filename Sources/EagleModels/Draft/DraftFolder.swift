import EagleStorage
import EagleTensor

/// Reads and writes draft heads as Hugging Face folders: `config.json` and `model.safetensors`.
public enum DraftFolder {
  /// Writes the head with bfloat16 weights, `d2t` and `t2d`, whole or not at all. The special token ids of its config are those
  /// of `target`.
  public static func write(_ model: DraftModel, target: TargetShape, to path: String) throws {
    let rounded = model.rounded()
    var tensors = rounded.parameters.map { (name: $0.name, tensor: $0.variable.value.bfloat16()) }
    tensors.append((name: "d2t", tensor: model.vocabulary.d2t))
    tensors.append((name: "t2d", tensor: model.vocabulary.t2d))
    let config = try DraftConfigFile(model.shape, target: target).json()
    try AtomicFolder.write(path: path, replacing: true) { folder in
      try AtomicFile.write(path: "\(folder)/config.json", data: config)
      try SafetensorsWriter.write(path: "\(folder)/model.safetensors", tensors: tensors, metadata: ["format": "pt"])
    }
  }
}
