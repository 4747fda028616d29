import EagleStorage
import Foundation

/// One line of `metrics.jsonl`: an optimiser step of all ranks.
public struct StepMetrics: Codable, Sendable, Equatable {
  /// Optimiser steps done, this one included.
  public let step: Int
  /// From 1.
  public let epoch: Int
  public let loss: Double
  /// Of each step of the objective, undecayed; files of older versions have none.
  public let lossByPosition: [Double]?
  public let lr: Double
  public let gradNorm: Double
  /// Tokens of the batch's conversations.
  public let tokens: Int
  public let tokensPerSecond: Double
  /// By step of the objective, K of them.
  public let accuracy: [Double]
  public let acceptance: [Double]
  public let simulatedAcceptanceLength: Double
  /// nil for a run of one rank.
  public let communication: StepCommunication?

  enum CodingKeys: String, CodingKey {
    case step, epoch, loss, lr, tokens, accuracy, acceptance, communication
    case lossByPosition = "loss_by_position"
    case gradNorm = "grad_norm"
    case tokensPerSecond = "tokens_per_second"
    case simulatedAcceptanceLength = "simulated_acceptance_length"
  }
}

/// What working together has cost in one step, as rank 0 saw it.
public struct StepCommunication: Codable, Sendable, Equatable {
  /// Seconds in which gradients or weights were on their way.
  public let seconds: Double
  /// Seconds in which this rank waited and computed nothing.
  public let exposed: Double
  /// Bytes that this rank sent.
  public let bytesSent: Int
  /// How much longer the slowest rank computed than the ranks did on average, as a share of that.
  public let imbalance: Double

  package init(seconds: Double, exposed: Double, bytesSent: Int, imbalance: Double) {
    (self.seconds, self.exposed, self.bytesSent, self.imbalance) = (seconds, exposed, bytesSent, imbalance)
  }

  enum CodingKeys: String, CodingKey {
    case seconds, exposed, imbalance
    case bytesSent = "bytes_sent"
  }
}

extension StepCommunication {
  /// What is worth a word on the progress line: more than 5 % of the step spent waiting, or shares that differ by more
  /// than 20 %.
  package func complaints(stepSeconds: Double) -> [String] {
    var complaints: [String] = []
    if exposed > 0.05 * stepSeconds {
      complaints.append(String(format: "waiting %.2f s of %.2f", exposed, stepSeconds))
    }
    if imbalance > 0.2 { complaints.append(String(format: "imbalance %.0f %%", 100 * imbalance)) }
    return complaints
  }
}

/// The line of a step that was left out: nothing was learnt from its batch, and the rest of the run goes on.
public struct SkippedStep: Codable, Sendable, Equatable {
  public let step: Int
  /// From 1.
  public let epoch: Int
  /// What was not finite, or why nothing was trained.
  public let skipped: String
  /// Ids of the conversations that it comes from; empty when none of the batch shows it alone.
  public let conversations: [String]
}

/// Sums of all K steps turned into what people read.
public struct ObjectiveMetrics: Codable, Sendable, Equatable {
  public let loss: Double
  /// Of each step, undecayed; files of older versions have none.
  public let lossByPosition: [Double]?
  public let accuracy: [Double]
  public let acceptance: [Double]
  public let simulatedAcceptanceLength: Double
  /// Conversations that count nowhere, since their values are not finite; files of older versions have none.
  public let leftOut: Int?

  enum CodingKeys: String, CodingKey {
    case loss, accuracy, acceptance
    case leftOut = "left_out"
    case lossByPosition = "loss_by_position"
    case simulatedAcceptanceLength = "simulated_acceptance_length"
  }

  /// - Parameters:
  ///   - sums: of all ranks, by step
  ///   - weights: decay^k
  ///   - leftOut: conversations that are not in the sums
  public init(_ sums: [StepSums], weights: [Double], leftOut: Int? = nil) {
    self.leftOut = leftOut
    func mean(_ value: (StepSums) -> Double) -> [Double] { sums.map { $0.rows == 0 ? 0 : value($0) / $0.rows } }
    let losses = mean(\.loss)
    loss = zip(losses, weights).reduce(0) { $0 + $1.0 * $1.1 }
    lossByPosition = losses
    accuracy = mean(\.hits)
    acceptance = mean(\.overlap)
    simulatedAcceptanceLength = 1 + Self.products(accuracy).reduce(0, +)
  }

  /// a₀, a₀a₁, a₀a₁a₂, …
  private static func products(_ values: [Double]) -> [Double] {
    var product = 1.0
    return values.map {
      product *= $0
      return product
    }
  }
}

/// `metrics.jsonl`, one object a line.
struct MetricsFile {
  let path: String

  /// Drops the lines of steps after `step`, which a restart will do again, and a torn last line.
  func truncate(after step: Int) throws {
    guard let data = FileManager.default.contents(atPath: path) else { return }
    let kept = data.split(separator: UInt8(ascii: "\n")).filter {
      (try? JSONDecoder().decode(Line.self, from: Data($0))).map { $0.step <= step } ?? false
    }
    let text = kept.reduce(into: Data()) { $0.append($1 + Data("\n".utf8)) }
    try text.write(to: URL(fileURLWithPath: path), options: .atomic)
  }

  /// What every line has.
  private struct Line: Decodable { let step: Int }

  func append(_ metrics: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let line = try encoder.encode(metrics) + Data("\n".utf8)
    try AppendedFile.append(line, to: path)
  }
}
