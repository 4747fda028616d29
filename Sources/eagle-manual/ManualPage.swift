import Foundation

/// A page of section 1 in man(7) markup, for one command.
struct ManualPage {
  /// The words that call the command: `eagle-train`, `plan`.
  let words: [String]
  let command: CommandInfo
  /// The text at the foot of the page.
  let version: String

  var name: String { words.joined(separator: "-") }
  var fileName: String { "\(name).1" }

  /// This page and those of all its subcommands.
  var withSubcommands: [ManualPage] {
    [self]
      + command.shown.flatMap {
        ManualPage(words: words + [$0.commandName], command: $0, version: version).withSubcommands
      }
  }

  var text: String {
    var lines = [".TH \"\(name.uppercased())\" 1 \"\" \"\(Self.escaped(version))\" \"EagleTrain\""]
    lines += [".SH NAME", "\(Self.escaped(name)) \\- \(Self.escaped(Self.withoutStop(command.abstract ?? "")))"]
    lines += [".SH SYNOPSIS", synopsis]
    if let discussion = command.discussion, !discussion.isEmpty {
      lines += [".SH DESCRIPTION"] + Self.paragraphs(discussion)
    }
    let arguments = (command.arguments ?? []).filter(\.shouldDisplay)
    if !arguments.isEmpty { lines += [".SH OPTIONS"] + arguments.flatMap(Self.entry) }
    let parts = command.shown
    if !parts.isEmpty {
      lines += [".SH COMMANDS"]
      for part in parts {
        lines += [".TP", ".BR \(Self.escaped("\(name)-\(part.commandName)")) (1)", Self.line(part.abstract ?? "")]
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private var synopsis: String {
    let call = ".B \(Self.escaped(words.joined(separator: " ")))"
    if !command.shown.isEmpty { return call + "\n.I command\n[options]" }
    let arguments = (command.arguments ?? []).filter {
      $0.shouldDisplay && !["help", "version"].contains($0.valueName)
    }
    return ([call] + arguments.map { Self.line($0.isOptional ? "[\($0.usage)]" : $0.usage) }).joined(separator: "\n")
  }

  private static func entry(_ argument: ArgumentInfo) -> [String] {
    let value = argument.kind == "flag" ? "" : " \\fI\(escaped(argument.valueName ?? "value"))\\fR"
    let names = (argument.names ?? []).map { "\\fB\(escaped($0.text))\\fR" }.joined(separator: ", ")
    var text = argument.abstract ?? ""
    if let values = argument.allValues, !values.isEmpty { text += " One of: \(values.joined(separator: ", "))." }
    if let value = argument.defaultValue, !value.isEmpty { text += " Default: \(value)." }
    let label = names.isEmpty ? String(value.dropFirst()) : names + value
    return [".TP", label, line(text)]
  }

  private static func paragraphs(_ text: String) -> [String] {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? ".PP" : line(String($0)) }
  }

  private static func withoutStop(_ text: String) -> String { text.hasSuffix(".") ? String(text.dropLast()) : text }

  /// A line of text; a point or an apostrophe at its start is escaped, because it would be a request.
  private static func line(_ text: String) -> String {
    let text = escaped(text)
    return text.hasPrefix(".") || text.hasPrefix("'") ? "\\&\(text)" : text
  }

  /// Escapes hyphens, because man(7) may typeset them as dashes, which cannot be pasted into a shell.
  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "\\", with: "\\e").replacingOccurrences(of: "-", with: "\\-")
      .replacingOccurrences(of: "…", with: "...")
  }
}

extension ArgumentInfo {
  /// The argument in the form of a usage line.
  fileprivate var usage: String {
    let name = names?.first(where: { $0.kind == "long" })?.text ?? names?.first?.text
    let value = kind == "flag" ? nil : "<\(valueName ?? "value")>"
    return [name, value].compactMap { $0 }.joined(separator: " ") + (isRepeating ? " ..." : "")
  }
}
