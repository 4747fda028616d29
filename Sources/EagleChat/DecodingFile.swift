import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// `decoding.json` in a head's folder, or `NAME.decoding.json` next to its file `NAME.gguf`: the draft plan and the
/// costs that were measured on a machine.
package struct DecodingFile: Codable, Sendable, Equatable {
  /// The fastest plan.
  package var plan: DraftPlan
  /// The costs of passes on this machine.
  package var costs: DecodingCosts
  package var tokensPerSecond: Double
  package var plainTokensPerSecond: Double
  /// The environment that the plan and the costs were measured in.
  package var environment: Environment

  /// A machine, a target, a format of its weights and a precision: costs of another environment do not apply.
  package struct Environment: Codable, Sendable, Equatable {
    package var processor: String
    package var threads: Int
    package var target: String
    /// The name of a `WeightFormat`; a string, because another version may not have the format.
    package var weights: String
    /// The architecture of the head.
    package var architecture: String
    /// The precision of decoding passes, as the processor executes them.
    package var precision: ComputePrecision

    package init(target: TargetModel, weights: WeightFormat, draft: DraftModel) {
      architecture = draft.shape.architecture
      processor = Processor.name
      threads = Parallel.threadCount
      self.target = target.fingerprint
      self.weights = weights.rawValue
      precision = target.decodingPrecision
    }

    /// Reads a file; those of earlier versions name no precision, which was fp32, and no
    /// architecture, which was EAGLE-3.
    package init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      processor = try values.decode(String.self, forKey: .processor)
      threads = try values.decode(Int.self, forKey: .threads)
      target = try values.decode(String.self, forKey: .target)
      weights = try values.decode(String.self, forKey: .weights)
      precision = try values.decodeIfPresent(ComputePrecision.self, forKey: .precision) ?? .fp32
      architecture = try values.decodeIfPresent(String.self, forKey: .architecture) ?? "eagle3"
    }
  }

  enum CodingKeys: String, CodingKey {
    case plan, costs, environment
    case tokensPerSecond = "tokens_per_second"
    case plainTokensPerSecond = "plain_tokens_per_second"
  }

  package init(
    plan: DraftPlan, costs: DecodingCosts, tokensPerSecond: Double, plainTokensPerSecond: Double,
    environment: Environment
  ) {
    self.plan = plan
    self.costs = costs
    self.tokensPerSecond = tokensPerSecond
    self.plainTokensPerSecond = plainTokensPerSecond
    self.environment = environment
  }

  /// The path of the file that belongs to a head.
  package static func path(_ draft: String) -> String {
    let ending = ".gguf"
    return DraftGGUF.isFile(draft) ? "\(draft.dropLast(ending.count)).decoding.json" : "\(draft)/decoding.json"
  }

  /// The file of a head; nil when there is none.
  ///
  /// - Throws: `LocatedError` for a malformed file, and for an invalid plan or invalid costs
  package static func read(draft: String) throws -> DecodingFile? {
    guard let data = FileManager.default.contents(atPath: path(draft)) else { return nil }
    guard let file = try? JSONDecoder().decode(DecodingFile.self, from: data) else {
      throw LocatedError(path: path(draft), problem: "is no result of tuning", advice: "remove it, or tune again")
    }
    try file.validate(path: path(draft))
    return file
  }

  /// Throws unless decoding can use the file: a valid plan, and costs above 0 that do not fall with the number of rows.
  private func validate(path: String) throws {
    func require(_ condition: Bool, _ problem: String) throws {
      guard condition else { throw LocatedError(path: path, problem: problem, advice: "remove it, or tune again") }
    }
    do { try plan.validate() } catch { try require(false, "\(error)") }
    for costs in [costs, plan.costs].compactMap({ $0 }) {
      let passes = costs.targetPass
      try require(!passes.isEmpty, "`target_pass` is empty: it holds the seconds of a pass over 1, 2, 3, … rows")
      try require(
        (passes + [costs.draftPass]).allSatisfy { $0 > 0 && $0.isFinite },
        "`target_pass` and `draft_pass` must be seconds above 0")
      try require(
        zip(passes, passes.dropFirst()).allSatisfy { $0 <= $1 },
        "`target_pass` falls: a pass over more rows takes no less time")
    }
  }

  /// Writes the file atomically into a head's folder or next to its GGUF file. Returns its path.
  @discardableResult
  package func write(draft: String) throws -> String {
    try AtomicFile.writeJSON(self, to: Self.path(draft), style: .indented)
    return Self.path(draft)
  }
}
