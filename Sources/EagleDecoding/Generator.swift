import EagleModels

/// Decoding of one sequence at a time, each from nothing.
public final class Generator {
  private let target: TargetModel
  private let draft: DraftModel?

  public init(target: TargetModel, draft: DraftModel? = nil) {
    self.target = target
    self.draft = draft
  }

  /// Continues `prompt` as `DecodingSession.generate` does, in a session of its own.
  public func generate(
    _ prompt: [Int32], _ options: DecodingOptions, onToken: (GeneratedToken) -> TokenDecision = { _ in .proceed }
  ) throws -> Generation {
    try DecodingSession(target: target, draft: draft).generate(prompt, options, onToken: onToken)
  }
}
