import EagleCore
import Foundation

// Writes manual pages of a command and of all its subcommands:
// eagle-train --experimental-dump-help | eagle-manual VERSION FOLDER

func fail(_ message: String) -> Never {
  Output.note("eagle-manual: \(message)")
  exit(1)
}

let arguments = CommandLine.arguments
guard arguments.count == 3 else {
  fail("usage: COMMAND --experimental-dump-help | eagle-manual VERSION FOLDER")
}
guard let tool = try? JSONDecoder().decode(ToolInfo.self, from: FileHandle.standardInput.readDataToEndOfFile()) else {
  fail("standard input is not what --experimental-dump-help of a command prints")
}
let page = ManualPage(words: [tool.command.commandName], command: tool.command, version: arguments[1])
for page in page.withSubcommands {
  do {
    try Data(page.text.utf8).write(to: URL(fileURLWithPath: "\(arguments[2])/\(page.fileName)"), options: .atomic)
  } catch {
    fail("\(arguments[2])/\(page.fileName) cannot be written: \(error.localizedDescription)")
  }
}
