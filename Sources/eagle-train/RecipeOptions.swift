import ArgumentParser
import EagleCluster
import EagleCore
import EagleRecipe
import EagleRun
import EagleServer
import Foundation

/// The recipe, and the settings that override it.
struct RecipeOptions: ParsableArguments {
  @Argument(help: "Recipe (a YAML file).")
  var recipe: String

  @Option(name: .customLong("set"), help: "Replace one setting, for example --set train.epochs=2. May be repeated.")
  var overrides: [String] = []

  /// Runs `body` on all ranks. SIGINT, SIGTERM and SIGUSR1 (Slurm's early warning) request a stop at the next point
  /// where everything is written. A second signal ends the process at once. Files are written atomically, so this
  /// leaves no incomplete file either.
  func run(_ body: (RecipeRun) throws -> Void) throws {
    let stop = StopRequest()
    // Before MPI starts threads of its own, which inherit the blocked signals.
    let signals = StopSignals([SIGINT, SIGTERM, SIGUSR1])
    signals.handle { stop.make($0) }
    try RankLauncher.run { cluster in
      if cluster.isRoot {
        signals.handle { name in
          stop.make(name)
          Output.note("\(name): stopping after the current task; a second signal ends the process at once")
        }
      }
      let progress: ProgressSink = cluster.isRoot ? TerminalProgress() : SilentProgress()
      let recipe = try Recipe.load(path: recipe, overrides: overrides)
      let located = try recipe.located(on: cluster, stop: stop) { Output.note($0) }
      let run = try RecipeRun(
        recipe, located: located, cluster: cluster, progress: progress, stop: stop,
        apiKey: ProcessInfo.processInfo.environment["EAGLE_API_KEY"])
      progress.say(run.description)
      try body(run)
    }
  }
}
