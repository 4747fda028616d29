import ArgumentParser

@main
struct EagleRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eagle-run",
    abstract: "Decode with a target model, plainly or speculatively with an EAGLE-3 draft head.",
    subcommands: [Generate.self, Answer.self, Bench.self])
}
