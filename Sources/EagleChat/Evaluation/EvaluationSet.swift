import EagleCore
import EagleTensor
import EagleText
import Foundation

/// Prompts that are measured together.
package struct EvaluationSet {
  package enum Role: Equatable {
    /// The prompts of a benchmark whose results are reported.
    case reported
    /// The prompts that select the best head; they are in no other set.
    case validation
    /// The reported prompts, extended by texts of other prompts to this many tokens in total.
    case context(Int)
  }

  package let benchmark: String
  /// The file of the prompts.
  package let path: String
  package let role: Role
  package let prompts: [Prompt]

  /// The prompt whose answer is kept as an example.
  var example: Prompt? { role == .reported ? prompts.min { $0.turns[0].utf8.count < $1.turns[0].utf8.count } : nil }
}

extension EvaluateConfig {
  /// The prompts to measure, in a fixed order: those of each benchmark by name, by role.
  ///
  /// - Throws: for a file that is missing or malformed, or too short to be divided; for prompts that do not fit into
  ///   the target's context; for a chat template without a switch for `reasoning`
  package func sets(_ model: ChatModel) throws -> [EvaluationSet] {
    let renderer = try PromptRenderer(model, reasoning)
    try checkContextLengths(renderer)
    return try benchmarks.sorted { $0.key < $1.key }.flatMap { name, path in
      try sets(name, path, renderer)
    }
  }

  private func sets(_ name: String, _ path: String, _ renderer: PromptRenderer) throws -> [EvaluationSet] {
    let file = try PromptReader.read(path: path)
    let (reported, validation) = try divided(Array(file.prefix(limit)), path: path)
    try renderer.check(reported + validation, maxNewTokens: maxNewTokens, path: path)
    let contexts = ContextPrompts(file, renderer)
    func set(_ role: EvaluationSet.Role, _ prompts: [Prompt]) -> EvaluationSet {
      EvaluationSet(benchmark: name, path: path, role: role, prompts: prompts)
    }
    return [set(.reported, reported)]
      + (validation.isEmpty ? [] : [set(.validation, validation)])
      + (try contextLengths.map { length in
        set(.context(length), try reported.map { try contexts.lengthened($0, to: length) })
      })
  }

  /// The reported prompts and the validation prompts, each in the order of the file.
  private func divided(_ prompts: [Prompt], path: String) throws -> (reported: [Prompt], validation: [Prompt]) {
    guard validation > 0 else { return (prompts, []) }
    guard prompts.count > 1 else {
      throw LocatedError(
        path: path, problem: "has one prompt, which evaluate.validation cannot divide",
        advice: "add prompts, or set evaluate.validation to 0")
    }
    let count = min(prompts.count - 1, max(1, Int((validation * Double(prompts.count)).rounded())))
    var random = RandomSource(seed: seed, purpose: "validation prompts")
    let chosen = Set(prompts.indices.shuffled(using: &random).prefix(count))
    func part(_ isChosen: Bool) -> [Prompt] {
      prompts.indices.filter { chosen.contains($0) == isChosen }.map { prompts[$0] }
    }
    return (part(false), part(true))
  }

  private func checkContextLengths(_ renderer: PromptRenderer) throws {
    let positions = renderer.model.target.shape.maxPositions
    guard let longest = contextLengths.last, longest > positions - maxNewTokens else { return }
    throw LocatedError(
      path: "evaluate.context_lengths",
      problem: "a prompt of \(longest) tokens and an answer of up to \(maxNewTokens) do not fit into the target's "
        + "\(positions) positions",
      advice: "leave out lengths above \(max(0, positions - maxNewTokens)), or lower evaluate.max_new_tokens")
  }
}
