import EagleCore
import EagleModels

/// The sizes of a target, and its weights in blocks of 8 bits.
func describeTarget(folder: String) throws {
  let shape = try TargetShape(folder: folder)
  print(shape.family.rawValue, shape.layers, "layers of", shape.hiddenSize, "elements")
  let layers = shape.defaultCaptureLayers
  try shape.validate(captureLayers: layers, path: folder)
  print("captured layers", layers)

  let target = try TargetModel(folder: folder, format: .q8_0, precision: .bf16)
  print(target.path, "computes in", target.precision, "with a KV cache in", target.cacheFormat)
}
