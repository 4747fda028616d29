/// The output of a command's `--experimental-dump-help`, reduced to the fields that a manual page needs.
struct ToolInfo: Decodable {
  let command: CommandInfo
}

struct CommandInfo: Decodable {
  let commandName: String
  let shouldDisplay: Bool?
  let superCommands: [String]?
  let abstract: String?
  let discussion: String?
  let subcommands: [CommandInfo]?
  let arguments: [ArgumentInfo]?

  /// The subcommands that have a page of their own.
  var shown: [CommandInfo] { (subcommands ?? []).filter { $0.shouldDisplay ?? true && $0.commandName != "help" } }
}

struct ArgumentInfo: Decodable {
  struct Name: Decodable {
    let kind: String
    let name: String

    var text: String { kind == "long" ? "--\(name)" : "-\(name)" }
  }

  let kind: String
  let shouldDisplay: Bool
  let isOptional: Bool
  let isRepeating: Bool
  let names: [Name]?
  let valueName: String?
  let defaultValue: String?
  let allValues: [String]?
  let abstract: String?
}
