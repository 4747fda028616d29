import Foundation
import Testing

/// `--help` is a contract: a change of it changes these files too. EAGLE_RECORD_HELP=1 writes them anew.
@Suite struct HelpTests {
  @Test(
    "each command's help is the recorded text",
    arguments: [
      "eagle-train", "eagle-train import", "eagle-train regenerate", "eagle-train synthesize", "eagle-train prepare",
      "eagle-train capture",
      "eagle-train train",
      "eagle-train run", "eagle-train evaluate", "eagle-train export", "eagle-train inspect", "eagle-train report",
      "eagle-train compare",
      "eagle-train bench", "eagle-train bench gemm", "eagle-train bench capture", "eagle-train bench train",
      "eagle-train bench generate", "eagle-train bench passes", "eagle-train bench ranks", "eagle-train plan",
      "eagle-run",
      "eagle-run generate", "eagle-run chat", "eagle-run bench", "eagle-run tune", "eagle-run serve",
      "eagle-run render",
    ])
  func helpIsAsRecorded(command: String) throws {
    let words = command.split(separator: " ").map(String.init)
    let outcome = try Command.run(words[0], Array(words.dropFirst()) + ["--help"])
    let path = "\(Command.root)/Tests/Fixtures/help/\(words.joined(separator: "-")).txt"
    if ProcessInfo.processInfo.environment["EAGLE_RECORD_HELP"] == "1" {
      try Data(outcome.output.utf8).write(to: URL(fileURLWithPath: path))
    }
    #expect(outcome.status == 0)
    #expect(outcome.output == (try String(contentsOfFile: path, encoding: .utf8)))
  }
}
