import EagleCore
import EagleText

/// Whether the target reasons before it answers.
public enum Reasoning: String, Codable, CaseIterable, Sendable {
  /// The default of the chat template, or the value in its options.
  case auto
  /// Reasoning, by `enable_thinking: true`.
  case on
  /// No reasoning, by `enable_thinking: false`.
  case off

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  private static let variable = "enable_thinking"

  /// The variables of the chat template that select it.
  ///
  /// - Throws: `LocatedError` for `on` and `off` if the template has no switch
  func options(of template: ChatTemplate) throws -> JSON.Object {
    guard self != .auto else { return JSON.Object() }
    guard template.references(Self.variable) else {
      throw LocatedError(
        path: template.source.path,
        problem: "the chat template does not read \(Self.variable), which evaluate.reasoning: \(rawValue) sets",
        advice: "set evaluate.reasoning to auto, and other switches in data.chat_template_options")
    }
    return JSON.Object([(Self.variable, .bool(self == .on))])
  }
}
