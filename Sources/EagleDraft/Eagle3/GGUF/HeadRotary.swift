import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

/// The scaling of a head's rotary embedding as a GGUF file has it: keys, or a tensor of factors.
struct HeadRotary {
  private(set) var fields: [GGUFField] = []
  private(set) var tensors: [(name: String, tensor: Tensor)] = []

  /// - Throws: `LocatedError` for a scaling that llama.cpp does not compute for a head
  init(_ shape: Eagle3Shape, path: String) throws {
    let prefix = "\(HeadNames.architecture).rope.scaling."
    switch shape.ropeScaling {
    case nil: break
    case .linear(let factor):
      fields = [.string("\(prefix)type", "linear"), .float32("\(prefix)factor", Float(factor))]
    case .llama3: tensors = [(HeadNames.rotaryFactors, Self.factors(shape))]
    case .dynamic: throw Self.unsupported("a dynamic scaling", path)
    case .yarn: throw Self.unsupported("YaRN", path)
    case .longRoPE(let longRoPE):
      // A file holds one set of factors, which does not depend on the sequence length.
      guard longRoPE.short == longRoPE.long, longRoPE.attentionFactor == 1 else {
        throw Self.unsupported("LongRoPE", path)
      }
      tensors = [(HeadNames.rotaryFactors, Self.factors(shape))]
    }
  }

  /// The divisor of each frequency, [d / 2].
  private static func factors(_ shape: Eagle3Shape) -> Tensor {
    let plain = Rotary.frequencies(shape.attention.headDimension, theta: shape.ropeTheta)
    let scaled = shape.ropeScaling?.apply(plain, theta: shape.ropeTheta, context: shape.maxPositions).frequencies
    return Tensor(zip(plain, scaled ?? plain).map { $0 / $1 }, [plain.count])
  }

  private static func unsupported(_ what: String, _ path: String) -> LocatedError {
    LocatedError(
      path: path, problem: "the head's rotary embedding has \(what), which a head in a GGUF file cannot have",
      advice: "export it as a folder")
  }

  /// The scaling that a file describes; nil for none.
  ///
  /// - Parameter positions: the length of the longest sequence
  static func scaling(of keys: HeadKeys, headDimension: Int, positions: Int) throws -> RotaryScaling? {
    let file = keys.file
    let type = try keys.textIfPresent("rope.scaling.type") ?? "none"
    guard file.contains(tensor: HeadNames.rotaryFactors) else {
      switch type {
      case "none": return nil
      case "linear":
        let factor = try keys.number("rope.scaling.factor")
        guard factor > 0 else { throw keys.wrong("rope.scaling.factor", "must be above 0") }
        return factor == 1 ? nil : .linear(factor: factor)
      default: throw keys.refuse("rope.scaling.type", "the scaling \"\(type)\" of the rotary embedding")
      }
    }
    let factors = try file.floats(HeadNames.rotaryFactors)
    guard type == "none", factors.count == headDimension / 2, factors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw LocatedError(
        path: file.path,
        problem: "`\(HeadNames.rotaryFactors)` must be \(headDimension / 2) numbers above 0, without another scaling")
    }
    let values = factors.map(Double.init)
    return values.allSatisfy { $0 == 1 }
      ? nil : .longRoPE(.init(short: values, long: values, originalLength: positions, attentionFactor: 1))
  }
}
