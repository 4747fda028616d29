import Foundation

/// A template that cannot be read or rendered, with the place in its source.
package struct TemplateError: Error, Equatable {
  /// Whose fault it is.
  package enum Kind: Sendable, Equatable {
    /// The source is no template, or uses a construct that is not supported.
    case syntax
    /// The template failed while it was rendered: an operation on wrong operands, or a limit.
    case render
    /// The template called `raise_exception`: it refuses the conversation, and `problem` is its own message.
    case raised
  }

  package let kind: Kind
  /// The name that the template was given, usually its file.
  package let name: String
  /// The line and the column in code points, both from 1.
  package let line: Int
  package let column: Int
  /// What is wrong.
  package let problem: String

  package init(kind: Kind, name: String, line: Int, column: Int, problem: String) {
    (self.kind, self.name, self.line, self.column, self.problem) = (kind, name, line, column, problem)
  }

  /// Whether the template refused its input by `raise_exception`.
  package var isRaisedByTemplate: Bool { kind == .raised }
}

extension TemplateError: LocalizedError, CustomStringConvertible {
  package var description: String {
    kind == .raised
      ? "\(name):\(line):\(column): the template refuses the conversation: \(problem)"
      : "\(name):\(line):\(column): \(problem)"
  }
  package var errorDescription: String? { description }
}

/// An error that propagates to the node that knows its place.
struct Fault: Error {
  var kind: TemplateError.Kind = .render
  /// The byte of the source; nil until a node has added its own.
  var offset: Int?
  let problem: String

  init(_ problem: String) { self.problem = problem }

  init(_ problem: String, kind: TemplateError.Kind, at offset: Int) {
    (self.problem, self.kind, self.offset) = (problem, kind, offset)
  }

  /// What `raise_exception` throws.
  static func raised(_ message: String) -> Fault {
    var fault = Fault(message)
    fault.kind = .raised
    return fault
  }

  func located(at place: Int) -> Fault {
    guard offset == nil else { return self }
    return Fault(problem, kind: kind, at: place)
  }
}
