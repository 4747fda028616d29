/// A parser of a server's answers: the one that suits the model, none, or one that was named.
package enum ParserChoice<Parser>: Sendable
where Parser: RawRepresentable<String> & CaseIterable & Sendable & Equatable {
  /// The parser whose markers the model's template or vocabulary holds.
  case auto
  /// Markers stay content.
  case none
  case named(Parser)

  /// A choice by its name; nil for a name that is not in `names`.
  package init?(name: String) {
    switch name {
    case "auto": self = .auto
    case "none": self = .none
    default:
      guard let parser = Parser(rawValue: name) else { return nil }
      self = .named(parser)
    }
  }

  package static var names: [String] { ["auto", "none"] + Parser.allCases.map(\.rawValue) }

  package var name: String {
    switch self {
    case .auto: "auto"
    case .none: "none"
    case .named(let parser): parser.rawValue
    }
  }

  /// The chosen parser; for `auto` the one that `detected` finds.
  func resolved(_ detected: @autoclosure () -> Parser?) -> Parser? {
    switch self {
    case .auto: detected()
    case .none: nil
    case .named(let parser): parser
    }
  }
}

/// The way in which a model marks its reasoning, by the name of vLLM's parser.
package enum ReasoningStyle: String, Sendable, CaseIterable {
  /// `<think>reasoning</think>`; an answer without the opening tag has no reasoning, unless the prompt ends with that
  /// tag.
  case qwen3
  /// The same, but every answer begins with reasoning: the opening tag may be missing.
  case deepseekR1 = "deepseek_r1"
}
