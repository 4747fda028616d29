import EagleCore
import EagleStorage
import EagleTensor

/// Reads weights, checks their shapes against what the config says, and remembers which it has read.
package final class WeightReader {
  package let source: any TensorSource
  private var used: [String] = []

  package init(_ source: any TensorSource) { self.source = source }

  /// Reads a matrix. It stays as it is stored, in blocks too.
  package func matrix(_ name: String, _ shape: [Int]) throws -> Tensor {
    try checked(name, shape, Self.floats + DType.blockFormats)
  }

  /// Reads a vector, widened to float32.
  package func vector(_ name: String, _ count: Int) throws -> Tensor { try checked(name, [count]).float32() }

  /// Reads a tensor of any shape as stored, without blocks.
  package func tensor(_ name: String, _ shape: [Int]) throws -> Tensor { try checked(name, shape) }

  /// Reads packed bytes, whose meaning their format defines.
  package func bytes(_ name: String, _ shape: [Int]) throws -> Tensor { try checked(name, shape, [.uint8]) }

  /// Throws when a weight that was read is NaN or infinite: every later state would be, far from the cause.
  package func refuseNonFinite() throws {
    let nonFinite = try source.nonFiniteTensors(among: used)
    guard let tensor = nonFinite.first, let index = tensor.values.first else { return }
    let (count, others) = (tensor.values.count, nonFinite.count - 1)
    throw LocatedError(
      path: tensor.file,
      problem: "`\(tensor.name)` holds \(Format.count(count, "non-finite value")), the first at index \(index)"
        + (others == 0 ? "" : ", and \(others) other tensor\(others == 1 ? " does" : "s do"), too"),
      advice: "the file is damaged, or was saved from a training that diverged: copy or download it again")
  }

  private static let floats: [DType] = [.float32, .bfloat16, .float16]

  private func checked(
    _ name: String, _ shape: [Int], _ dtypes: [DType] = floats
  ) throws -> Tensor {
    let tensor = try source.tensor(name)
    guard tensor.shape == shape else {
      throw LocatedError(
        path: source.path, problem: "`\(name)` has shape \(tensor.shape), and config.json asks for \(shape)",
        advice: "check that config.json and the weights belong together")
    }
    guard dtypes.contains(tensor.dtype) else {
      let known = dtypes.map(\.rawValue).joined(separator: ", ")
      throw LocatedError(
        path: source.path, problem: "`\(name)` is \(tensor.dtype)", advice: "it must be one of \(known)")
    }
    if tensor.dtype != .uint8 { used.append(name) }
    return tensor
  }
}
